import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { adam, Gpu, type Optimizer, Random, sgd, type Tensor } from '../engine/index.ts';
import { assertClose } from './assertions.ts';

type F32 = Tensor<'f32'>;

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** Runs an optimiser on two parameters with given gradients and compares with an update rule in float64. */
async function checkOptimizer(
  make: (parameters: F32[]) => Optimizer,
  update: (weight: number, gradient: number, state: number[], step: number) => number,
): Promise<void> {
  const random = new Random(9);
  const sizes = [7, 300];
  const exact = sizes.map((size) => Float64Array.from(random.normal(size)));
  const states = sizes.map((size) => Array.from({ length: size }, () => [0, 0]));
  const parameters = exact.map((values) => gpu.tensor(Float32Array.from(values), [values.length]));
  {
    using optimizer = make(parameters);
    for (let step = 1; step <= 8; step++) {
      const gradients = sizes.map((size) => random.normal(size) as Float32Array<ArrayBuffer>);
      gpu.scope(() => optimizer.step(gradients.map((values) => gpu.tensor(values, [values.length]))));
      for (const [p, weights] of exact.entries()) {
        for (const [i, w] of weights.entries())
          weights[i] = update(w, gradients[p]![i]!, states[p]![i]!, step);
      }
    }
    for (const [p, parameter] of parameters.entries()) {
      assertClose(await parameter.read(), exact[p]!, 1e-6, `parameter ${p}`);
    }
  }
  for (const parameter of parameters) parameter.dispose();
  assert.equal(gpu.liveTensors, 0);
}

test('sgd is plain descent, with momentum that of PyTorch', async () => {
  for (const momentum of [0, 0.9]) {
    await checkOptimizer(
      (parameters) => sgd(gpu, parameters, { learningRate: 0.05, momentum }),
      (w, g, state) => {
        state[0] = momentum * state[0]! + g;
        return w - 0.05 * state[0];
      },
    );
  }
});

test('adam is that of Kingma and Ba', async () => {
  const update =
    (rate: number, beta1: number, beta2: number, epsilon: number) =>
    (w: number, g: number, state: number[], t: number) => {
      state[0] = beta1 * state[0]! + (1 - beta1) * g;
      state[1] = beta2 * state[1]! + (1 - beta2) * g * g;
      const first = state[0] / (1 - beta1 ** t);
      const second = state[1] / (1 - beta2 ** t);
      return w - (rate * first) / (Math.sqrt(second) + epsilon);
    };
  await checkOptimizer((parameters) => adam(gpu, parameters), update(1e-3, 0.9, 0.999, 1e-8));
  const options = { learningRate: 0.1, beta1: 0.8, beta2: 0.9, epsilon: 0.01 };
  await checkOptimizer((parameters) => adam(gpu, parameters, options), update(0.1, 0.8, 0.9, 0.01));
});
