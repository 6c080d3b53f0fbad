import {
  FathomError,
  type Gpu,
  type Random,
  type Shape,
  sizeOf,
  type Tape,
  type Tensor,
} from '../engine/index.ts';
import type { Module } from './module.ts';

/** An architecture: what it takes, what it gives, and its module. */
export interface Architecture {
  name: string;
  /** [height, width, channels] of an input image. */
  input: readonly [number, number, number];
  classes: number;
  module: Module;
  /** Names of the parameters that belong to the task's head, whose shapes depend on the class count. */
  head: readonly string[];
}

/** Values by PyTorch parameter name, in PyTorch's layout. */
export type StateDict = Map<string, { shape: Shape; data: Float32Array }>;

/** An architecture with weights on the GPU. */
export class Network implements Disposable {
  private constructor(
    readonly gpu: Gpu,
    readonly architecture: Architecture,
    /** Parameters by name, in the architecture's order. */
    readonly parameters: ReadonlyMap<string, Tensor<'f32'>>,
  ) {}

  /** Fresh weights. Each parameter has its own stream, so networks that differ in the head alone share the rest. */
  static initialise(gpu: Gpu, architecture: Architecture, random: Random): Network {
    const state: StateDict = new Map();
    for (const { name, shape, initial } of architecture.module.parameters) {
      state.set(name, { shape, data: initial(random.fork(name)) });
    }
    return Network.fromState(gpu, architecture, state, architecture.name);
  }

  /**
   * Loads weights.
   * @param source names where the weights came from, for errors
   * @throws FathomError `weights-mismatch` listing every missing, unexpected or misshapen tensor
   */
  static fromState(gpu: Gpu, architecture: Architecture, state: StateDict, source: string): Network {
    const problems: string[] = [];
    const specs = architecture.module.parameters;
    for (const { name, shape } of specs) {
      const given = state.get(name);
      if (!given) problems.push(`${name} is missing`);
      else if (given.shape.join() !== shape.join()) {
        problems.push(`${name} has shape [${given.shape}], not [${shape}]`);
      } else if (given.data.some((value) => !Number.isFinite(value))) {
        problems.push(`${name} holds NaN or infinite values`);
      }
    }
    const known = new Set(specs.map((spec) => spec.name));
    for (const name of state.keys())
      if (!known.has(name)) problems.push(`${name} is not part of the network`);
    if (problems.length > 0) {
      throw new FathomError({
        code: 'weights-mismatch',
        message: `${source} does not fit ${architecture.name}: ${problems.join('; ')}`,
        fix: `Give the ${specs.length} tensors of ${architecture.name} with finite values in PyTorch's names and shapes`,
      });
    }
    const parameters = new Map(
      specs.map(({ name, shape }) => [name, gpu.tensor(state.get(name)!.data, shape)]),
    );
    return new Network(gpu, architecture, parameters);
  }

  /** Copies the weights to the CPU, in one transfer. */
  async state(): Promise<StateDict> {
    const entries = [...this.parameters].map(async ([name, tensor]) => {
      return [name, { shape: tensor.shape, data: await tensor.read() }] as const;
    });
    return new Map(await Promise.all(entries));
  }

  /** Overwrites the weights with those of a state dict of the same architecture. */
  load(state: StateDict): void {
    for (const [name, tensor] of this.parameters) this.gpu.write(tensor, state.get(name)!.data);
  }

  /** Logits [samples, classes] of images [samples, height, width, channels]. */
  forward(tape: Tape, images: Tensor<'f32'>): Tensor<'f32'> {
    return this.architecture.module.apply(tape, images, (name) => this.parameters.get(name)!);
  }

  /** Number of learned values. */
  get size(): number {
    return this.architecture.module.parameters.reduce((total, spec) => total + sizeOf(spec.shape), 0);
  }

  [Symbol.dispose](): void {
    for (const tensor of this.parameters.values()) tensor.dispose();
  }
}
