import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { networkFeatures } from '../algorithms/index.ts';
import { gatherImages } from '../data/index.ts';
import { Gpu, Random, Tape } from '../engine/index.ts';
import {
  type Architecture,
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  livelyState,
  Network,
  reluLayer,
  type StateDict,
  withTaskHead,
} from '../models/index.ts';
import { assertClose, failsWith } from './assertions.ts';
import { examplesOf, stripes, tinyNet } from './tiny.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const examples = examplesOf(stripes(30, 3), 4, 21);

function networkOf(architecture: Architecture): { network: Network; state: StateDict } {
  const state = livelyState(architecture, new Random(3));
  return { network: Network.fromState(gpu, architecture, state, 'a test'), state };
}

/** y = W x + b of a layer, in float64. */
function affine(state: StateDict, layer: string, x: Float64Array): Float64Array {
  const weight = state.get(`${layer}.weight`)!.data;
  return Float64Array.from(state.get(`${layer}.bias`)!.data, (bias, i) => {
    return x.reduce((sum, value, j) => sum + value * weight[i * x.length + j]!, bias);
  });
}

/** What the tiny network's head takes, of one 8x8 image, in float64. */
function tinyFeatures(state: StateDict, image: Float32Array): Float64Array {
  const weight = state.get('conv.weight')!.data;
  const bias = state.get('conv.bias')!.data;
  const pixel = (row: number, column: number) =>
    row < 0 || row > 7 || column < 0 || column > 7 ? 0 : image[8 * row + column]!;
  const convolved = (channel: number, row: number, column: number) => {
    let sum = bias[channel]!;
    for (let k = 0; k < 9; k++) {
      sum += weight[9 * channel + k]! * pixel(row + Math.floor(k / 3) - 1, column + (k % 3) - 1);
    }
    return Math.max(0, sum);
  };
  const pooled = Float64Array.from({ length: 64 }, (_, at) => {
    const [channel, row, column] = [Math.floor(at / 16), Math.floor((at % 16) / 4), at % 4];
    const window = [0, 1, 2, 3].map((k) => convolved(channel, 2 * row + (k >> 1), 2 * column + (k & 1)));
    return Math.max(...window);
  });
  return affine(state, 'fc', pooled);
}

test('features and logits are those worked out by hand in float64', async () => {
  const { network, state } = networkOf(tinyNet(3));
  using _ = network;
  const { features, logits } = await networkFeatures(network, examples);
  assert.deepEqual([features.width, logits.width], [6, 3]);
  assert.deepEqual(features.labels, examples.labels);
  const images = gatherImages(
    examples,
    Uint32Array.from({ length: 21 }, (_, i) => i),
  );
  const byHand = Array.from({ length: 21 }, (_, n) =>
    tinyFeatures(state, images.subarray(64 * n, 64 * (n + 1))),
  );
  assertClose(
    features.values,
    byHand.flatMap((row) => [...row]),
    2e-6,
    'features',
  );
  assertClose(
    logits.values,
    byHand.flatMap((row) => [...affine(state, 'head', row)]),
    2e-6,
    'logits',
  );
});

test('the same bits whatever the batch, and those of the network', async () => {
  const { network } = networkOf(tinyNet(3));
  using _ = network;
  const whole = await networkFeatures(network, examples);
  for (const batch of [1, 4, 20, 21, 64]) {
    assert.deepEqual(await networkFeatures(network, examples, batch), whole, `${batch}`);
  }
  const positions = Uint32Array.from({ length: 21 }, (_, i) => i);
  using images = gpu.tensor(gatherImages(examples, positions), [21, 8, 8, 1]);
  using outputs = network.forward(new Tape(gpu), images);
  assert.deepEqual(await outputs.read(), whole.logits.values);
});

test('a head that takes images has its features in the order of its weights', async () => {
  const module = chain(['conv', conv2dLayer({ in: 1, out: 2, kernel: 3, padding: 1 })], reluLayer(), [
    'head',
    linearLayer(128, 3),
  ]);
  const { network, state } = networkOf({
    name: 'images to the head',
    input: [8, 8, 1],
    classes: 3,
    module,
    head: ['head.weight', 'head.bias'],
  });
  using _ = network;
  const { features, logits } = await networkFeatures(network, examples, 8);
  assert.equal(features.width, 128);
  const rows = Array.from({ length: 21 }, (_, n) => {
    return [...affine(state, 'head', Float64Array.from(features.values.subarray(128 * n, 128 * (n + 1))))];
  });
  assertClose(logits.values, rows.flat(), 2e-6, 'logits');
});

test('of a head of several layers the first, of a network that names its features those', async () => {
  const module = chain(flattenLayer(), ['first', linearLayer(64, 5)], reluLayer(), [
    'second',
    linearLayer(5, 3),
  ]);
  const head = ['first.weight', 'first.bias', 'second.weight', 'second.bias'];
  const deep: Architecture = { name: 'deep head', input: [8, 8, 1], classes: 3, module, head };
  const { network } = networkOf(deep);
  using first = network;
  assert.equal((await networkFeatures(first, examples)).features.width, 64);
  const { network: later } = networkOf({ ...deep, features: 'second.weight' });
  using second = later;
  assert.equal((await networkFeatures(second, examples)).features.width, 5);
  const body = (classes: number): Architecture => ({
    name: 'body',
    input: [8, 8, 1],
    classes,
    module: chain(flattenLayer(), ['first', linearLayer(64, 5)], reluLayer(), [
      'second',
      linearLayer(5, classes),
    ]),
    head: ['second.weight', 'second.bias'],
  });
  const { network: tasked } = networkOf(withTaskHead(body, 3));
  using withBody = tasked;
  const { features, logits } = await networkFeatures(withBody, examples);
  assert.deepEqual([features.width, logits.width], [5, 3]);
});

test('a network without a head has no features', async () => {
  const { network } = networkOf({ ...tinyNet(3), head: [] });
  using _ = network;
  await assert.rejects(async () => networkFeatures(network, examples), failsWith('no-head', /tiny/));
  const { network: misnamed } = networkOf({ ...tinyNet(3), head: ['nothing'] });
  using other = misnamed;
  await assert.rejects(async () => networkFeatures(other, examples), failsWith('no-head', /tiny/));
});
