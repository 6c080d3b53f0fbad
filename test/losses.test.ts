import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  binaryCrossEntropy,
  Gpu,
  meanAbsoluteError,
  meanSquaredError,
  multiply,
  Random,
  type Shape,
  softmaxCrossEntropy,
  Tape,
} from '../engine/index.ts';
import { type Array64, array64, type ReferenceOp, reference } from '../engine/reference.ts';
import { assertClose, failsWith } from './assertions.ts';
import { checkInMidGraph, type F32, gaussian, sample, TOLERANCE, upload } from './op_checks.ts';

/** Random cases are the same in every run, so that a failure is seen again. */
const SEED = 77;

const gpu = await Gpu.create();
const limited = await Gpu.create({ maxBindingBytes: 16384 });
after(() => {
  gpu.dispose();
  limited.dispose();
});

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

/** Entries times a factor, as f32 holds them. */
function spread({ shape, data }: Array64, factor: number): Array64 {
  return array64(
    shape,
    data.map((value) => Math.fround(factor * value)),
  );
}

/** Losses, and the gradient of their sum by the predictions. */
async function evaluate(on: Gpu, x: Array64, apply: (tape: Tape, x: F32) => F32) {
  const reads = on.scope(() => {
    const leaf = upload(on, x);
    const tape = new Tape(on).watch([leaf]);
    const losses = apply(tape, leaf);
    return [losses.read(), tape.gradients(losses, [leaf])[0]!.read()];
  });
  assert.equal(on.liveTensors, 0);
  const [losses, gradient] = await Promise.all(reads);
  return { losses: losses!, gradient: gradient! };
}

/** Whether f32 holds numbers below 1.2e-38 is the adapter's choice. */
function held(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values, (value) => (Math.abs(value) < 1.2e-38 ? 0 : value));
}

function ones(count: number): Array64 {
  return array64([count], new Float64Array(count).fill(1));
}

/** Each sample against the reference for itself, so that a large loss does not hide a small one. */
async function checkEachSample(x: Array64, expected: ReferenceOp, apply: (tape: Tape, x: F32) => F32) {
  const samples = x.shape[0]!;
  const entries = x.data.length / samples;
  const { losses, gradient } = await evaluate(gpu, x, apply);
  const exactLosses = expected.forward(x).data;
  const [exact] = expected.gradient([x], ones(samples));
  for (let n = 0; n < samples; n++) {
    assertClose(held([losses[n]!]), held([exactLosses[n]!]), TOLERANCE, `loss ${n}`);
    const own = gradient.subarray(n * entries, (n + 1) * entries);
    assertClose(held(own), held(sample(exact!, n).data), TOLERANCE, `gradient ${n}`);
  }
}

describe('softmaxCrossEntropy with smoothing and weights', () => {
  const rows = fc.record({
    samples: fc.integer({ min: 1, max: 70 }),
    classes: fc.integer({ min: 1, max: 12 }),
    zeroLogits: fc.constantFrom(0, 0, 1, 7),
    labelSmoothing: fc.constantFrom(0, 0.1, 0.5, 1),
    weighted: fc.boolean(),
    factor: fc.constantFrom(1, 10, 40),
    seed: seeds,
  });

  test('losses and gradient', () =>
    fc.assert(
      fc.asyncProperty(rows, (row) => {
        const { samples, classes, zeroLogits, labelSmoothing } = row;
        // With one class there is no loss, and with evenly smoothed labels no gradient, but rounding errors.
        fc.pre(classes + zeroLogits > 1);
        const random = new Random(row.seed);
        const all = classes + zeroLogits;
        const labels = random.bits(samples).map((word) => word % all);
        const weights = row.weighted
          ? random.uniform(all).map((value) => value + 0.25)
          : new Float32Array(all).fill(1);
        const options = { zeroLogits, labelSmoothing };
        const expected = reference.softmaxCrossEntropy(labels, { ...options, classWeights: weights });
        const apply = (tape: Tape, z: F32) =>
          softmaxCrossEntropy(tape, z, gpu.tensor(labels, [samples]), {
            ...options,
            ...(row.weighted && { classWeights: gpu.tensor(weights as Float32Array<ArrayBuffer>, [all]) }),
          });
        const inputs = [spread(gaussian(random, [samples, classes]), row.factor)];
        return checkInMidGraph(gpu, { expected, apply, inputs }, random);
      }),
      { seed: SEED, numRuns: 40 },
    ));

  test("PyTorch's formula", async () => {
    const logits = [0.3, -1.2, 2.1, 1.7, 0.2, -0.4];
    const labels = Uint32Array.of(1, 0);
    const w = [0.5, 2, 1.25];
    const s = 0.2;
    const exact = Array.from(labels, (label, n) => {
      const powers = logits.slice(3 * n, 3 * n + 3).map(Math.exp);
      const total = powers[0]! + powers[1]! + powers[2]!;
      const nll = powers.map((power) => -Math.log(power / total));
      const smooth = w[0]! * nll[0]! + w[1]! * nll[1]! + w[2]! * nll[2]!;
      return (1 - s) * w[label]! * nll[label]! + (s / 3) * smooth;
    });
    // torch.nn.functional.cross_entropy(..., weight=w, label_smoothing=0.2, reduction='none')
    const apply = (tape: Tape, z: F32) =>
      softmaxCrossEntropy(tape, z, gpu.tensor(labels, [2]), {
        labelSmoothing: s,
        classWeights: gpu.tensor(Float32Array.from(w), [3]),
      });
    const { losses } = await evaluate(gpu, array64([2, 3], logits), apply);
    assertClose(losses, exact, 1e-6, 'losses');
    const referenceOp = reference.softmaxCrossEntropy(labels, { labelSmoothing: s, classWeights: w });
    assertClose(referenceOp.forward(array64([2, 3], logits)).data, exact, 1e-14, 'reference');
  });

  test('a sure and right answer keeps its weighted loss and gradient; no smoothing is the plain loss', async () => {
    const x = array64([5, 2], [0, 9, 0, 14, 0, 40, -30, 30, 20, -20]);
    const labels = new Uint32Array(5).fill(1);
    const weights = Float32Array.of(3, 0.5);
    const expected = reference.softmaxCrossEntropy(labels, { classWeights: weights });
    const apply = (tape: Tape, z: F32) =>
      softmaxCrossEntropy(tape, z, gpu.tensor(labels, [5]), { classWeights: gpu.tensor(weights, [2]) });
    await checkEachSample(x, expected, apply);
    const plain = await evaluate(gpu, x, (tape, z) => softmaxCrossEntropy(tape, z, gpu.tensor(labels, [5])));
    const unweighted = await evaluate(gpu, x, (tape, z) =>
      softmaxCrossEntropy(tape, z, gpu.tensor(labels, [5]), { labelSmoothing: 0, zeroLogits: 0 }),
    );
    assert.deepEqual(unweighted, plain);
  });

  test('a logit that is not finite makes its loss NaN', async () => {
    const x = array64([3, 2], [0, 1, Number.NaN, 0, Number.POSITIVE_INFINITY, 0]);
    const read = gpu.scope(() =>
      softmaxCrossEntropy(new Tape(gpu), upload(gpu, x), gpu.tensor(new Uint32Array(3), [3]), {
        labelSmoothing: 0.1,
      }).read(),
    );
    assert.deepEqual([...(await read)].map(Number.isNaN), [false, true, true]);
  });

  test('what does not fit is refused', () => {
    gpu.scope(() => {
      const tape = new Tape(gpu);
      const z = upload(gpu, array64([2, 3]));
      const labels = gpu.tensor(new Uint32Array(2), [2]);
      const classWeights = upload(gpu, array64([3]));
      const loss = (options: object) => () => softmaxCrossEntropy(tape, z, labels, options);
      assert.throws(loss({ classWeights, zeroLogits: 1 }), failsWith('shape-mismatch', /3.*4 classes/));
      for (const labelSmoothing of [-0.1, 1.1, Number.NaN]) {
        assert.throws(loss({ labelSmoothing }), failsWith('bad-probability', /smooth/));
      }
    });
  });
});

type EntryLoss = (tape: Tape, predictions: F32, targets: F32) => F32;

const entryLosses: [string, (targets: ArrayLike<number>) => ReferenceOp, EntryLoss][] = [
  ['binaryCrossEntropy', reference.binaryCrossEntropy, binaryCrossEntropy],
  ['meanSquaredError', reference.meanSquaredError, meanSquaredError],
  ['meanAbsoluteError', reference.meanAbsoluteError, meanAbsoluteError],
];

describe('losses that are means over entries', () => {
  /** Sizes on both sides of the 256 entries one invocation adds up, of whole vec4s and not. */
  const shapes = fc.oneof(
    fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 }),
    fc.constantFrom([3, 255], [3, 256], [2, 257], [2, 8, 9, 4], [70, 3], [2, 16, 17, 5]),
  );

  /** Targets: probabilities, 0 and 1 among them, for cross-entropy; else half steps, as predictions are. */
  function targetsOf(name: string, shape: Shape, random: Random): Float32Array<ArrayBuffer> {
    if (name !== 'binaryCrossEntropy') return Float32Array.from(gaussian(random, shape, true).data);
    const size = shape.reduce((a, b) => a * b, 1);
    return random.uniform(size).map((value) => Math.min(Math.max(2 * value - 0.5, 0), 1));
  }

  for (const [name, expected, loss] of entryLosses) {
    test(`${name}: losses and gradient, equal entries among them`, () =>
      fc.assert(
        fc.asyncProperty(shapes, fc.constantFrom(1, 10), seeds, (shape, factor, seed) => {
          const random = new Random(seed);
          const targets = targetsOf(name, shape, random);
          const inputs = [spread(gaussian(random, shape, seed % 2 === 0), factor)];
          const apply = (tape: Tape, x: F32) => loss(tape, x, gpu.tensor(targets, shape));
          return checkInMidGraph(gpu, { expected: expected(targets), apply, inputs }, random);
        }),
        { seed: SEED, numRuns: 30 },
      ));

    test(`${name} of images`, async () => {
      const random = new Random(3);
      const shape = [3, 128, 128, 3];
      const targets = targetsOf(name, shape, random);
      const x = gaussian(random, shape);
      await checkEachSample(x, expected(targets), (tape, p) => loss(tape, p, gpu.tensor(targets, shape)));
    });

    test(`${name} has a sample's bits in any batch, also above a binding`, async () => {
      for (const shape of [
        [131, 50],
        [40, 8, 8, 4],
        [9, 33, 64],
      ]) {
        const random = new Random(4);
        const targets = targetsOf(name, shape, random);
        const x = gaussian(random, shape);
        const factors = random.normal(shape[0]!) as Float32Array<ArrayBuffer>;
        const entries = x.data.length / shape[0]!;
        const from = (on: Gpu, start: number, count: number) => {
          const partShape = [count, ...shape.slice(1)];
          const part = x.data.subarray(start * entries, (start + count) * entries);
          const goals = targets.slice(start * entries, (start + count) * entries);
          return evaluate(on, array64(partShape, part), (tape, p) => {
            const losses = loss(tape, p, on.tensor(goals, partShape));
            return multiply(tape, losses, on.tensor(factors.slice(start, start + count), [count]));
          });
        };
        const whole = await from(gpu, 0, shape[0]!);
        assert.deepEqual(await from(limited, 0, shape[0]!), whole);
        const single = await from(gpu, 5, 1);
        assert.deepEqual(single.losses, whole.losses.slice(5, 6));
        assert.deepEqual(single.gradient, whole.gradient.slice(5 * entries, 6 * entries));
      }
    });

    test(`${name} refuses two shapes`, () => {
      gpu.scope(() => {
        const [a, b] = [upload(gpu, array64([2, 3])), upload(gpu, array64([3, 2]))];
        assert.throws(
          () => loss(new Tape(gpu), a, b),
          failsWith('shape-mismatch', new RegExp(`${name}.*2,3.*3,2`)),
        );
      });
    });
  }

  test('binaryCrossEntropy keeps its digits for logits of any size', async () => {
    const logits = [-1e4, -100, -60, -20, -8, -1, -1e-3, -1e-20, 0, 1e-20, 1e-3, 1, 8, 20, 60, 100, 1e4];
    for (const goal of [0, 1]) {
      const x = array64([logits.length, 1], logits);
      const targets = new Float32Array(logits.length).fill(goal);
      const apply = (tape: Tape, p: F32) => binaryCrossEntropy(tape, p, gpu.tensor(targets, x.shape));
      await checkEachSample(x, reference.binaryCrossEntropy(targets), apply);
    }
  });
});
