import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { diagonalFisher, fisherDistance, trace } from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import { Gpu, mean, softmaxCrossEntropy, Tape } from '../engine/index.ts';
import { type Architecture, cnn, densenet121, Network, resnet18, vgg16Bn } from '../models/index.ts';
import { type Golden, goldenInputs, goldenWeights, readGolden } from './golden.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const cifar = { classes: 10, stem: 'cifar' } as const;
const architectures: Record<string, Architecture> = {
  cnn: cnn(),
  vgg16: vgg16Bn(cifar),
  resnet18: resnet18(cifar),
  densenet121: densenet121(cifar),
};

for (const [name, architecture] of Object.entries(architectures)) {
  const golden = readGolden(name);
  const skip = golden ? false : 'the reference values are not beside this checkout';

  test(`${name} has the names, order and shapes of PyTorch`, { skip }, () => {
    const specs = architecture.module.tensors.map((spec) => [spec.name, [...spec.shape]]);
    assert.deepEqual(specs, golden!.state_dict);
  });

  test(`${name} agrees with PyTorch in float64: logits, losses, gradients, Fisher, distance`, {
    skip,
  }, async (t) => {
    const examples = goldenExamples(golden!, architecture);
    using network = Network.fromState(gpu, architecture, goldenWeights(golden!, golden!.salt), name);
    const worst = new Worst();
    await checkGradients(network, examples, golden!, worst);
    const own = await diagonalFisher(network, examples);
    for (const [parameter, exact] of Object.entries(golden!.parameters)) {
      const { data } = own.entries.get(parameter)!;
      worst.note('fisher_sum', parameter, relative(sum(data), exact.fisher_sum), 1e-3);
      const sampled = exact.fisher.index.map((at, i) => Math.abs(data[at]! - exact.fisher.value[i]!));
      worst.note('Fisher entry, of the largest', parameter, Math.max(...sampled) / maximum(data), 1e-3);
    }
    worst.note('trace', 'all', relative(trace(own), golden!.trace), 1e-3);
    network.load(goldenWeights(golden!, golden!.salt + 1));
    const distance = fisherDistance(await diagonalFisher(network, examples), own);
    worst.note('distance', 'all', Math.abs(distance - golden!.distance_from_salt_plus_1), 1e-4);
    for (const line of worst.lines()) t.diagnostic(`${name}: ${line}`);
    assert.deepEqual(worst.failures, []);
  });
}

async function checkGradients(
  network: Network,
  examples: Examples,
  golden: Golden,
  worst: Worst,
): Promise<void> {
  const parameters = [...network.parameters.values()];
  const reads = gpu.scope(() => {
    const { height, width, channels, count } = examples.images;
    const tape = new Tape(gpu).watch(parameters);
    const images = gpu.tensor(examples.images.pixels as Float32Array, [count, height, width, channels]);
    const logits = network.forward(tape, images);
    const losses = softmaxCrossEntropy(tape, logits, gpu.tensor(examples.labels, [count]));
    return [logits, losses, ...tape.gradients(mean(tape, losses), parameters)].map((tensor) => tensor.read());
  });
  const [logits, losses, ...gradients] = await Promise.all(reads);
  const exact = golden.logits.flat();
  const largest = maximum(exact.map(Math.abs));
  for (const [i, z] of exact.entries())
    worst.note('logit, of the largest', 'all', Math.abs(logits![i]! - z) / largest, 1e-3);
  for (const [n, loss] of golden.loss.entries())
    worst.note('loss', 'all', Math.abs(losses![n]! - loss), 1e-4);
  for (const [i, name] of [...network.parameters.keys()].entries()) {
    const length = Math.sqrt(sum(gradients[i]!.map((g) => g * g)));
    worst.note('grad_l2', name, relative(length, golden.parameters[name]!.grad_l2), 1e-3);
  }
}

function goldenExamples(golden: Golden, { input }: Architecture): Examples {
  const [height, width, channels] = input;
  const { images, labels } = goldenInputs(golden, [channels, height, width]);
  const size = height * width;
  const pixels = images.map((_, i) => {
    const [image, at] = [Math.floor(i / (size * channels)), i % (size * channels)];
    return images[(image * channels + (at % channels)) * size + Math.floor(at / channels)]!;
  });
  const index = Uint32Array.from(labels, (_, i) => i);
  const set = { name: golden_name, count: labels.length, height, width, channels, pixels, classes: 10 };
  return { images: { ...set, labels: Uint32Array.from(labels) }, index, labels: Uint32Array.from(labels) };
}

const golden_name = 'reference inputs';

/** The largest error of each kind, and those that are too large. */
class Worst {
  private readonly largest = new Map<string, { parameter: string; error: number }>();
  readonly failures: string[] = [];

  note(kind: string, parameter: string, error: number, tolerance: number): void {
    if (!(error <= tolerance)) this.failures.push(`${kind} of ${parameter}: ${error}`);
    const before = this.largest.get(kind);
    if (!before || error > before.error) this.largest.set(kind, { parameter, error });
  }

  lines(): string[] {
    return [...this.largest].map(
      ([kind, { parameter, error }]) => `${kind} ${error.toExponential(1)} (${parameter})`,
    );
  }
}

function relative(actual: number, expected: number): number {
  return Math.abs(actual / expected - 1);
}

function maximum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0);
}
