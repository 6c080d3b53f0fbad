import type { Gpu } from './gpu.ts';
import { fill } from './ops/elementwise.ts';
import type { Tensor } from './tensor.ts';

/** Updates parameters in place on the GPU from their gradients. */
export interface Optimizer extends Disposable {
  /** One update; `gradients` in the order of the parameters the optimiser was made for. May be captured. */
  step(gradients: readonly Tensor<'f32'>[]): void;
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
  return optimizer(velocities, (gradients) => {
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
  let t = 0;
  let rate = 0;
  let inverseRoot = 0;
  return optimizer([...first, ...second], (gradients) => {
    gpu.eachRun(() => {
      t++;
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

function optimizer(state: readonly F32[], step: Optimizer['step']): Optimizer {
  return {
    step,
    [Symbol.dispose]() {
      for (const tensor of state) tensor.dispose();
    },
  };
}
