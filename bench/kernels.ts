import { Bench } from 'tinybench';
import {
  accumulateWeightGradient,
  convolve,
  convolveTransposed,
  weightGradient,
} from '../engine/convolution.ts';
import {
  Gpu,
  mean,
  Random,
  SampleSum,
  type Shape,
  sizeOf,
  softmaxCrossEntropy,
  Tape,
} from '../engine/index.ts';
import { conv2dGeometry } from '../engine/ops/conv2d.ts';
import { cnn, Network } from '../models/index.ts';

/**
 * The convolution kernels on the two layers of `cnn` at batch 64, and whole passes over it: gradient and Fisher.
 * Each sample is one submit waited for, after warm-up has compiled the pipelines.
 */
const BATCH = 64;
const gpu = await Gpu.create();
const random = new Random(0);
const tensor = (shape: Shape) => gpu.tensor(random.normal(sizeOf(shape)), shape);

const bench = new Bench({ time: 1500, warmupTime: 500 });
const flops = new Map<string, number>();
function add(name: string, flop: number, body: () => void): void {
  flops.set(name, flop);
  bench.add(name, async () => {
    body();
    await gpu.finish();
  });
}

for (const [layer, input, weight] of [
  ['conv1', [BATCH, 28, 28, 1], [8, 1, 5, 5]],
  ['conv2', [BATCH, 14, 14, 8], [16, 8, 5, 5]],
] as const) {
  const g = conv2dGeometry(input, weight, { padding: 2 });
  const [x, w, y, dx] = [
    tensor(input),
    tensor(weight),
    tensor([...input.slice(0, 3), weight[0]]),
    tensor(input),
  ];
  const flop = 2 * (sizeOf(y.shape) / weight[0]) * sizeOf(weight);
  add(`${layer} forward`, flop, () => convolve(x, w, y, g));
  add(`${layer} input gradient`, flop, () => convolveTransposed(y, w, dx, g));
  add(`${layer} weight gradient`, flop, () => weightGradient(x, y, weight, g).dispose());
  const sum = new SampleSum(gpu, weight, 'square', () => 0);
  add(`${layer} Fisher`, flop, () => accumulateWeightGradient(x, y, sum, 'fisher', g));
}

const network = Network.initialise(gpu, cnn(), random);
const parameters = [...network.parameters.values()];
const images = tensor([BATCH, 28, 28, 1]);
const labels = gpu.tensor(
  random.bits(BATCH).map((bits) => bits % 10),
  [BATCH],
);
const pass = (kind: 'gradients' | 'squaredGradients') => () =>
  gpu.scope(() => {
    const tape = new Tape(gpu).watch(parameters);
    const losses = softmaxCrossEntropy(tape, network.forward(tape, images), labels);
    tape[kind](kind === 'gradients' ? mean(tape, losses) : losses, parameters);
  });
add('cnn gradient pass', 0, pass('gradients'));
add('cnn Fisher pass', 0, pass('squaredGradients'));

console.error(`${gpu.opened.label} on ${gpu.runtime.version}`);
await bench.run();
console.table(
  bench.tasks.map(({ name, result }) => {
    const latency = result && 'latency' in result ? result.latency : undefined;
    const flop = flops.get(name)!;
    return {
      kernel: name,
      'best ms': latency?.min.toFixed(2),
      'median ms': latency?.p50.toFixed(2),
      'GFLOP/s at best': flop > 0 && latency ? (flop / latency.min / 1e6).toFixed(2) : '',
    };
  }),
);
gpu.dispose();
