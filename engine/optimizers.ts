import type { Gpu } from './gpu.ts';
import { fill } from './ops/elementwise.ts';
import type { Tensor } from './tensor.ts';

/** Updates parameters in place on the GPU from their gradients. */
export interface Optimizer extends Disposable {
  /** One update; `gradients` in the order of the parameters the optimiser was made for. May be captured. */
  step(gradients: readonly Tensor<'f32'>[]): void;
  /** Copies to the CPU all that the next steps depend on beside the parameters. */
  save(): Promise<OptimizerState>;
  /** Goes on from what an optimiser of the same kind and parameters saved. */
  restore(state: OptimizerState): void;
}

export interface OptimizerState {
  /** Taken so far. */
  steps: number;
  /** Moments or velocities. */
  tensors: Float32Array[];
}

export interface SgdOptions {
  learningRate: number;
  momentum?: number;
}

export interface AdamOptions {
  learningRate?: number;
  beta1?: number;
  beta2?: number;
  epsilon?: number;
}

type F32 = Tensor<'f32'>;

/** Stochastic gradient descent with momentum, PyTorch's form (no dampening, no Nesterov). */
export function sgd(gpu: Gpu, parameters: readonly F32[], options: SgdOptions): Optimizer {
  const { learningRate, momentum = 0 } = options;
  const velocities = parameters.map((parameter) => fill(gpu, parameter.shape, 0));
  const counter = { steps: 0 };
  return optimizer(gpu, velocities, counter, (gradients) => {
    gpu.eachRun(() => {
      counter.steps++;
    });
    for (const [i, weights] of parameters.entries()) {
      const count = Math.ceil(weights.size / 4);
      gpu.dispatch(
        gpu.kernel('sgd'),
        { gradient: gradients[i]!, velocity: velocities[i]!, weights },
        { count, rate: learningRate, momentum },
        Math.ceil(count / 64),
      );
    }
  });
}

/** Adam (Kingma & Ba 2015) with PyTorch's defaults: rate 1e-3, betas 0.9 and 0.999, epsilon 1e-8. */
export function adam(gpu: Gpu, parameters: readonly F32[], options: AdamOptions = {}): Optimizer {
  const { learningRate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const first = parameters.map((parameter) => fill(gpu, parameter.shape, 0));
  const second = parameters.map((parameter) => fill(gpu, parameter.shape, 0));
  const counter = { steps: 0 };
  let rate = 0;
  let inverseRoot = 0;
  return optimizer(gpu, [...first, ...second], counter, (gradients) => {
    gpu.eachRun(() => {
      const t = ++counter.steps;
      rate = learningRate / (1 - beta1 ** t);
      inverseRoot = 1 / Math.sqrt(1 - beta2 ** t);
    });
    for (const [i, weights] of parameters.entries()) {
      const count = Math.ceil(weights.size / 4);
      gpu.dispatch(
        gpu.kernel('adam'),
        { gradient: gradients[i]!, first: first[i]!, second: second[i]!, weights },
        { count, rate: () => rate, beta1, beta2, epsilon, inverse_root: () => inverseRoot },
        Math.ceil(count / 64),
      );
    }
  });
}

function optimizer(
  gpu: Gpu,
  tensors: readonly F32[],
  counter: { steps: number },
  step: Optimizer['step'],
): Optimizer {
  return {
    step,
    async save() {
      return { steps: counter.steps, tensors: await Promise.all(tensors.map((tensor) => tensor.read())) };
    },
    restore(state) {
      for (const [i, tensor] of tensors.entries()) gpu.write(tensor, state.tensors[i]!);
      counter.steps = state.steps;
    },
    [Symbol.dispose]() {
      for (const tensor of tensors) tensor.dispose();
    },
  };
}
