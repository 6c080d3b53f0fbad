import type { Examples } from '../data/index.ts';
import { mean, Random, Tape } from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';
import { sampleLosses, uploadBatch } from './objective.ts';
import {
  AGREES,
  average,
  LONGEST,
  length,
  moved,
  movedInFloat64,
  ROUNDING,
  SUSPICIOUS,
  weightLength,
} from './perturbation.ts';
import type { Deviation } from './verify.ts';

type Values = ReadonlyMap<string, Float32Array>;

/** Groups of neighbouring parameters that are moved together; a group that deviates is taken apart. */
const GROUPS = 32;
/** Change of the loss that a step is to make, as a share of the loss. */
const LOSS_STEPS = [1e-3, 1e-4, 1e-2];
/** A step in float64, as a share of the weights. */
const FLOAT64_STEP = 1e-5;

/**
 * How far the gradient of the mean loss is off, parameter by parameter, along its own direction: central differences
 * of the loss against the gradient's length. Where the gradient is zero the loss must not change along a random step.
 * @returns errors relative to the slope
 */
export async function lossSlopes(
  network: Network,
  examples: Examples,
  samples: number,
): Promise<Deviation[]> {
  const slopes = await Slopes.measure(network, examples, samples);
  const names = [...network.parameters.keys()];
  const still = names.filter((name) => slopes.lengthOf(name) === 0);
  const moving = names.filter((name) => slopes.lengthOf(name) > 0);
  const size = Math.ceil(moving.length / GROUPS);
  const found: Deviation[] = [];
  for (let start = 0; start < moving.length; start += size) {
    const group = moving.slice(start, start + size);
    const error = await slopes.error(group);
    if (error <= SUSPICIOUS) found.push(...group.map((name) => ({ name, error })));
    else for (const name of group) found.push({ name, error: await slopes.errorAlone(name) });
  }
  for (const name of still) found.push({ name, error: await slopes.errorOfStill(name) });
  return found;
}

class Slopes {
  private constructor(
    private readonly network: Network,
    private readonly examples: Examples,
    private readonly positions: Uint32Array,
    private readonly state: StateDict,
    private readonly gradients: Values,
    private readonly loss: number,
  ) {}

  static async measure(network: Network, examples: Examples, samples: number): Promise<Slopes> {
    const positions = Uint32Array.from({ length: samples }, (_, i) => i);
    const tensors = [...network.parameters.values()];
    const reads = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, examples, positions);
      const tape = new Tape(network.gpu).watch(tensors);
      const losses = sampleLosses(tape, network.forward(tape, images), targets);
      return [losses, ...tape.gradients(mean(tape, losses), tensors)].map((tensor) => tensor.read());
    });
    const [losses, ...gradients] = await Promise.all(reads);
    const byName = new Map([...network.parameters.keys()].map((name, i) => [name, gradients[i]!]));
    return new Slopes(network, examples, positions, await network.state(), byName, average(losses!));
  }

  /** Euclidean length of the gradient by a parameter. */
  lengthOf(name: string): number {
    return length(this.gradients.get(name)!);
  }

  /**
   * Central difference along the group's gradients, each making the same share of the change, against their slopes;
   * of what rounding does not explain.
   */
  async error(group: readonly string[]): Promise<number> {
    let best = Number.POSITIVE_INFINITY;
    for (const share of LOSS_STEPS) {
      const lengths = group.map((name) => {
        const wanted = (share * this.loss) / group.length / this.lengthOf(name);
        return Math.min(wanted, LONGEST * weightLength(this.state.get(name)!.data));
      });
      const expected = lengths.reduce((sum, size, i) => sum + size * this.lengthOf(group[i]!), 0);
      const directions = new Map(
        group.map((name, i) => {
          const factor = lengths[i]! / this.lengthOf(name);
          return [name, this.gradients.get(name)!.map((value) => factor * value)] as const;
        }),
      );
      const off = Math.abs((await this.change(directions)) / 2 - expected);
      best = Math.min(best, Math.max(0, off - ROUNDING * this.loss) / expected);
      if (best <= AGREES) break;
    }
    return best;
  }

  /** The error of one parameter; where float32 leaves it in doubt, float64 on the CPU decides. */
  async errorAlone(name: string): Promise<number> {
    const error = await this.error([name]);
    return error <= SUSPICIOUS ? error : this.errorInFloat64(name);
  }

  /** As {@link error}, of the loss in float64, which bears small steps. */
  private async errorInFloat64(name: string): Promise<number> {
    const { network, state } = this;
    const gradient = this.gradients.get(name)!;
    const factor = (FLOAT64_STEP * weightLength(state.get(name)!.data)) / this.lengthOf(name);
    const direction = gradient.map((value) => factor * value);
    const { above, below } = await movedInFloat64(network, state, name, direction, (tape, replace) => {
      const { images, targets } = uploadBatch(network, this.examples, this.positions);
      tape.watch([images]);
      return sampleLosses(tape, network.forward(tape, images, { replace }), targets);
    });
    const change = average(above.values) - average(below.values);
    const expected = gradient.reduce((sum, g, i) => sum + g * (above.weights[i]! - below.weights[i]!), 0);
    return Math.abs(change / expected - 1);
  }

  /** The loss's change along a random step, against that of an ordinary step. */
  async errorOfStill(name: string): Promise<number> {
    const { data } = this.state.get(name)!;
    const noise = new Random(0).fork(name).normal(data.length);
    const factor = (LONGEST * weightLength(data)) / length(noise);
    const change = await this.change(new Map([[name, noise.map((value) => factor * value)]]));
    const unexplained = Math.max(0, Math.abs(change) / 2 - ROUNDING * this.loss);
    return unexplained / (LOSS_STEPS[0]! * this.loss);
  }

  /** loss(weights + step) - loss(weights - step). */
  private async change(step: Values): Promise<number> {
    const [above, below] = await Promise.all([this.lossAt(step, 1), this.lossAt(step, -1)]);
    return above - below;
  }

  private async lossAt(step: Values, sign: number): Promise<number> {
    const { network } = this;
    const read = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, this.examples, this.positions);
      const tape = new Tape(network.gpu);
      const replace = moved(network, this.state, step, sign);
      return sampleLosses(tape, network.forward(tape, images, { replace }), targets).read();
    });
    return average(await read);
  }
}
