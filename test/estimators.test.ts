import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  diagonalFisher,
  type Estimator,
  estimatorLabel,
  type FisherDiagonal,
  type FisherOptions,
  trace,
} from '../algorithms/index.ts';
import { type Examples, gatherImages, gatherLabels, gatherTargets } from '../data/index.ts';
import { Gpu, mean, meanSquaredError, Random, sizeOf, softmaxCrossEntropy, Tape } from '../engine/index.ts';
import {
  type Architecture,
  batchNormLayer,
  chain,
  conv2dLayer,
  convTranspose2dLayer,
  flattenLayer,
  groupNormLayer,
  linearLayer,
  Network,
  reluLayer,
  sigmoidLayer,
  tanhLayer,
  unflattenLayer,
} from '../models/index.ts';
import { assertClose, failsWith } from './assertions.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** Float32 through a few layers, against sums in float64. */
const TOLERANCE = 2e-6;
const HEAD = ['head.weight', 'head.bias'];

/** softmax(W x + b) of 3 features. */
function softmaxLayer(classes: number): Architecture {
  const module = chain(flattenLayer(), ['head', linearLayer(3, classes)]);
  return { name: 'softmax layer', input: [1, 1, 3], classes, module, head: HEAD };
}

function perceptron(classes: number): Architecture {
  const module = chain(flattenLayer(), ['fc', linearLayer(9, 5)], tanhLayer(), [
    'head',
    linearLayer(5, classes),
  ]);
  return { name: 'perceptron', input: [3, 3, 1], classes, module, head: HEAD };
}

/** With normalisation over running statistics and over groups. */
function normalised(classes: number): Architecture {
  const module = chain(
    ['conv', conv2dLayer({ in: 2, out: 4, kernel: 3, padding: 1 })],
    ['bn', batchNormLayer(4)],
    reluLayer(),
    ['grouped', conv2dLayer({ in: 4, out: 6, kernel: 3, stride: 2, groups: 2 })],
    ['gn', groupNormLayer(3, 6)],
    tanhLayer(),
    flattenLayer(),
    ['head', linearLayer(24, classes)],
  );
  return { name: 'normalised', input: [5, 5, 2], classes, module, head: HEAD };
}

/** A convolutional autoencoder of 4x4 images. */
function autoencoder(): Architecture {
  const module = chain(
    ['down', conv2dLayer({ in: 1, out: 3, kernel: 3, stride: 2, padding: 1 })],
    tanhLayer(),
    ['up', convTranspose2dLayer({ in: 3, out: 1, kernel: 4, stride: 2, padding: 1 })],
    sigmoidLayer(),
  );
  return { name: 'autoencoder', input: [4, 4, 1], classes: 0, target: [4, 4, 1], module, head: [] };
}

/** Images of 2x2 as linear functions of 3 features. */
function linearImages(): Architecture {
  const module = chain(flattenLayer(), ['fc', linearLayer(3, 4)], unflattenLayer([2, 2, 1]));
  return { name: 'linear images', input: [1, 1, 3], classes: 0, target: [2, 2, 1], module, head: [] };
}

/** A network whose running statistics and normalising weights are not those it begins with. */
function network(architecture: Architecture, seed: number): Network {
  const random = new Random(seed);
  const made = Network.initialise(gpu, architecture, random);
  for (const [name, tensor] of made.tensors) {
    if (!/^(bn|gn)\./.test(name)) continue;
    const values = random.fork(`values of ${name}`).uniform(tensor.size);
    gpu.write(
      tensor,
      values.map((value) => value + 0.5),
    );
  }
  return made;
}

/** Normal images with random labels; `copies` of each, one whole set after another. */
function examplesFor({ input, target, classes }: Architecture, count: number, copies = 1): Examples {
  const random = new Random(11).fork('examples');
  const set = (name: string, [height, width, channels]: Architecture['input']) => {
    const pixels = random.fork(name).normal(count * height * width * channels);
    const labels = random
      .fork('labels')
      .bits(count)
      .map((word) => word % Math.max(1, classes));
    return { name, count, height, width, channels, pixels, labels, classes };
  };
  const images = set('images', input);
  const index = Uint32Array.from({ length: count * copies }, (_, i) => i % count);
  const labels = index.map((i) => images.labels[i]!);
  return { images, index, labels, targets: target && set('targets', target) };
}

/** Entries by name, in float64. */
type Entries = Map<string, Float64Array>;

function zeros({ parameters }: Network): Entries {
  return new Map([...parameters].map(([name, { size }]) => [name, new Float64Array(size)]));
}

function addSquares(to: Entries, gradients: Entries, factor: number): void {
  for (const [name, gradient] of gradients) {
    const sum = to.get(name)!;
    for (const [i, value] of gradient.entries()) sum[i]! += factor * value * value;
  }
}

function assertFisher(actual: FisherDiagonal, expected: Entries, tolerance = TOLERANCE): void {
  assert.deepEqual([...actual.entries.keys()], [...expected.keys()]);
  for (const [name, values] of expected) assertClose(actual.entries.get(name)!.data, values, tolerance, name);
}

/** Gradient of the mean loss of some examples, through `Tape.gradients` alone. */
async function meanGradient(
  net: Network,
  examples: Examples,
  positions: readonly number[],
  wanted?: { labels: readonly number[] } | { targets: Float32Array },
): Promise<Entries> {
  const at = Uint32Array.from(positions);
  const { input, target } = net.architecture;
  const parameters = [...net.parameters.values()];
  const reads = gpu.scope(() => {
    const tape = new Tape(gpu).watch(parameters);
    const images = gpu.tensor(gatherImages(examples, at), [at.length, ...input]);
    const outputs = net.forward(tape, images);
    if (target) {
      const values = wanted && 'targets' in wanted ? wanted.targets : gatherTargets(examples, at);
      const losses = meanSquaredError(tape, outputs, gpu.tensor(values, [at.length, ...target]));
      return tape.gradients(mean(tape, losses), parameters).map((tensor) => tensor.read());
    }
    const labels =
      wanted && 'labels' in wanted ? Uint32Array.from(wanted.labels) : gatherLabels(examples, at);
    const losses = softmaxCrossEntropy(tape, outputs, gpu.tensor(labels, [at.length]));
    return tape.gradients(mean(tape, losses), parameters).map((tensor) => tensor.read());
  });
  const values = await Promise.all(reads);
  return new Map([...net.parameters.keys()].map((name, i) => [name, Float64Array.from(values[i]!)]));
}

async function outputsOf(net: Network, examples: Examples): Promise<number[][]> {
  const count = examples.index.length;
  const positions = Uint32Array.from({ length: count }, (_, i) => i);
  const values = await gpu.scope(() => {
    const images = gpu.tensor(gatherImages(examples, positions), [count, ...net.architecture.input]);
    return net.forward(new Tape(gpu), images).read();
  });
  const size = values.length / count;
  return Array.from({ length: count }, (_, n) => [...values.slice(n * size, (n + 1) * size)]);
}

function softmax(logits: readonly number[]): number[] {
  const powers = logits.map((z) => Math.exp(z));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / total);
}

/** The empirical Fisher as a loop over single samples. */
async function empiricalLoop(net: Network, examples: Examples): Promise<Entries> {
  const result = zeros(net);
  const count = examples.index.length;
  for (let n = 0; n < count; n++) addSquares(result, await meanGradient(net, examples, [n]), 1 / count);
  return result;
}

/** What may come of a draw for one image: its probability and its gradient. */
type Outcome = [probability: number, gradient: Entries];

/** For each image, the gradient with every label and the label's probability. */
async function labelOutcomes(net: Network, examples: Examples): Promise<Outcome[][]> {
  const logits = await outputsOf(net, examples);
  const images: Outcome[][] = [];
  for (const [n, row] of logits.entries()) {
    const image: Outcome[] = [];
    for (const [c, p] of softmax(row).entries())
      image.push([p, await meanGradient(net, examples, [n], { labels: [c] })]);
    images.push(image);
  }
  return images;
}

function expectation(net: Network, images: Outcome[][]): Entries {
  const result = zeros(net);
  for (const image of images) {
    for (const [p, gradient] of image) addSquares(result, gradient, p / images.length);
  }
  return result;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

test('exact equals the expectation over labels, taken one by one, with running statistics and groups', async () => {
  using net = network(normalised(4), 1);
  const examples = examplesFor(net.architecture, 6);
  const fisher = await diagonalFisher(net, examples, { estimator: { name: 'exact' } });
  assertFisher(fisher, expectation(net, await labelOutcomes(net, examples)));
});

test('empirical equals a loop over single samples, of labels and of images', async () => {
  for (const architecture of [normalised(4), autoencoder()]) {
    using net = network(architecture, 2);
    const examples = examplesFor(architecture, 6);
    assertFisher(await diagonalFisher(net, examples), await empiricalLoop(net, examples));
  }
});

test('a softmax layer in closed form: exact p (1 - p) x^2, empirical (p - y)^2 x^2', async () => {
  const classes = 4;
  using net = network(softmaxLayer(classes), 3);
  const count = 9;
  const examples = examplesFor(net.architecture, count);
  const pixels = examples.images.pixels as Float32Array;
  const [weight, offset] = await Promise.all([...net.parameters.values()].map((tensor) => tensor.read()));
  const [exact, empirical] = [zeros(net), zeros(net)];
  for (let n = 0; n < count; n++) {
    const x = [0, 1, 2].map((j) => pixels[3 * n + j]!);
    const p = softmax(
      Array.from(offset!, (b, c) => b + sum(x.map((value, j) => weight![3 * c + j]! * value))),
    );
    for (const [c, probability] of p.entries()) {
      const variance = probability * (1 - probability);
      const error = (probability - Number(examples.labels[n] === c)) ** 2;
      for (const [result, factor] of [
        [exact, variance],
        [empirical, error],
      ] as const) {
        result.get('head.bias')![c]! += factor / count;
        for (let j = 0; j < 3; j++) result.get('head.weight')![3 * c + j]! += (factor * x[j]! ** 2) / count;
      }
    }
  }
  assertFisher(await diagonalFisher(net, examples), empirical);
  assertFisher(await diagonalFisher(net, examples, { estimator: { name: 'exact' } }), exact);
});

test('x = (1, 2), W = 0, 2 classes: exact and empirical are both [[.25, 1], [.25, 1]] and [.25, .25]', async () => {
  const module = chain(flattenLayer(), ['fc', linearLayer(2, 2)]);
  const architecture: Architecture = { name: 'softmax', input: [1, 1, 2], classes: 2, module, head: [] };
  using net = Network.allocate(gpu, architecture);
  for (const tensor of net.tensors.values()) gpu.write(tensor, new Float32Array(tensor.size));
  const shape = { name: 'one', count: 1, height: 1, width: 1, channels: 2, classes: 2 };
  const images = { ...shape, pixels: Float32Array.of(1, 2), labels: Uint32Array.of(0) };
  const examples = { images, index: Uint32Array.of(0), labels: Uint32Array.of(0) };
  for (const name of ['empirical', 'exact'] as const) {
    const fisher = await diagonalFisher(net, examples, { estimator: { name } });
    const expected: Entries = new Map([
      ['fc.weight', Float64Array.of(0.25, 1, 0.25, 1)],
      ['fc.bias', Float64Array.of(0.25, 0.25)],
    ]);
    assertFisher(fisher, expected, 1e-7);
    assert.ok(Math.abs(trace(fisher) - 3) < 1e-6);
  }
});

test('sampled converges to exact: 6,000 draws within 10 % for each parameter, and within the expected spread', async (t) => {
  using net = network(perceptron(4), 4);
  const [images, copies, draws] = [6, 100, 10];
  const outcomes = await labelOutcomes(net, examplesFor(net.architecture, images));
  const exact = expectation(net, outcomes);
  // The same images many times over give the same Fisher, and independent draws.
  const many = examplesFor(net.architecture, images, copies);
  const sampled = (estimator: Estimator, samples?: number) =>
    diagonalFisher(net, many, { estimator, samples, chunk: images * copies });
  const fisher = await sampled({ name: 'sampled', draws, seed: 5 });
  for (const [name, entries] of exact) {
    const expected = sum(entries);
    // Variance of the mean over images of what one draw gives, over the draws of each image.
    const variance =
      sum(
        outcomes.map((image) => {
          const lengths = image.map(([p, gradient]) => [p, sum(gradient.get(name)!.map((g) => g * g))]);
          const first = sum(lengths.map(([p, length]) => p! * length!));
          return sum(lengths.map(([p, length]) => p! * (length! - first) ** 2));
        }),
      ) /
      (images * images * copies * draws);
    const spread = Math.sqrt(variance) / expected;
    const error = Math.abs(sum(fisher.entries.get(name)!.data) / expected - 1);
    t.diagnostic(`${name}: off by ${error.toFixed(4)}, standard error ${spread.toFixed(4)}`);
    assert.ok(error < 0.1 && error < 4 * spread, `${name}: off by ${error}, standard error ${spread}`);
  }
  assert.ok(Math.abs(trace(fisher) / sum([...exact.values()].map(sum)) - 1) < 0.03);

  const few = { name: 'sampled', draws: 2, seed: 5 } as const;
  const one = await sampled(few, images);
  assert.deepEqual(await sampled(few, images), one);
  assert.notDeepEqual(await sampled({ ...few, seed: 6 }, images), one);
  assert.notDeepEqual(await sampled({ ...few, draws: 3 }, images), one);
  assert.ok(Math.abs(trace(one) / trace(fisher) - 1) > 0.03, 'few draws are not yet near');
});

test('batch: squared mean gradients of whole batches, and of what is left at the end', async () => {
  for (const architecture of [normalised(4), autoencoder()]) {
    using net = network(architecture, 6);
    const count = 7;
    const examples = examplesFor(architecture, count);
    const empirical = await diagonalFisher(net, examples);
    for (const size of [1, 3, 4, count, count + 5]) {
      const expected = zeros(net);
      const batches = Math.ceil(count / size);
      for (let from = 0; from < count; from += size) {
        const positions = Array.from({ length: Math.min(size, count - from) }, (_, i) => from + i);
        addSquares(expected, await meanGradient(net, examples, positions), 1 / batches);
      }
      const fisher = await diagonalFisher(net, examples, { estimator: { name: 'batch', size } });
      assertFisher(fisher, expected);
      if (size === 1) {
        for (const [name, { data }] of empirical.entries)
          assertClose(fisher.entries.get(name)!.data, data, 1e-6, name);
      } else {
        assert.ok(trace(fisher) < 0.9 * trace(empirical), `batches of ${size} are not single samples`);
      }
    }
  }
});

test('axis-mean: entries equal along the first axis, to the mean there; the trace is kept', async () => {
  using net = network(normalised(4), 7);
  const examples = examplesFor(net.architecture, 5);
  for (const estimator of [{ name: 'empirical' }, { name: 'batch', size: 2 }] as const) {
    const whole = await diagonalFisher(net, examples, { estimator });
    const reduced = await diagonalFisher(net, examples, { estimator, reduction: 'axis-mean' });
    assert.ok(Math.abs(trace(reduced) / trace(whole) - 1) < 1e-6);
    for (const [name, { shape, data }] of whole.entries) {
      const [rows, width] = [shape[0]!, data.length / shape[0]!];
      const expected = data.map((_, i) => {
        const column = Array.from({ length: rows }, (_, row) => data[row * width + (i % width)]!);
        return sum(column) / rows;
      });
      assertClose(reduced.entries.get(name)!.data, expected, 1e-7, name);
      assert.deepEqual(reduced.entries.get(name)!.shape, shape);
    }
  }
});

test('images in closed form: a linear layer has the exact Fisher 2 x^2 / D', async () => {
  using net = network(linearImages(), 8);
  const count = 5;
  const examples = examplesFor(net.architecture, count);
  const pixels = examples.images.pixels as Float32Array;
  const meanSquare = (j: number) =>
    sum(Array.from({ length: count }, (_, n) => pixels[3 * n + j]! ** 2)) / count;
  const expected: Entries = new Map([
    ['fc.weight', Float64Array.from({ length: 12 }, (_, i) => (2 / 4) * meanSquare(i % 3))],
    ['fc.bias', new Float64Array(4).fill(2 / 4)],
  ]);
  assertFisher(await diagonalFisher(net, examples, { estimator: { name: 'exact' } }), expected);
});

test('images: exact equals targets one standard deviation off in one output after another; outputs may be chosen', async () => {
  using net = network(autoencoder(), 9);
  const examples = examplesFor(net.architecture, 4);
  const outputs = await outputsOf(net, examples);
  const size = outputs[0]!.length;
  const loop = async (chosen: readonly number[]) => {
    const result = zeros(net);
    for (const [n, output] of outputs.entries()) {
      for (const o of chosen) {
        const targets = Float32Array.from(output);
        targets[o]! -= Math.sqrt(size / 2);
        addSquares(result, await meanGradient(net, examples, [n], { targets }), 1 / outputs.length);
      }
    }
    return result;
  };
  const fisher = await diagonalFisher(net, examples, { estimator: { name: 'exact' } });
  assertFisher(fisher, await loop([...outputs[0]!.keys()]));
  const chosen = [0, 5, 15];
  const part = await diagonalFisher(net, examples, { estimator: { name: 'exact', outputs: chosen } });
  assertFisher(part, await loop(chosen));
  assert.ok(trace(part) < 0.5 * trace(fisher));
});

test('images: sampled converges to exact', async (t) => {
  using net = network(autoencoder(), 9);
  const [images, copies, draws] = [4, 500, 5];
  const exact = await diagonalFisher(net, examplesFor(net.architecture, images), {
    estimator: { name: 'exact' },
  });
  const many = examplesFor(net.architecture, images, copies);
  const estimator = { name: 'sampled', draws, seed: 1 } as const;
  const sampled = await diagonalFisher(net, many, { estimator, chunk: images * copies });
  // z'Az of a normal z has a standard deviation of at most sqrt(2) of its mean, A being positive: of 2,500 draws for
  // each of 4 images that is 2.8 % if one image has it all, and less the more directions count.
  for (const [name, { data }] of exact.entries) {
    const error = Math.abs(sum(sampled.entries.get(name)!.data) / sum(data) - 1);
    t.diagnostic(`${name}: off by ${error.toFixed(4)}`);
    assert.ok(error < 0.06, `${name}: off by ${error}`);
  }
  assert.ok(Math.abs(trace(sampled) / trace(exact) - 1) < 0.03);
});

test('a wider label space counts as zero logits, for exact and sampled', async () => {
  const [classes, wide] = [3, 5];
  using narrow = network(normalised(classes), 10);
  const state = await narrow.state();
  for (const name of HEAD) {
    const { shape, data } = state.get(name)!;
    const padded = new Float32Array((data.length / classes) * wide);
    padded.set(data);
    state.set(name, { shape: [wide, ...shape.slice(1)], data: padded });
  }
  using padded = Network.fromState(gpu, normalised(wide), state, 'padded');
  const examples = examplesFor(narrow.architecture, 6);
  for (const estimator of [{ name: 'exact' }, { name: 'sampled', draws: 4, seed: 2 }] as const) {
    const actual = await diagonalFisher(narrow, examples, { estimator, labelSpace: wide });
    const whole = await diagonalFisher(padded, examples, { estimator });
    for (const [name, { data }] of actual.entries) {
      assertClose(data, whole.entries.get(name)!.data.slice(0, data.length), TOLERANCE, name);
    }
    const own = await diagonalFisher(narrow, examples, { estimator });
    assert.ok(Math.abs(trace(own) / trace(actual) - 1) > 0.01);
  }
});

const everyWay: [Architecture, FisherOptions[]][] = [
  [
    normalised(4),
    [
      { estimator: { name: 'empirical' } },
      { estimator: { name: 'exact' }, labelSpace: 6 },
      { estimator: { name: 'sampled', draws: 3, seed: 1 } },
      { estimator: { name: 'batch', size: 4 } },
      { estimator: { name: 'batch', size: 11 }, reduction: 'axis-mean' },
    ],
  ],
  [
    autoencoder(),
    [
      { estimator: { name: 'empirical' } },
      { estimator: { name: 'exact' } },
      { estimator: { name: 'sampled', draws: 3, seed: 1 } },
      { estimator: { name: 'batch', size: 4 } },
    ],
  ],
];
for (const [architecture, ways] of everyWay) {
  for (const options of ways) {
    const label = estimatorLabel(options.estimator!, options.reduction);
    test(`the bits of ${label} of the ${architecture.name} network do not depend on the chunk`, async () => {
      using net = network(architecture, 12);
      const examples = examplesFor(architecture, 11);
      const whole = await diagonalFisher(net, examples, { ...options, chunk: 11 });
      assert.ok(trace(whole) > 0);
      for (const chunk of [1, 3, 10])
        assert.deepEqual(await diagonalFisher(net, examples, { ...options, chunk }), whole);
    });
  }
}

test('progress counts every image once a pass', async () => {
  using net = network(perceptron(3), 13);
  const seen: [number, number][] = [];
  const onProgress = (done: number, all: number) => seen.push([done, all]);
  const examples = examplesFor(net.architecture, 5);
  await diagonalFisher(net, examples, { estimator: { name: 'exact' }, chunk: 4, onProgress });
  const done = [4, 5, 9, 10, 14, 15];
  assert.deepEqual(
    seen,
    done.map((count) => [count, 15]),
  );
});

test('labels of estimators name all that the result depends on', () => {
  const cases: [Estimator, FisherOptions['reduction'], string][] = [
    [{ name: 'empirical' }, undefined, 'empirical'],
    [{ name: 'empirical' }, 'none', 'empirical'],
    [{ name: 'empirical' }, 'axis-mean', 'empirical, axis-mean'],
    [{ name: 'exact' }, undefined, 'exact'],
    [{ name: 'exact', outputs: [0, 7] }, undefined, 'exact (outputs 0, 7)'],
    [{ name: 'sampled', draws: 2, seed: 3 }, undefined, 'sampled (2 draws, seed 3)'],
    [{ name: 'batch', size: 10 }, 'axis-mean', 'batch (10), axis-mean'],
  ];
  for (const [estimator, reduction, label] of cases)
    assert.equal(estimatorLabel(estimator, reduction), label);
});

test('what is no estimator is refused', async () => {
  using net = network(autoencoder(), 14);
  const examples = examplesFor(net.architecture, 2);
  const wrong: [Estimator, RegExp][] = [
    [{ name: 'sampled', draws: 0, seed: 1 }, /^0 is no number of draws/],
    [{ name: 'sampled', draws: 1.5, seed: 1 }, /^1.5 is no number of draws/],
    [{ name: 'batch', size: 0 }, /^0 is no number of images a batch/],
    [{ name: 'batch', size: Number.NaN }, /^NaN is no number/],
    [{ name: 'exact', outputs: [3, 16] }, /takes output 16, but there are 16/],
    [{ name: 'exact', outputs: [-1] }, /takes output -1/],
    [{ name: 'exact', outputs: [2, 2] }, /takes an output twice/],
    [{ name: 'exact', outputs: [] }, /takes no output$/],
  ];
  for (const [estimator, message] of wrong)
    await assert.rejects(diagonalFisher(net, examples, { estimator }), failsWith('bad-estimator', message));
  using classifier = network(perceptron(3), 14);
  const first: Estimator = { name: 'exact', outputs: [0] };
  await assert.rejects(
    diagonalFisher(classifier, examplesFor(classifier.architecture, 2), { estimator: first }),
    failsWith('bad-estimator', /takes output 0, but there are 0/),
  );

  const side = 65;
  const module = chain(['conv', conv2dLayer({ in: 1, out: 1, kernel: 1 })]);
  const shape = [side, side, 1] as const;
  const large: Architecture = { name: 'large', input: shape, classes: 0, target: shape, module, head: [] };
  using big = network(large, 15);
  const pictures = examplesFor(large, 1);
  await assert.rejects(
    diagonalFisher(big, pictures, { estimator: { name: 'exact' } }),
    failsWith('exact-too-many-outputs', /4225 outputs/),
  );
  const some = { name: 'exact', outputs: [0, sizeOf(shape) - 1] } as const;
  assert.ok(trace(await diagonalFisher(big, pictures, { estimator: some })) > 0);
});

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
