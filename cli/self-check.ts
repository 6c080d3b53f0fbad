import { diagonalFisher } from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import { type Gpu, mean, Random, softmaxCrossEntropy, Tape } from '../engine/index.ts';
import { type Array64, array64, reference } from '../engine/reference.ts';
import {
  type Architecture,
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  Network,
  reluLayer,
  type StateDict,
} from '../models/index.ts';

export interface Check {
  name: string;
  /** Largest difference, as a share of the largest entry of the parameter concerned. */
  error: number;
  tolerance: number;
  ok: boolean;
}

/** So many, and layers so wide, that the kernels accumulate several samples in one invocation. */
const SAMPLES = 64;
const SIZE = 8;
const CHANNELS = 2;
const CLASSES = 5;
const WIDTH = 16;

const architecture: Architecture = {
  name: 'self-check',
  input: [SIZE, SIZE, CHANNELS],
  classes: CLASSES,
  module: chain(
    ['conv1', conv2dLayer({ in: CHANNELS, out: WIDTH, kernel: 3, padding: 1 })],
    reluLayer(),
    ['conv2', conv2dLayer({ in: WIDTH, out: WIDTH, kernel: 5, stride: 2, padding: 2 })],
    reluLayer(),
    flattenLayer(),
    ['fc', linearLayer(WIDTH * (SIZE / 2) ** 2, CLASSES)],
  ),
  head: [],
};

/** Checks an adapter on a small network: its gradient against float64 on the CPU, its Fisher against itself. */
export async function selfCheck(gpu: Gpu): Promise<Check[]> {
  const random = new Random(0);
  using network = Network.initialise(gpu, architecture, random);
  const examples = madeUpExamples(random);
  return [
    check(
      'gradient against float64',
      1e-5,
      await gradient(network, examples),
      await gradientOnCpu(network, examples),
    ),
    check(
      'squared per-sample gradients at once against one by one',
      2e-6,
      (await diagonalFisher(network, examples, { chunk: SAMPLES })).entries,
      (await diagonalFisher(network, examples, { chunk: 1 })).entries,
    ),
  ];
}

type Values = ReadonlyMap<string, { data: Float32Array | Float64Array }>;

function check(name: string, tolerance: number, actual: Values, expected: Values): Check {
  let error = 0;
  for (const [parameter, { data }] of expected) {
    const found = actual.get(parameter)!.data;
    let largest = 0;
    for (const value of data) largest = Math.max(largest, Math.abs(value));
    // Math.max keeps NaN, which then fails.
    for (const [i, value] of data.entries()) error = Math.max(error, Math.abs(value - found[i]!) / largest);
  }
  return { name, error, tolerance, ok: error <= tolerance };
}

function madeUpExamples(random: Random): Examples {
  const labels = Uint32Array.from({ length: SAMPLES }, (_, i) => i % CLASSES);
  const pixels = random
    .fork('images')
    .uniform(SAMPLES * SIZE * SIZE * CHANNELS)
    .map((u) => 2 * u - 1);
  return {
    images: {
      name: 'self-check',
      count: SAMPLES,
      height: SIZE,
      width: SIZE,
      channels: CHANNELS,
      pixels,
      labels,
      classes: CLASSES,
    },
    index: Uint32Array.from({ length: SAMPLES }, (_, i) => i),
    labels,
  };
}

/** Of the mean loss. */
async function gradient(network: Network, { images, labels }: Examples): Promise<StateDict> {
  const { gpu } = network;
  const parameters = [...network.parameters.values()];
  const gradients = gpu.scope(() => {
    const tape = new Tape(gpu).watch(parameters);
    const input = gpu.tensor(images.pixels as Float32Array, [SAMPLES, ...architecture.input]);
    const losses = softmaxCrossEntropy(tape, network.forward(tape, input), gpu.tensor(labels, [SAMPLES]));
    return tape.gradients(mean(tape, losses), parameters);
  });
  const values = await Promise.all(gradients.map((tensor) => tensor.read()));
  for (const tensor of gradients) tensor.dispose();
  return new Map([...network.parameters].map(([name, { shape }], i) => [name, { shape, data: values[i]! }]));
}

/** The same in float64 by plain loops. */
async function gradientOnCpu(network: Network, { images, labels }: Examples): Promise<Map<string, Array64>> {
  const state = await network.state();
  const parameter = (name: string) => {
    const { shape, data } = state.get(name)!;
    return array64(shape, data);
  };
  const layers = [
    { op: reference.conv2d({ padding: 1 }), parameter: 'conv1.weight' },
    { op: reference.bias(), parameter: 'conv1.bias' },
    { op: reference.relu() },
    { op: reference.conv2d({ stride: 2, padding: 2 }), parameter: 'conv2.weight' },
    { op: reference.bias(), parameter: 'conv2.bias' },
    { op: reference.relu() },
    { op: reference.flatten() },
    { op: reference.linear(), parameter: 'fc.weight' },
    { op: reference.bias(), parameter: 'fc.bias' },
    { op: reference.softmaxCrossEntropy(labels) },
    { op: reference.mean() },
  ];
  let value = array64([SAMPLES, ...architecture.input], images.pixels as Float32Array);
  const steps = layers.map(({ op, parameter: name }) => {
    const inputs = name ? [value, parameter(name)] : [value];
    value = op.forward(...inputs);
    return { op, name, inputs };
  });
  const gradients = new Map<string, Array64>();
  let upstream = array64([1], [1]);
  for (const { op, name, inputs } of steps.toReversed()) {
    const [byValue, byParameter] = op.gradient(inputs, upstream);
    if (name) gradients.set(name, byParameter!);
    upstream = byValue!;
  }
  return gradients;
}
