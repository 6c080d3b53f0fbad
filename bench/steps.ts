import { type Batch, sampleLosses, trainingStep } from '../algorithms/index.ts';
import { adam, type Gpu, mean, Random, SampleSums, sgd, sizeOf, Tape } from '../engine/index.ts';
import { type Architecture, cnn, mlp, Network, resnet18 } from '../models/index.ts';
import type { Case } from './measure.ts';

const BATCH = 64;
const RESNET_BATCH = 8;
/** Batches over which the time an image takes in a Fisher pass should stay the same. */
const SCALING = [16, 32, 64, 128, 256, 512];

/** Whole steps: training, a plain gradient pass and a Fisher pass of each network; the Fisher by batch size. */
export function stepCases(): Case[] {
  return [
    ...networkCases(cnn(), BATCH),
    ...networkCases(mlp(), BATCH),
    ...networkCases(resnet18({ classes: 10, stem: 'cifar' }), RESNET_BATCH),
  ];
}

/** Fisher passes of the cnn at several batch sizes, with the gradient pass beside them. */
export function scalingCases(): Case[] {
  return SCALING.flatMap((batch) =>
    networkCases(cnn(), batch).filter(({ name }) => !name.includes('training')),
  );
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
        return () => trainingStep(network, optimizer, examples, new Random(0)).dispose();
      },
    },
    {
      ...common,
      name: name('gradient pass'),
      prepare(gpu) {
        const { parameters, losses } = setUp(gpu, architecture, batch);
        return () =>
          gpu.scope(() => {
            const tape = new Tape(gpu).watch(parameters);
            tape.gradients(mean(tape, losses(tape)), parameters);
          });
      },
    },
    {
      ...common,
      name: name('Fisher pass'),
      prepare(gpu) {
        const { parameters, losses } = setUp(gpu, architecture, batch);
        const sums = new SampleSums(gpu, parameters, 'square');
        return () =>
          gpu.scope(() => {
            const tape = new Tape(gpu).watch(parameters);
            tape.accumulate(losses(tape), sums);
          });
      },
    },
  ];
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
