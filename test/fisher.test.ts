import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import {
  diagonalFisher,
  type Estimator,
  type FisherDiagonal,
  fisherDistance,
  fishersOf,
  trace,
} from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import { Gpu, Random, SampleSum, softmaxCrossEntropy, Tape } from '../engine/index.ts';
import { chain, flattenLayer, linearLayer, Network, type StateDict } from '../models/index.ts';
import { failsWith } from './assertions.ts';
import { examplesOf, stripes, tinyNet } from './tiny.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const set = examplesOf(stripes(40, 4));

function network(seed: number, classes = 4): Network {
  return Network.initialise(gpu, tinyNet(classes), new Random(seed));
}

/** Largest difference over all entries, relative to the largest entry. */
function difference(a: FisherDiagonal, b: FisherDiagonal): number {
  let worst = 0;
  let largest = 0;
  for (const [name, { data }] of a.entries) {
    const other = b.entries.get(name)!.data;
    for (const [i, value] of data.entries()) {
      worst = Math.max(worst, Math.abs(value - other[i]!));
      largest = Math.max(largest, value);
    }
  }
  return worst / largest;
}

function picked(positions: readonly number[]): Examples {
  return {
    images: set.images,
    index: Uint32Array.from(positions, (p) => set.index[p]!),
    labels: Uint32Array.from(positions, (p) => set.labels[p]!),
  };
}

test('softmax layer in closed form: x = (1, 2), W = 0: F(W) = [[.25, 1], [.25, 1]], F(b) = [.25, .25], trace 3', () => {
  const zeros = (shape: number[]) => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b)) });
  const state: StateDict = new Map([
    ['fc.weight', zeros([2, 2])],
    ['fc.bias', zeros([2])],
  ]);
  const net = {
    name: 'softmax',
    input: [1, 1, 2] as const,
    classes: 2,
    module: chain(flattenLayer(), ['fc', linearLayer(2, 2)]),
    head: [],
  };
  using softmax = Network.fromState(gpu, net, state, 'zeros');
  const squares = gpu.scope(() => {
    const parameters = [...softmax.parameters.values()];
    const tape = new Tape(gpu).watch(parameters);
    const logits = softmax.forward(tape, gpu.tensor(Float32Array.of(1, 2), [1, 1, 1, 2]));
    const losses = softmaxCrossEntropy(tape, logits, gpu.tensor(Uint32Array.of(0), [1]));
    return tape.squaredGradients(losses, parameters);
  });
  return Promise.all(squares.map((tensor) => tensor.read())).then(([weight, bias]) => {
    for (const tensor of squares) tensor.dispose();
    for (const [i, expected] of [0.25, 1, 0.25, 1].entries())
      assert.ok(Math.abs(weight![i]! - expected) < 1e-6);
    for (const value of bias!) assert.ok(Math.abs(value - 0.25) < 1e-6);
  });
});

test('the bits of the Fisher do not depend on how images are cut into chunks', async () => {
  using net = network(1);
  const whole = await diagonalFisher(net, set, { chunk: 40 });
  for (const chunk of [1, 7, 16, 39]) assert.deepEqual(await diagonalFisher(net, set, { chunk }), whole);
});

test('the Fisher does not depend on the order of samples beyond rounding', async () => {
  using net = network(2);
  const whole = await diagonalFisher(net, set);
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray([...set.index], { minLength: 40 }), async (order) => {
      assert.ok(difference(await diagonalFisher(net, picked(order)), whole) < 2e-6);
    }),
    { numRuns: 10 },
  );
});

test('it is the mean over samples: that of a union is the weighted mean of its parts', async () => {
  using net = network(3);
  const positions = [...set.index];
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 39 }), async (cut) => {
      const first = await diagonalFisher(net, picked(positions.slice(0, cut)));
      const second = await diagonalFisher(net, picked(positions.slice(cut)));
      const whole = await diagonalFisher(net, set);
      const total = (trace(first) * cut + trace(second) * (40 - cut)) / 40;
      assert.ok(Math.abs(total / trace(whole) - 1) < 1e-5);
    }),
    { numRuns: 8 },
  );
});

test('distances of measured Fishers: 0 to itself, within [0, 1], directed', async () => {
  const networks = [4, 5, 6].map((seed) => network(seed));
  try {
    // Each network brings its own data, as each task does.
    const data = [
      picked([0, 4, 8, 12, 16, 1, 5]),
      picked([1, 5, 9, 2, 6, 10, 3]),
      picked([3, 7, 11, 15, 2, 0, 39]),
    ];
    const distance = async (source: number, target: number) => {
      const [f, g] = [
        await diagonalFisher(networks[source]!, data[target]!),
        await diagonalFisher(networks[target]!, data[target]!),
      ];
      return fisherDistance(f, g);
    };
    for (let i = 0; i < 3; i++) assert.equal(await distance(i, i), 0);
    const [there, back] = [await distance(0, 1), await distance(1, 0)];
    assert.ok(there > 0 && there < 1 && back > 0 && back < 1);
    assert.ok(Math.abs(there - back) > 1e-3, `${there} and ${back} should differ`);
    const at = 2;
    const fishers = await Promise.all(networks.map((net) => diagonalFisher(net, data[at]!)));
    const [a, b, c] = fishers as [FisherDiagonal, FisherDiagonal, FisherDiagonal];
    assert.ok(fisherDistance(a, c) <= fisherDistance(a, b) + fisherDistance(b, c) + 1e-12);
  } finally {
    for (const net of networks) net[Symbol.dispose]();
  }
});

test('a wider label space counts as further logits that are zero', async () => {
  using narrow = network(7, 3);
  const state = await narrow.state();
  const wide: StateDict = new Map(state);
  const pad = (name: string, shape: number[]) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b));
    data.set(state.get(name)!.data);
    wide.set(name, { shape, data });
  };
  pad('head.weight', [5, 6]);
  pad('head.bias', [5]);
  using padded = Network.fromState(gpu, tinyNet(5), wide, 'padded');
  const threeRows = picked([0, 1, 2, 4, 5, 6, 8, 9, 10]);
  const a = await diagonalFisher(narrow, threeRows, { labelSpace: 5 });
  const b = await diagonalFisher(padded, threeRows);
  for (const [name, { data }] of a.entries) {
    const other = b.entries.get(name)!.data;
    const largest = Math.max(...other);
    for (const [i, value] of data.entries()) assert.ok(Math.abs(value - other[i]!) <= 1e-6 * largest, name);
  }
});

test('a Fisher that overflows names the parameters', async () => {
  using net = network(8);
  const state = await net.state();
  for (const value of state.values()) value.data.fill(1e30);
  net.load(state);
  await assert.rejects(diagonalFisher(net, set), (error: { code: string; message: string }) => {
    return error.code === 'fisher-not-finite' && error.message.includes('conv.weight');
  });
});

test('a running sum refuses a second use of its parameter that is laid out in another way', () => {
  const sum = new SampleSum(gpu, [3], 'gradient', () => 0);
  sum.take(4, 0);
  assert.throws(() => sum.take(2, 0), failsWith('shared-parameter', /\[3\]/));
  sum.dispose();
});

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});

test('Fishers of blocks are those of the blocks alone, and their mean is that of all samples', async () => {
  using net = network(3);
  const blocks = [
    [0, 11],
    [11, 30],
    [30, 40],
  ] as const;
  for (const estimator of [
    { name: 'empirical' },
    { name: 'exact' },
    { name: 'batch', size: 4 },
  ] as Estimator[]) {
    const parts = await fishersOf(net, set, blocks, { estimator });
    for (const [i, [from, to]] of blocks.entries()) {
      const alone = picked(Array.from({ length: to - from }, (_, n) => from + n));
      assert.deepEqual(parts[i], await diagonalFisher(net, alone, { estimator }));
    }
    if (estimator.name === 'batch') continue;
    const all = await diagonalFisher(net, set, { estimator });
    const mean = new Map(
      [...all.entries].map(([name, { shape, data }]) => {
        const sum = data.map((_, i) =>
          parts.reduce((total, part) => total + (part.samples / 40) * part.entries.get(name)!.data[i]!, 0),
        );
        return [name, { shape, data: sum }];
      }),
    );
    assert.ok(difference(all, { entries: mean, samples: 40 }) < 2e-6);
  }
});
