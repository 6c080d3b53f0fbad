import assert from 'node:assert/strict';
import process from 'node:process';
import { after, test } from 'node:test';
import { type Batch, sampleLosses, trainingStep, uploadBatch } from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import { adam, Gpu, mean, Random, Replay, sgd, Tape } from '../engine/index.ts';
import type { Array64 } from '../engine/reference.ts';
import { type Architecture, Network, type NetworkName, networks } from '../models/index.ts';
import { assertClose } from './assertions.ts';
import { cifarExamples, cifarMissing } from './cifar.ts';

/** Minutes of float64 on the CPU: by default only the small networks are taken. */
const thorough = Boolean(process.env.FATHOM_THOROUGH);
const SMALL: readonly NetworkName[] = ['cnn', 'mlp', 'taskonomy_fc', 'taskonomy_conv', 'mobilenet_v2'];
const BATCH = 8;
const RATE = 0.1;
const MOMENTUM = 0.1;
/** Of a gradient's length: float32 through up to 121 layers with statistics of 128 values and more. */
const TOLERANCE = 1e-4;

const gpu = await Gpu.create();
after(() => gpu.dispose());

for (const name of Object.keys(networks) as NetworkName[]) {
  const skip =
    cifarMissing || (thorough || SMALL.includes(name) ? false : 'takes minutes; set FATHOM_THOROUGH=1');

  test(`${name}: a training step on CIFAR-10 images equals float64, and ten lower the loss`, {
    skip,
  }, async (t) => {
    const architecture = networks[name]({ classes: 10, stem: 'cifar' });
    const examples = fitted(await cifarExamples(BATCH), architecture);
    using network = Network.initialise(gpu, architecture, new Random(5));
    const worst = await compareStep(network, examples);
    t.diagnostic(`${name}: largest deviation ${worst}`);
    await lowerLoss(network, examples);
  });
}

/** One step of SGD on the adapter and in float64: loss, gradients, weights and running statistics. */
async function compareStep(network: Network, examples: Examples): Promise<string> {
  const parameters = [...network.parameters.values()];
  const before = await network.state();
  const tape = new Tape(gpu).watch(parameters);
  using optimizer = sgd(gpu, parameters, { learningRate: RATE });
  const run = gpu.scope(() => {
    const { images, targets } = batchOf(network, examples);
    const outputs = network.forward(tape, images, { training: true, random: new Random(9) });
    const loss = mean(tape, sampleLosses(tape, outputs, targets));
    // What it reads is read in this turn, before the step below writes to the weights.
    const replay = Replay.run(tape, tape);
    const gradients = tape.gradients(loss, parameters);
    optimizer.step(gradients);
    return { loss, replay, reads: gradients.map((gradient) => gradient.read()) };
  });
  const replay = await run.replay;
  const [[loss], gradients] = await Promise.all([run.loss.read(), Promise.all(run.reads)]);
  const exactLoss = replay.value(run.loss).data[0]!;
  assert.ok(Math.abs(loss! / exactLoss - 1) < 1e-5, `loss ${loss}, not ${exactLoss}`);
  run.loss.dispose();
  const after = await network.state();
  const exact = replay.gradients(run.loss, parameters);
  const overall = Math.max(...exact.map(({ data }) => length(data)));
  let worst = { name: '', error: -1 };
  for (const [i, name] of [...network.parameters.keys()].entries()) {
    const difference = exact[i]!.data.map((value, at) => value - gradients[i]![at]!);
    // A scale before batch normalisation changes little (by its epsilon) and a shift nothing: what is left of terms
    // that cancel is measured against a thousandth of the longest gradient, or against it whole.
    const own = length(exact[i]!.data);
    const error = length(difference) / (own > 1e-10 * overall ? Math.max(own, 1e-3 * overall) : overall);
    if (!(error <= worst.error)) worst = { name, error };
    const [old, now] = [before.get(name)!.data, after.get(name)!.data];
    const stepped = gradients[i]!.map((gradient, at) => old[at]! - RATE * gradient);
    assertClose(now, stepped, 1e-6, `${name} after the step`);
  }
  assert.ok(worst.error < TOLERANCE, `${worst.name} is off by ${worst.error} of its length`);
  checkStatistics(tape, replay, network, before, after);
  return `${worst.error.toExponential(1)} (${worst.name})`;
}

function length(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

/** Running statistics against the batch's own, in float64. */
function checkStatistics(
  tape: Tape,
  replay: Replay,
  network: Network,
  before: Awaited<ReturnType<Network['state']>>,
  after: Awaited<ReturnType<Network['state']>>,
): void {
  const norms = tape.operations.filter(({ op }) => op === 'batchNormTraining');
  const names = [...network.tensors.keys()].filter((name) => name.endsWith('running_mean'));
  assert.equal(norms.length, names.length);
  for (const [i, { inputs }] of norms.entries()) {
    const weight = [...network.parameters].find(([, tensor]) => tensor === inputs[1])![0];
    const { mean, variance } = statistics(replay.value(inputs[0]!));
    const deviation = variance.map(Math.sqrt);
    for (const [kind, exact, scale] of [
      ['running_mean', mean, deviation],
      ['running_var', variance, variance],
    ] as const) {
      const name = weight.replace(/weight$/, kind);
      for (const [c, value] of exact.entries()) {
        const expected = (1 - MOMENTUM) * before.get(name)!.data[c]! + MOMENTUM * value;
        const error =
          Math.abs(after.get(name)!.data[c]! - expected) / Math.max(Math.abs(expected), scale[c]!);
        assert.ok(error < 1e-5, `${name}[${c}] of norm ${i} is off by ${error}`);
      }
    }
  }
}

/** Mean and unbiased variance of each channel. */
function statistics({ shape, data }: Array64): { mean: Float64Array; variance: Float64Array } {
  const channels = shape.at(-1)!;
  const count = data.length / channels;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (const [i, value] of data.entries()) mean[i % channels]! += value / count;
  for (const [i, value] of data.entries())
    variance[i % channels]! += (value - mean[i % channels]!) ** 2 / (count - 1);
  return { mean, variance };
}

async function lowerLoss(network: Network, examples: Examples): Promise<void> {
  using optimizer = adam(gpu, [...network.parameters.values()]);
  const losses: number[] = [];
  for (let step = 0; step <= 10; step++) {
    using loss = gpu.scope(() =>
      trainingStep(network, optimizer, batchOf(network, examples), new Random(step)),
    );
    losses.push((await loss.read())[0]!);
  }
  assert.ok(losses[10]! < losses[0]!, `losses ${losses}`);
}

function batchOf(network: Network, examples: Examples): Batch {
  return uploadBatch(network, examples, examples.index);
}

/** The images as a network takes them: the middle in grey for 28x28, values in [0, 1] where they are targets too. */
function fitted(examples: Examples, { input, target }: Architecture): Examples {
  const { images } = examples;
  const { count } = images;
  const [height, width, channels] = input;
  const offset = (32 - height) / 2;
  const pixels = new Float32Array(count * height * width * channels);
  for (let i = 0; i < pixels.length; i++) {
    const [n, y, x] = [
      Math.floor(i / (height * width * channels)),
      Math.floor(i / (width * channels)) % height,
      Math.floor(i / channels) % width,
    ];
    const at = ((n * 32 + y + offset) * 32 + x + offset) * 3;
    const rgb = (images.pixels as Float32Array).subarray(at, at + 3);
    const value = channels === 1 ? (rgb[0]! + rgb[1]! + rgb[2]!) / 3 : rgb[i % 3]!;
    pixels[i] = target ? Math.min(1, Math.max(0, value / 4 + 0.5)) : value;
  }
  return { ...examples, images: { ...images, height, width, channels, pixels } };
}
