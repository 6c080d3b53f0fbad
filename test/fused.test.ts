import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  add,
  bias,
  biasRelu,
  conv2d,
  flatten,
  Gpu,
  linear,
  maxpool2d,
  Random,
  relu,
  reshape,
  softmaxCrossEntropy,
  Tape,
} from '../engine/index.ts';
import { type Array64, reference } from '../engine/reference.ts';
import { Replay } from '../engine/replay.ts';
import { assertClose } from './assertions.ts';
import { openFamilies } from './families.ts';
import { checkInMidGraph, checkPerSample, type F32, gaussian, TOLERANCE, upload } from './op_checks.ts';

const families = await openFamilies();

/** An op with what may come after it in the same pass. */
interface Fusible {
  x: number[];
  weights?: number[];
  channels: number;
  op(tape: Tape, x: F32, weights: F32, after?: { bias: F32; relu?: boolean }): F32;
}

const convolution = (
  x: number[],
  weights: number[],
  options: { stride?: number; padding?: number; groups?: number },
): Fusible => ({
  x,
  weights,
  channels: weights[0]!,
  op: (tape, a, w, after) => conv2d(tape, a, w, options, after),
});
const product = (x: number[], weights: number[]): Fusible => ({
  x,
  weights,
  channels: weights[0]!,
  op: (tape, a, w, after) => linear(tape, a, w, after),
});
const pool = (x: number[], options: { kernel: number; stride?: number; padding?: number }): Fusible => ({
  x,
  channels: x.at(-1)!,
  op: (tape, a, _, after) => maxpool2d(tape, a, options, after),
});

const fusible: Record<string, Fusible> = {
  'conv2d, taps of a line together': convolution([3, 7, 14, 8], [16, 8, 5, 5], { padding: 2 }),
  'conv2d, ragged columns': convolution([2, 5, 6, 3], [10, 3, 3, 3], { padding: 1 }),
  'conv2d with a stride': convolution([2, 9, 8, 4], [8, 4, 3, 3], { stride: 2, padding: 1 }),
  'grouped conv2d': convolution([2, 6, 5, 8], [8, 1, 3, 3], { padding: 1, groups: 8 }),
  linear: product([33, 20], [12, 20]),
  'linear, its sums in parts': product([5, 512], [10, 512]),
  'linear over images': product([5, 4, 3, 8], [10, 96]),
  'maxpool2d of fours of channels': pool([3, 6, 8, 8], { kernel: 2 }),
  'maxpool2d of three channels': pool([2, 5, 7, 3], { kernel: 3, stride: 2, padding: 1 }),
};

/** Output and gradients by all inputs, with the squared ones by weights and bias. */
async function results(
  gpu: Gpu,
  { x, weights = [1], op, channels }: Fusible,
  rectify: boolean,
  fused: boolean,
) {
  const random = new Random(3);
  const values = [x, weights, [channels]].map((shape) => gaussian(random, shape));
  const reads = gpu.scope(() => {
    const [a, w, b] = values.map((value) => upload(gpu, value)) as [F32, F32, F32];
    const tape = new Tape(gpu).watch([a, w, b]);
    const apart = rectify ? biasRelu : bias;
    const y = fused ? op(tape, a, w, { bias: b, relu: rectify }) : apart(tape, op(tape, a, w), b);
    assert.deepEqual(
      tape.operations.map(({ output }) => output.shape),
      [y.shape, y.shape],
    );
    return [y, ...tape.gradients(y, [a, w, b]), ...tape.squaredGradients(y, [w, b])].map((t) => t.read());
  });
  assert.equal(gpu.liveTensors, 0);
  return Promise.all(reads);
}

for (const [family, gpu] of Object.entries(families)) {
  describe(`${family} kernels`, () => {
    for (const [name, each] of Object.entries(fusible)) {
      test(`a bias and a rectifier in the same pass change no bit: ${name}`, async () => {
        for (const rectify of [false, true]) {
          assert.deepEqual(await results(gpu, each, rectify, true), await results(gpu, each, rectify, false));
        }
      });
    }

    for (const [samples, height, width, channels, out] of [
      [5, 3, 4, 8, 10],
      [3, 5, 2, 3, 17],
      [2, 16, 4, 8, 6],
      [40, 1, 7, 4, 36],
    ] as const) {
      test(`linear over images of ${height} x ${width} x ${channels}`, async () => {
        const random = new Random(channels);
        const inputs = [
          gaussian(random, [samples, height, width, channels]),
          gaussian(random, [out, height * width * channels]),
        ];
        const apply = (tape: Tape, x?: F32, w?: F32) => linear(tape, x!, w!);
        const flat = reference.flatten();
        const both = [inputs[0]!, flat.forward(inputs[0]!)].map((x) =>
          reference.linear().forward(x, inputs[1]!),
        );
        assert.deepEqual(both[0], both[1]);
        await checkInMidGraph(gpu, { expected: reference.linear(), apply, inputs }, random);
        await checkPerSample(gpu, { expected: reference.linear(), apply, inputs }, random);
      });
    }

    test('gradients that layers mask, alone and beside others, are those of the reference', () =>
      maskedGradients(gpu));
  });
}

test('fused ops have the same bits where tensors exceed a binding and run in pieces', async () => {
  using small = await Gpu.create({ family: 'register', maxBindingBytes: 6144 });
  const cases = [
    convolution([12, 4, 4, 16], [8, 16, 3, 3], { padding: 1 }),
    product([24, 4, 2, 8], [8, 64]),
    pool([12, 4, 4, 16], { kernel: 2 }),
  ];
  for (const each of cases) {
    const [whole, pieces] = [
      await results(families.register, each, true, true),
      await results(small, each, true, true),
    ];
    // Output, gradient by the input, and the squared ones.
    for (const i of [0, 1, 4, 5]) assert.deepEqual(pieces[i], whole[i], `${i}`);
  }
});

/** Rectifiers before layers that mask their input gradients, before others, and before both. */
async function maskedGradients(gpu: Gpu): Promise<void> {
  const random = new Random(9);
  const shapes = [
    [8, 1, 5, 5],
    [8],
    [8, 8, 3, 3],
    [8],
    [12, 8, 3, 3],
    [12],
    [20, 192],
    [20],
    [4, 20],
    [9, 4],
  ];
  const values = shapes.map((shape) => gaussian(random, shape));
  const small = (x: Array64) => ({ ...x, data: x.data.map((value) => value / 4) });
  const image = gaussian(random, [6, 7, 8, 1]);
  const labels = Uint32Array.of(0, 3, 8, 1, 1, 5);
  const { replayed, parameters, output, reads } = gpu.scope(() => {
    const parameters = values.map((value) => upload(gpu, small(value)));
    const [w1, b1, w2, b2, w3, b3, w4, b4, w5, w6] = parameters as [
      F32,
      F32,
      F32,
      F32,
      F32,
      F32,
      F32,
      F32,
      F32,
      F32,
    ];
    const tape = new Tape(gpu).watch(parameters);
    const a = conv2d(tape, upload(gpu, image), w1, { padding: 2 }, { bias: b1, relu: true });
    const sum = relu(tape, add(tape, conv2d(tape, a, w2, { padding: 1 }, { bias: b2 }), a));
    const strided = conv2d(tape, sum, w3, { stride: 2, padding: 1 }, { bias: b3, relu: true });
    const rows = linear(tape, strided, w4, { bias: b4, relu: true });
    const image1x1 = reshape(tape, rows, [6, 1, 1, 20]);
    const twice = add(tape, linear(tape, rows, w5), linear(tape, flatten(tape, image1x1), w5));
    const logits = linear(tape, relu(tape, twice), w6);
    const output = softmaxCrossEntropy(tape, logits, gpu.tensor(labels, [6]));
    const once = parameters.filter((parameter) => parameter !== w5);
    const sums = [tape.perSampleGradients(output, once), tape.squaredGradients(output, once)];
    const reads = [tape.gradients(output, parameters), ...sums].map((all) => all.map((t) => t.read()));
    return { replayed: Replay.run(tape), parameters, output, reads };
  });
  const exact = (await replayed).gradients(output, parameters);
  const [gradients, explicit, squares] = await Promise.all(reads.map((all) => Promise.all(all)));
  for (const [i, { data }] of exact.entries()) {
    assertClose(gradients![i]!, data, TOLERANCE, `parameter ${i}`);
  }
  for (const [i, fused] of squares!.entries()) {
    const total = new Float64Array(fused.length);
    for (const [at, value] of explicit![i]!.entries()) total[at % total.length]! += value ** 2;
    assertClose(fused, total, TOLERANCE, `squares ${i}`);
  }
  for (const tensor of [...parameters, output]) tensor.dispose();
}
