import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  add,
  bias,
  biasRelu,
  conv2d,
  countNonFinite,
  flatten,
  type Gpu,
  linear,
  maxpool2d,
  mean,
  multiply,
  Random,
  relu,
  type Shape,
  scale,
  sizeOf,
  softmaxCrossEntropy,
  sum,
  Tape,
  unflatten,
} from '../engine/index.ts';
import { array64, type ReferenceOp, reference } from '../engine/reference.ts';
import { assertClose } from './assertions.ts';
import { openFamilies } from './families.ts';
import {
  type Case,
  checkInMidGraph,
  checkPerSample,
  type F32,
  gaussian,
  type Layer,
  NETWORK_INPUT,
  referenceGradients,
  sample,
  smallNetwork,
  TOLERANCE,
  upload,
} from './op_checks.ts';
import { property } from './property.ts';

const families = await openFamilies();

interface ConvCase {
  samples: number;
  height: number;
  width: number;
  inChannels: number;
  outChannels: number;
  kernel: readonly [number, number];
  stride: number;
  padding: readonly [number, number];
  seed: number;
}

const kernelExtent = fc.constantFrom(1, 3, 5);
const small = fc.integer({ min: 0, max: 3 });
const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const channels = fc.constantFrom(1, 2, 3, 4, 5, 8, 12);
const outChannels = fc.constantFrom(1, 3, 4, 6, 8, 10, 16, 20, 36);

const convCases: fc.Arbitrary<ConvCase> = fc
  .record({
    samples: fc.integer({ min: 1, max: 5 }),
    height: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 9 }),
    inChannels: channels,
    outChannels,
    kernel: fc.tuple(kernelExtent, kernelExtent),
    stride: fc.integer({ min: 1, max: 3 }),
    padding: fc.tuple(small, small),
    seed: seeds,
  })
  .filter(
    ({ height, width, kernel, padding }) =>
      height + 2 * padding[0] >= kernel[0] && width + 2 * padding[1] >= kernel[1],
  );

/** Cases that random ones may miss: every width of tile, one channel, a kernel larger than the image. */
const convExamples: ConvCase[] = (
  [
    [2, 7, 9, 1, 8, [5, 5], 1, [2, 2]],
    [3, 9, 6, 8, 16, [5, 5], 1, [2, 2]],
    [1, 2, 3, 3, 5, [5, 5], 1, [2, 2]],
    [4, 8, 5, 3, 36, [3, 3], 2, [1, 1]],
    [2, 9, 9, 20, 3, [3, 1], 2, [1, 0]],
    [5, 4, 7, 36, 40, [1, 1], 1, [0, 0]],
    [2, 6, 5, 12, 20, [1, 1], 3, [2, 1]],
    [1, 1, 1, 4, 4, [3, 3], 1, [1, 1]],
    [2, 9, 8, 5, 66, [3, 5], 1, [0, 2]],
    // Direct convolution: three and five taps, single channels and fours, one to four columns, ragged lines.
    [2, 5, 16, 8, 20, [3, 3], 1, [1, 1]],
    [3, 4, 15, 4, 8, [3, 3], 1, [1, 1]],
    [2, 3, 8, 12, 4, [3, 3], 1, [1, 1]],
    [2, 5, 14, 16, 20, [5, 5], 1, [2, 2]],
    [2, 6, 16, 4, 4, [5, 5], 1, [2, 2]],
    [2, 5, 16, 3, 20, [3, 3], 1, [1, 1]],
    [3, 6, 28, 1, 8, [5, 5], 1, [2, 2]],
    [2, 5, 8, 1, 4, [3, 3], 1, [0, 1]],
  ] as const
).map(([samples, height, width, inChannels, out, kernel, stride, padding], seed) => ({
  samples,
  height,
  width,
  inChannels,
  outChannels: out,
  kernel,
  stride,
  padding,
  seed,
}));

/** Enough samples and weights that software adapters sum several samples in one chunk. */
const manySamples: ConvCase = {
  samples: 50,
  height: 4,
  width: 3,
  inChannels: 12,
  outChannels: 36,
  kernel: [5, 5],
  stride: 1,
  padding: [2, 2],
  seed: 20,
};

function convCase(shape: ConvCase, random: Random): Case {
  const options = { stride: shape.stride, padding: shape.padding };
  return {
    expected: reference.conv2d(options),
    apply: (tape, x, weights) => conv2d(tape, x!, weights!, options),
    inputs: [
      gaussian(random, [shape.samples, shape.height, shape.width, shape.inChannels]),
      gaussian(random, [shape.outChannels, shape.inChannels, ...shape.kernel]),
    ],
  };
}

interface LinearCase {
  samples: number;
  inChannels: number;
  outChannels: number;
  seed: number;
}

const linearCases: fc.Arbitrary<LinearCase> = fc.record({
  samples: fc.integer({ min: 1, max: 70 }),
  inChannels: fc.integer({ min: 1, max: 70 }),
  outChannels: fc.integer({ min: 1, max: 40 }),
  seed: seeds,
});

function linearCase({ samples, inChannels, outChannels: out }: LinearCase, random: Random): Case {
  return {
    expected: reference.linear(),
    apply: (tape, x, weights) => linear(tape, x!, weights!),
    inputs: [gaussian(random, [samples, inChannels]), gaussian(random, [out, inChannels])],
  };
}

const linearExamples: LinearCase[] = [
  { samples: 1, inChannels: 1, outChannels: 1, seed: 1 },
  { samples: 33, inChannels: 64, outChannels: 36, seed: 2 },
  { samples: 65, inChannels: 30, outChannels: 10, seed: 3 },
  // Sums in eight and in two parts.
  { samples: 5, inChannels: 512, outChannels: 10, seed: 4 },
  { samples: 40, inChannels: 136, outChannels: 7, seed: 5 },
];

interface ImageCase {
  samples: number;
  height: number;
  width: number;
  channels: number;
  seed: number;
}

const image = {
  samples: fc.integer({ min: 1, max: 5 }),
  height: fc.integer({ min: 1, max: 9 }),
  width: fc.integer({ min: 1, max: 9 }),
  channels,
  seed: seeds,
};
const images: fc.Arbitrary<ImageCase> = fc.record(image);
const shapeOf = (x: ImageCase): Shape => [x.samples, x.height, x.width, x.channels];

const pools = fc
  .record({
    ...image,
    kernel: fc.integer({ min: 1, max: 4 }),
    stride: fc.integer({ min: 1, max: 4 }),
    padding: fc.integer({ min: 0, max: 2 }),
  })
  .filter(
    ({ height, width, kernel, padding }) =>
      2 * padding <= kernel && Math.min(height, width) + 2 * padding >= kernel,
  );

/** Windows that tile the image, which have a kernel of their own. */
const poolExamples = [
  { samples: 3, height: 6, width: 4, channels: 8, kernel: 2, stride: 2, padding: 0, seed: 2 },
  { samples: 2, height: 3, width: 9, channels: 3, kernel: 3, stride: 3, padding: 0, seed: 4 },
];

const rowsOfLogits = fc.record({
  samples: fc.integer({ min: 1, max: 70 }),
  classes: fc.integer({ min: 1, max: 12 }),
  zeroLogits: fc.constantFrom(0, 0, 1, 7),
  spread: fc.constantFrom(1, 10, 40),
  seed: seeds,
});

/** Any shape, and sizes on both sides of the 256 entries one invocation of a reduction adds up. */
const shapes = fc.oneof(
  fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
  fc.constantFrom([255], [256], [257], [2, 511], [65537], [70000]),
);

async function checkNetwork(gpu: Gpu): Promise<void> {
  const random = new Random(8);
  const x = gaussian(random, NETWORK_INPUT);
  const labels = new Uint32Array([0, 1, 2, 2, 1, 0]);
  const layers = smallNetwork(random, labels);
  const exact = referenceGradients(layers, x);
  const fisher = exact.map(({ shape }) => array64(shape));
  for (const [n, label] of labels.entries()) {
    const last = layers.slice(0, -1);
    const single: Layer[] = [...last, [reference.softmaxCrossEntropy([label]), relu, undefined]];
    for (const [i, gradient] of referenceGradients(single, sample(x, n)).entries()) {
      for (const [j, value] of gradient.data.entries()) fisher[i]!.data[j]! += value * value;
    }
  }
  const reads = gpu.scope(() => {
    const weights = layers.map(([, , w]) => w && upload(gpu, w));
    const parameters = weights.filter((w) => w !== undefined);
    const tape = new Tape(gpu).watch(parameters);
    const output = layers.reduce((value, [, apply], i) => apply(tape, value, weights[i]!), upload(gpu, x));
    return [...tape.gradients(output, parameters), ...tape.squaredGradients(output, parameters)].map((t) =>
      t.read(),
    );
  });
  assert.equal(gpu.liveTensors, 0);
  const actual = await Promise.all(reads);
  for (const [i, { data }] of [...exact, ...fisher].entries()) {
    assertClose(actual[i]!, data, TOLERANCE, `parameter ${i % exact.length}`);
  }
}

for (const [family, gpu] of Object.entries(families)) {
  describe(`${family} kernels`, () => {
    test('conv2d: output and gradients', () =>
      property(
        convCases,
        25,
        (shape, random) => checkInMidGraph(gpu, convCase(shape, random), random),
        convExamples,
      ));

    test('conv2d: per-sample gradients and their squares', () =>
      property(convCases, 12, (shape, random) => checkPerSample(gpu, convCase(shape, random), random), [
        ...convExamples,
        manySamples,
      ]));

    test('linear: output and gradients', () =>
      property(
        linearCases,
        20,
        (shape, random) => checkInMidGraph(gpu, linearCase(shape, random), random),
        linearExamples,
      ));

    test('linear: per-sample gradients and their squares', () =>
      property(
        linearCases,
        10,
        (shape, random) => checkPerSample(gpu, linearCase(shape, random), random),
        linearExamples,
      ));

    test('a small network: every gradient, and the squared ones, through all layers', () =>
      checkNetwork(gpu));
  });
}

describe('ops that are the same in both families', () => {
  const gpu = families.register;

  for (const [name, expected, apply] of [
    ['bias', reference.bias(), bias],
    ['biasRelu', reference.biasRelu(), biasRelu],
  ] as const) {
    const biasCase = (x: ImageCase, random: Random): Case => ({
      expected,
      apply: (tape, a, b) => apply(tape, a!, b!),
      inputs: [gaussian(random, shapeOf(x)), gaussian(random, [x.channels])],
    });

    test(`${name}: output and gradients`, () =>
      property(images, 30, (x, random) => checkInMidGraph(gpu, biasCase(x, random), random)));

    test(`${name}: per-sample gradients and their squares`, () =>
      property(images, 20, (x, random) => checkPerSample(gpu, biasCase(x, random), random), [
        { samples: 100, height: 2, width: 1, channels: 40, seed: 5 },
      ]));
  }

  test('maxpool2d: output and gradients, ties among them', () =>
    property(
      pools,
      60,
      ({ kernel, stride, padding, ...x }, random) => {
        const options = { kernel, stride, padding };
        const values = gaussian(random, shapeOf(x), x.seed % 2 === 0);
        const expected = reference.maxpool2d(options);
        const apply = (tape: Tape, a: F32) => maxpool2d(tape, a, options);
        return checkInMidGraph(gpu, { expected, apply, inputs: [values] }, random);
      },
      poolExamples,
    ));

  test('flatten: output and gradient', () =>
    property(images, 20, (x, random) => {
      const inputs = [gaussian(random, shapeOf(x))];
      return checkInMidGraph(gpu, { expected: reference.flatten(), apply: flatten, inputs }, random);
    }));

  test('unflatten undoes flatten: output and gradient', () =>
    property(images, 20, (x, random) => {
      const [samples, ...image] = shapeOf(x) as [number, number, number, number];
      const expected = reference.unflatten(image);
      const inputs = [gaussian(random, [samples, sizeOf(image)])];
      return checkInMidGraph(
        gpu,
        { expected, apply: (tape, a) => unflatten(tape, a!, image), inputs },
        random,
      );
    }));

  const maps: [string, ReferenceOp, Case['apply'], number][] = [
    ['relu', reference.relu(), relu, 1],
    ['scale', reference.scale(-1.7), (tape, x) => scale(tape, x!, -1.7), 1],
    ['add', reference.add(), (tape, a, b) => add(tape, a!, b!), 2],
    ['multiply', reference.multiply(), (tape, a, b) => multiply(tape, a!, b!), 2],
  ];
  for (const [name, expected, apply, count] of maps) {
    test(`${name}: output and gradients`, () =>
      property(fc.record({ shape: shapes, seed: seeds }), 25, ({ shape, seed }, random) => {
        const inputs = Array.from({ length: count }, () => gaussian(random, shape, seed % 2 === 0));
        return checkInMidGraph(gpu, { expected, apply, inputs }, random);
      }));
  }

  const reductions: [string, ReferenceOp, Case['apply']][] = [
    ['sum', reference.sum(), sum],
    ['mean', reference.mean(), mean],
  ];
  for (const [name, expected, apply] of reductions) {
    test(`${name}: output and gradient`, () =>
      property(fc.record({ shape: shapes, seed: seeds }), 25, ({ shape }, random) => {
        const x = gaussian(random, shape);
        // A mean of one, so that the terms do not cancel and leave their rounding errors alone.
        const inputs = [
          array64(
            shape,
            x.data.map((value) => Math.fround(value + 1)),
          ),
        ];
        return checkInMidGraph(gpu, { expected, apply, inputs }, random);
      }));
  }

  test('softmaxCrossEntropy: losses and gradient, with zeros continuing the rows', () =>
    property(rowsOfLogits, 40, ({ samples, classes, zeroLogits, spread }, random) => {
      const labels = random.bits(samples).map((word) => word % (classes + zeroLogits));
      const logits = gaussian(random, [samples, classes]);
      const inputs = [
        array64(
          logits.shape,
          logits.data.map((z) => Math.fround(spread * z)),
        ),
      ];
      const expected = reference.softmaxCrossEntropy(labels, { zeroLogits });
      const apply = (tape: Tape, z: F32) =>
        softmaxCrossEntropy(tape, z, tape.gpu.tensor(labels, [samples]), { zeroLogits });
      return checkInMidGraph(gpu, { expected, apply, inputs }, random);
    }));

  test('softmaxCrossEntropy keeps the loss and gradient of a sure and right answer', async () => {
    const logits = array64([4, 2], [0, 9, 0, 14, 0, 40, -30, 30]);
    const ones = array64([4], [1, 1, 1, 1]);
    const expected = reference.softmaxCrossEntropy([1, 1, 1, 1]);
    const reads = gpu.scope(() => {
      const z = upload(gpu, logits);
      const tape = new Tape(gpu).watch([z]);
      const losses = softmaxCrossEntropy(tape, z, gpu.tensor(new Uint32Array(4).fill(1), [4]));
      return [losses.read(), tape.gradients(losses, [z])[0]!.read()];
    });
    const [losses, gradient] = await Promise.all(reads);
    const exact = expected.gradient([logits], ones)[0]!.data;
    for (const [n, loss] of expected.forward(logits).data.entries()) {
      assertClose([losses![n]!], [loss], TOLERANCE, `loss ${n}`);
      assertClose(
        gradient!.subarray(2 * n, 2 * n + 2),
        exact.subarray(2 * n, 2 * n + 2),
        TOLERANCE,
        'gradient',
      );
    }
  });

  test('an input used twice gets both gradients', async () => {
    const x = gaussian(new Random(1), [3, 5]);
    const w = gaussian(new Random(2), [5, 5]);
    const op = reference.linear();
    const first = op.forward(x, w);
    const second = op.forward(first, w);
    const upstream = op.gradient([first, w], array64([3, 5], new Float64Array(15).fill(1)));
    const below = op.gradient([x, w], upstream[0]!);
    const exactW = reference.add().forward(upstream[1]!, below[1]!);
    const reads = gpu.scope(() => {
      const [a, b] = [upload(gpu, x), upload(gpu, w)];
      const tape = new Tape(gpu).watch([a, b]);
      const y = linear(tape, linear(tape, a, b), b);
      const squares = multiply(tape, a, a);
      return [
        y,
        ...tape.gradients(y, [a, b]),
        ...tape.gradients(squares, [a]),
        ...tape.gradients(add(tape, squares, squares), [a]),
      ].map((tensor) => tensor.read());
    });
    const [y, da, db, twice, fourfold] = await Promise.all(reads);
    assertClose(y!, second.data, TOLERANCE, 'output');
    assertClose(da!, below[0]!.data, TOLERANCE, 'input');
    assertClose(db!, exactW.data, TOLERANCE, 'shared weight');
    assertClose(twice!, reference.scale(2).forward(x).data, TOLERANCE, 'x * x');
    assertClose(fourfold!, reference.scale(4).forward(x).data, TOLERANCE, '2 x * x');
  });

  test('relu and maxpool2d keep NaN, softmaxCrossEntropy makes NaN of any logit that is not finite', async () => {
    const x = new Float32Array([1, Number.NaN, -1, 0, -2, 3]);
    const logits = new Float32Array([
      0,
      1,
      Number.NaN,
      0,
      0,
      Number.POSITIVE_INFINITY,
      2,
      3,
      -1,
      Number.NEGATIVE_INFINITY,
    ]);
    const reads = gpu.scope(() => {
      const tape = new Tape(gpu);
      return [
        relu(tape, gpu.tensor(x, [6])),
        maxpool2d(tape, gpu.tensor(x, [1, 2, 3, 1]), { kernel: 2, stride: 1 }),
        softmaxCrossEntropy(tape, gpu.tensor(logits, [5, 2]), gpu.tensor(new Uint32Array(5), [5])),
      ].map((tensor) => tensor.read());
    });
    const [rectified, pooled, losses] = await Promise.all(reads);
    assert.deepEqual([...rectified!], [1, Number.NaN, 0, 0, 0, 3]);
    assert.deepEqual([...pooled!], [Number.NaN, Number.NaN]);
    assert.deepEqual([...losses!].map(Number.isNaN), [false, true, true, false, true]);
  });

  test('countNonFinite counts NaN of any payload and infinities, and nothing else', async () => {
    const bits = new Uint32Array(700).fill(0x7f7fffff);
    for (const [i, word] of [0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff].entries()) {
      bits[i * 150 + 3] = word;
    }
    bits[1] = 0x00000001;
    bits[2] = 0x80000000;
    using odd = gpu.tensor(new Float32Array(bits.buffer), [700]);
    using even = gpu.tensor(new Float32Array(3), [3]);
    assert.deepEqual(await countNonFinite(gpu, [odd, even, odd]), [5, 0, 5]);
  });
});
