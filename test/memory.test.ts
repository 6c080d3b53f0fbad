import assert from 'node:assert/strict';
import process from 'node:process';
import { after, test } from 'node:test';
import {
  diagonalFisher,
  type Estimator,
  estimatorLabel,
  fisherBytes,
  sampleLosses,
  trainingBytes,
  uploadBatch,
} from '../algorithms/index.ts';
import { chunkUnder } from '../algorithms/memory.ts';
import type { Examples } from '../data/index.ts';
import { DryGpu } from '../engine/dry_gpu.ts';
import { Gpu, mean, Random, sgd, softmaxCrossEntropy, Tape, type Tensor } from '../engine/index.ts';
import {
  type Architecture,
  batchNormLayer,
  chain,
  conv2dLayer,
  convTranspose2dLayer,
  dropoutLayer,
  flattenLayer,
  linearLayer,
  Network,
  networks,
  reluLayer,
  resnet18,
} from '../models/index.ts';
import { failsWith } from './assertions.ts';
import { cifarExamples, cifarMissing } from './cifar.ts';

/** A minute and more on software adapters. */
const thorough = Boolean(process.env.FATHOM_THOROUGH);
const MIB = 2 ** 20;

const gpu = await Gpu.create();
after(() => gpu.dispose());

function tiny(classes: number): Architecture {
  const module = chain(
    ['conv', conv2dLayer({ in: 3, out: 8, kernel: 3, padding: 1 })],
    ['bn', batchNormLayer(8)],
    reluLayer(),
    dropoutLayer(0.5),
    ['conv2', conv2dLayer({ in: 8, out: 8, kernel: 3, stride: 2, groups: 2 })],
    flattenLayer(),
    ['fc', linearLayer(8 * 49, classes)],
  );
  return { name: 'tiny', input: [16, 16, 3], classes, module, head: ['fc.weight', 'fc.bias'] };
}

function autoencoder(): Architecture {
  const module = chain(
    ['down', conv2dLayer({ in: 3, out: 6, kernel: 3, stride: 2, padding: 1 })],
    reluLayer(),
    ['up', convTranspose2dLayer({ in: 6, out: 3, kernel: 4, stride: 2, padding: 1 })],
  );
  const shape = [8, 8, 3] as const;
  return { name: 'autoencoder', input: shape, classes: 0, target: shape, module, head: [] };
}

function examplesFor({ input, classes }: Architecture, count: number): Examples {
  const random = new Random(3);
  const [height, width, channels] = input;
  const pixels = random.normal(count * height * width * channels);
  const labels = random.bits(count).map((word) => word % Math.max(1, classes));
  const images = { name: 'noise', count, height, width, channels, pixels, labels, classes };
  return { images, index: Uint32Array.from({ length: count }, (_, i) => i), labels };
}

/** Bytes of a network's tensors. */
function weightBytes({ tensors }: Network): number {
  return [...tensors.values()].reduce((total, tensor) => total + tensor.pooled.bytes, 0);
}

/** Peak bytes of what runs, beside the weights. */
async function peakOf(network: Network, body: () => Promise<unknown>): Promise<number> {
  gpu.trim();
  await body();
  return gpu.peakBytes - weightBytes(network);
}

const CLASSIFIER: Estimator[] = [
  { name: 'empirical' },
  { name: 'exact' },
  { name: 'sampled', draws: 2, seed: 1 },
  { name: 'batch', size: 4 },
];
const cases: [Architecture, number, number, Estimator[]][] = [
  [tiny(5), 2, 2, CLASSIFIER],
  [tiny(5), 3, 11, CLASSIFIER],
  [tiny(300), 2, 3, [{ name: 'empirical' }, { name: 'sampled', draws: 1, seed: 1 }]],
  [
    autoencoder(),
    4,
    9,
    [{ name: 'empirical' }, { name: 'exact', outputs: [1, 2] }, CLASSIFIER[2]!, CLASSIFIER[3]!],
  ],
  [resnet18({ classes: 10, stem: 'cifar' }), 2, 3, [{ name: 'empirical' }]],
];
for (const [architecture, chunk, samples, estimators] of cases) {
  for (const estimator of estimators) {
    const label = `${architecture.name} (${samples} images in chunks of ${chunk}), ${estimatorLabel(estimator)}`;
    test(`a Fisher pass takes what was reckoned: ${label}`, async () => {
      using network = Network.initialise(gpu, architecture, new Random(1));
      const examples = examplesFor(architecture, samples);
      const peak = await peakOf(network, () => diagonalFisher(network, examples, { estimator, chunk }));
      assert.equal(peak, fisherBytes(gpu, architecture, chunk, samples, estimator));
    });
  }
}

for (const [architecture, batch] of [
  [tiny(5), 8],
  [autoencoder(), 5],
  [resnet18({ classes: 10, stem: 'cifar' }), 2],
] as const) {
  test(`a training step takes what was reckoned: ${architecture.name}, ${batch} images`, async () => {
    using network = Network.initialise(gpu, architecture, new Random(1));
    const examples = examplesFor(architecture, batch);
    const parameters = [...network.parameters.values()];
    const peakOfSteps = (steps: (step: () => void) => void) =>
      peakOf(network, async () => {
        using optimizer = sgd(gpu, parameters, { learningRate: 0.1 });
        gpu.scope(() => {
          const { images, targets } = uploadBatch(network, examples, examples.index);
          steps(() => {
            const tape = new Tape(gpu).watch(parameters);
            const outputs = network.forward(tape, images, { training: true, random: new Random(2) });
            optimizer.step(tape.gradients(mean(tape, sampleLosses(tape, outputs, targets)), parameters));
          });
        });
        await gpu.finish();
      });
    const expected = trainingBytes(gpu, architecture, batch);
    assert.equal(await peakOfSteps((step) => step()), expected);
    const replayed = await peakOfSteps((step) => {
      using capture = gpu.capture(step);
      capture.run();
    });
    assert.equal(replayed, expected, 'replayed');
  });
}

/** Images and MiB: the whole takes a minute and more, the part shows the same. */
const [IMAGES, BUDGET] = thorough ? [64, 128] : [3, 122];

test(`a Fisher pass of resnet18 over ${IMAGES} images under a budget of ${BUDGET} MiB gives the same bits as without`, {
  skip: cifarMissing,
}, async (t) => {
  const architecture = resnet18({ classes: 10, stem: 'cifar' });
  using network = Network.initialise(gpu, architecture, new Random(2));
  const examples = await cifarExamples(IMAGES);
  const free = await diagonalFisher(network, examples);
  let tight: typeof free | undefined;
  const peak = await peakOf(network, async () => {
    tight = await diagonalFisher(network, examples, { budget: BUDGET * MIB });
  });
  t.diagnostic(`peak beside the weights ${(peak / MIB).toFixed(1)} of ${BUDGET} MiB`);
  assert.ok(peak <= BUDGET * MIB, `${peak} bytes`);
  const chunk = chunkUnder(gpu, architecture, { name: 'empirical' }, IMAGES, BUDGET * MIB, 64);
  assert.ok(chunk < IMAGES, 'the budget must have cut the images');
  assert.deepEqual(tight, free);
});

test('a budget too small for one image says how much is needed, and that much is enough', async () => {
  const architecture = tiny(5);
  using network = Network.initialise(gpu, architecture, new Random(1));
  const examples = examplesFor(architecture, 5);
  const needed = fisherBytes(gpu, architecture, 1, 5);
  const attempt = (budget: number) => diagonalFisher(network, examples, { budget });
  await assert.rejects(
    attempt(needed - 1),
    failsWith('budget-too-small', new RegExp(`needs ${needed} bytes .* budget is ${needed - 1}`)),
  );
  assert.deepEqual(await attempt(needed), await diagonalFisher(network, examples));
});

for (const [name, batch] of [
  ['cnn', 16],
  ['cnn', 128],
  ['mlp', 16],
  ['mlp', 128],
  ['resnet18', 16],
  ['resnet18', 128],
] as const) {
  test(`a Fisher pass of ${name} takes at most 1.15 times what a gradient pass takes, ${batch} images`, () => {
    const peak = (pass: (tape: Tape, losses: Tensor<'f32'>, parameters: Tensor<'f32'>[]) => unknown) => {
      using dry = new DryGpu(gpu);
      const network = Network.allocate(dry, networks[name]({ classes: 10, stem: 'cifar' }));
      const parameters = [...network.parameters.values()];
      const images = dry.empty([batch, ...network.architecture.input], 'f32');
      const labels = dry.empty([batch], 'u32');
      dry.scope(() => {
        const tape = new Tape(dry).watch(parameters);
        return pass(tape, softmaxCrossEntropy(tape, network.forward(tape, images), labels), parameters);
      });
      return dry.peakBytes;
    };
    const gradient = peak((tape, losses, parameters) => tape.gradients(mean(tape, losses), parameters));
    const fisher = peak((tape, losses, parameters) => tape.squaredGradients(losses, parameters));
    assert.ok(fisher <= 1.15 * gradient, `${fisher} bytes against ${gradient}`);
  });
}

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
