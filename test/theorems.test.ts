import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  diagonalFisher,
  fisherDistance,
  mean,
  standardDeviation,
  train,
  trainingStep,
  uploadBatch,
} from '../algorithms/index.ts';
import {
  averagedSgd,
  convexFisher,
  convexGradient,
  convexMinimiser,
  exponentOf,
  gaussianTasks,
} from '../algorithms/testing/convex.ts';
import { Gpu, Random, sgd } from '../engine/index.ts';
import { chain, flattenLayer, linearLayer, Network } from '../models/index.ts';
import { stripesTask, tinyNet } from './tiny.ts';

const [first, second] = gaussianTasks(
  { count: 300, features: 4, classes: 3, penalty: 0.2 },
  new Random(1).fork('tasks'),
);
const STEPS = [1000, 1778, 3162, 5623, 10_000, 17_783, 31_623, 56_234, 100_000];
const RATE = { first: 1, power: 0.6 };
const SEEDS = 40;

/** The mean iterates at {@link STEPS}, by seed. */
const runs = (task: typeof first, name: string) =>
  Array.from({ length: SEEDS }, (_, seed) => averagedSgd(task, STEPS, new Random(seed).fork(name), RATE));
const ofFirst = runs(first, 'first');
const ofSecond = runs(second, 'second');

test('the gradient is that of the loss, and vanishes at the minimiser', () => {
  const weights = Float64Array.from(new Random(2).normal(15));
  const gradient = convexGradient(first, weights);
  for (const i of weights.keys()) {
    const at = (step: number) => lossOf(weights.map((value, j) => (j === i ? value + step : value)));
    assert.ok(Math.abs((at(1e-5) - at(-1e-5)) / 2e-5 - gradient[i]!) < 1e-9, `${i}`);
  }
  const least = convexGradient(first, convexMinimiser(first));
  assert.ok(least.every((value) => Math.abs(value) < 1e-12));
});

/** Mean cross-entropy of the first task, with its penalty. */
function lossOf(weights: Float64Array): number {
  const { inputs, labels, size, classes, penalty } = first;
  const losses = Array.from(labels, (label, n) => {
    const logits = Array.from({ length: classes }, (_, c) => {
      return inputs
        .subarray(n * size, (n + 1) * size)
        .reduce((sum, x, j) => sum + x * weights[c * size + j]!, 0);
    });
    return Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[label]!;
  });
  return mean(losses) + (penalty / 2) * weights.reduce((sum, value) => sum + value ** 2, 0);
}

test('its Fisher is that which the engine measures of a linear layer', async () => {
  const count = first.labels.length;
  const pixels = Float32Array.from(first.inputs.filter((_, i) => i % 5 < 4));
  const { labels } = first;
  const images = { name: 'points', count, height: 1, width: 4, channels: 1, pixels, labels, classes: 3 };
  const points = { images, index: labels.map((_, n) => n), labels };
  const module = chain(flattenLayer(), ['head', linearLayer(4, 3)]);
  using gpu = await Gpu.create();
  using network = Network.initialise(
    gpu,
    { name: 'linear', input: [1, 4, 1], classes: 3, module, head: ['head.weight', 'head.bias'] },
    new Random(3),
  );
  const [weight, bias] = [...(await network.state()).values()].map(({ data }) => data);
  const weights = Float64Array.from({ length: 15 }, (_, i) => {
    const c = Math.floor(i / 5);
    return i % 5 < 4 ? weight![4 * c + (i % 5)]! : bias![c]!;
  });
  const { data: exact } = convexFisher(first, weights).entries.get('head.weight')!;
  const { entries } = await diagonalFisher(network, points);
  const [ofWeight, ofBias] = [...entries.values()].map(({ data }) => data);
  for (const [i, value] of exact.entries()) {
    const c = Math.floor(i / 5);
    const measured = i % 5 < 4 ? ofWeight![4 * c + (i % 5)]! : ofBias![c]!;
    assert.ok(Math.abs(measured - value) < 2e-6 * value, `${i}: ${measured}, not ${value}`);
  }
});

test('two trainings of one seed on the adapter have distance 0 exactly, of another order more', async () => {
  const task = stripesTask(200, 4);
  using gpu = await Gpu.create();
  const trained = async (optimiser: 'adam' | 'sgd', order: number) => {
    using network = Network.initialise(gpu, tinyNet(4), new Random(1));
    if (optimiser === 'adam') {
      await train(network, task, { epochs: 2, batch: 16, learningRate: 0.01, random: new Random(order) });
    } else {
      using descent = sgd(gpu, [...network.parameters.values()], { learningRate: 0.05 });
      const positions = new Random(order).permutation(112);
      for (let from = 0; from < 112; from += 16) {
        gpu.scope(() => {
          const batch = uploadBatch(network, task.train, positions.subarray(from, from + 16));
          trainingStep(network, descent, batch, new Random(0));
        });
      }
    }
    return diagonalFisher(network, task.test);
  };
  for (const optimiser of ['adam', 'sgd'] as const) {
    const [one, same, other] = [
      await trained(optimiser, 7),
      await trained(optimiser, 7),
      await trained(optimiser, 8),
    ];
    assert.equal(fisherDistance(one, same), 0);
    assert.ok(fisherDistance(one, other) > 1e-4);
  }
});

test('two runs of one seed have distance 0 exactly', () => {
  const steps = [100, 2000];
  const [a, b, other] = [5, 5, 6].map((seed) => averagedSgd(first, steps, new Random(seed), RATE));
  for (const k of steps.keys()) {
    const [f, g, h] = [a, b, other].map((run) => convexFisher(first, run![k]!));
    assert.equal(fisherDistance(f!, g!), 0);
    assert.ok(fisherDistance(f!, h!) > 0);
  }
});

test('between two seeds the distance falls as the square root of the steps', () => {
  const pairs = Array.from({ length: SEEDS / 2 }, (_, pair) =>
    STEPS.map((_, k) => {
      const [f, g] = [2 * pair, 2 * pair + 1].map((seed) => convexFisher(first, ofFirst[seed]![k]!));
      return fisherDistance(f!, g!);
    }),
  );
  const exponents = pairs.map((distances) => exponentOf(STEPS, distances));
  const averaged = exponentOf(
    STEPS,
    STEPS.map((_, k) => mean(pairs.map((distances) => distances[k]!))),
  );
  const spread = standardDeviation(exponents);
  // Single pairs spread by 0.12, so the mean of 20 is known to 0.03 and 15 % of the exponent are three times that.
  assert.ok(spread / Math.sqrt(pairs.length) < 0.04, `${spread}`);
  assert.ok(Math.abs(averaged + 0.5) < 0.15 * 0.5, `${averaged}, single pairs ± ${spread}`);
});

test('between two tasks it tends to that of the exact minimisers, its spread over seeds to nothing', () => {
  const fishers = (weights: Float64Array) => convexFisher(second, weights);
  const limit = fisherDistance(fishers(convexMinimiser(first)), fishers(convexMinimiser(second)));
  const distances = STEPS.map((_, k) =>
    ofFirst.map((run, seed) => fisherDistance(fishers(run[k]!), fishers(ofSecond[seed]![k]!))),
  );
  const sigma = distances.map(standardDeviation);
  const off = distances.map((values) => Math.abs(mean(values) - limit));
  assert.ok(limit > 0.05, `${limit}`);
  // The deviation of n values is itself known to 1 / sqrt(2 (n - 1)), 11 %.
  assert.ok(Math.abs(exponentOf(STEPS, sigma) + 0.5) < 0.15 * 0.5, `${sigma}`);
  assert.ok(off.at(-1)! < 4 * (sigma.at(-1)! / Math.sqrt(SEEDS)), `${off}`);
  assert.ok(off.at(-1)! < off[0]! / 4, `${off}`);
});
