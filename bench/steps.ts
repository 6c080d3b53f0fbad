import {
  type Batch,
  diagonalFisher,
  fisherDistance,
  sampleLosses,
  trainingStep,
} from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import {
  adam,
  CapturedLoop,
  type Gpu,
  mean,
  Random,
  SampleSums,
  sgd,
  sizeOf,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import { type Architecture, cnn, mlp, Network, resnet18 } from '../models/index.ts';
import type { Case } from './measure.ts';

const BATCH = 64;
const RESNET_BATCH = 8;
const BATCHES = [16, 32, 64, 128, 256, 512];
const IMAGES = [64, 128, 256, 512];
const PAIRS = [1, 2, 4, 8];
const PAIR_IMAGES = 64;

/** Whole steps of the small networks: training, a plain gradient pass and a Fisher pass. */
export function stepCases(): Case[] {
  return [...networkCases(cnn(), BATCH), ...networkCases(mlp(), BATCH)];
}

/** The same of a large network. */
export function resnetCases(): Case[] {
  return networkCases(resnet18({ classes: 10, stem: 'cifar' }), RESNET_BATCH);
}

/** The cnn's gradient and Fisher pass by batch size: the time an image takes should not depend on it. */
export function batchCases(): Case[] {
  return BATCHES.flatMap((batch) =>
    networkCases(cnn(), batch).filter(({ name }) => !name.endsWith('training step')),
  );
}

/** The cnn's Fisher over so many images, and the distances of so many pairs of tasks: linear in either. */
export function growthCases(): Case[] {
  const fisherOf = (gpu: Gpu, images: number) => {
    const network = Network.initialise(gpu, cnn(), new Random(0));
    return () => diagonalFisher(network, randomExamples(images));
  };
  return [
    ...IMAGES.map(
      (images): Case => ({
        name: `cnn, Fisher of ${images} images`,
        images,
        prepare(gpu) {
          const fisher = fisherOf(gpu, images);
          return async () => void (await fisher());
        },
      }),
    ),
    ...PAIRS.map(
      (pairs): Case => ({
        name: `cnn, distances of ${pairs} pairs, ${PAIR_IMAGES} images each`,
        images: pairs,
        prepare(gpu) {
          const fisher = fisherOf(gpu, PAIR_IMAGES);
          return async () => {
            for (let i = 0; i < pairs; i++) fisherDistance(await fisher(), await fisher());
          };
        },
      }),
    ),
  ];
}

function randomExamples(count: number): Examples {
  const { input, classes } = cnn();
  const [height, width, channels] = input;
  const labels = new Random(2).bits(count).map((bits) => bits % classes);
  const pixels = new Random(1).uniform(count * sizeOf(input));
  const images = { name: 'noise', count, height, width, channels, pixels, labels, classes };
  return { images, index: Uint32Array.from({ length: count }, (_, i) => i), labels };
}

function networkCases(architecture: Architecture, batch: number): Case[] {
  const common = { images: batch, step: true };
  const name = (what: string) => `${architecture.name}, batch ${batch}, ${what}`;
  return [
    {
      ...common,
      name: name('training step'),
      prepare(gpu) {
        const { network, examples, parameters } = setUp(gpu, architecture, batch);
        const optimizer =
          architecture.name === 'resnet18'
            ? sgd(gpu, parameters, { learningRate: 1e-3 })
            : adam(gpu, parameters);
        const random = new Random(0);
        return captured(gpu, () => trainingStep(network, optimizer, examples, random));
      },
    },
    {
      ...common,
      name: name('gradient pass'),
      prepare(gpu) {
        const { parameters, losses } = setUp(gpu, architecture, batch);
        return captured(gpu, () => {
          const tape = new Tape(gpu).watch(parameters);
          return tape.gradients(mean(tape, losses(tape)), parameters);
        });
      },
    },
    {
      ...common,
      name: name('Fisher pass'),
      prepare(gpu) {
        const { parameters, losses } = setUp(gpu, architecture, batch);
        const sums = new SampleSums(gpu, parameters, 'square');
        const pass = () => {
          const tape = new Tape(gpu).watch(parameters);
          tape.accumulate(losses(tape), sums);
        };
        return captured(gpu, pass, parameters);
      },
    },
  ];
}

/** Runs a body as training and Fisher passes do: captured the first time, replayed from then on. */
function captured(gpu: Gpu, body: () => unknown, constants: Iterable<Tensor> = []): () => void {
  const loop = new CapturedLoop<string, unknown>(gpu, constants);
  return () => void loop.run('step', body);
}

function setUp(gpu: Gpu, architecture: Architecture, batch: number) {
  const network = Network.initialise(gpu, architecture, new Random(0));
  const { input, classes } = architecture;
  const examples: Batch = {
    images: gpu.tensor(new Random(1).uniform(batch * sizeOf(input)), [batch, ...input]),
    targets: gpu.tensor(
      new Random(2).bits(batch).map((bits) => bits % classes),
      [batch],
    ),
  };
  const parameters = [...network.parameters.values()];
  const losses = (tape: Tape) => sampleLosses(tape, network.forward(tape, examples.images), examples.targets);
  return { network, examples, parameters, losses };
}
