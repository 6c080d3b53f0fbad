import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  batchNorm,
  batchNormTraining,
  bias,
  conv2d,
  Gpu,
  groupNorm,
  layerNorm,
  linear,
  multiply,
  Random,
  SampleSums,
  type Shape,
  sum,
  Tape,
  updateRunning,
} from '../engine/index.ts';
import { type Array64, array64, reference } from '../engine/reference.ts';
import { assertClose, failsWith } from './assertions.ts';
import {
  type Case,
  checkInMidGraph,
  checkPerSample,
  type F32,
  gaussian,
  sample,
  TOLERANCE,
  upload,
} from './op_checks.ts';

/** Random cases are the same in every run, so that a failure is seen again. */
const SEED = 20220;

const gpu = await Gpu.create();
/** Its bindings hold two samples of {@link WIDE}. */
const limited = await Gpu.create({ maxBindingBytes: 128 * 1024 });
after(() => {
  gpu.dispose();
  limited.dispose();
});

interface NormCase {
  shape: Shape;
  groups: number;
  epsilon: number;
  seed: number;
}

/** Fewer values than this that share a mean leave little of the gradient once its mean and slope are taken off. */
const FEWEST = 12;

const extent = fc.integer({ min: 1, max: 7 });
const cases: fc.Arbitrary<NormCase> = fc
  .record({
    samples: fc.integer({ min: 1, max: 6 }),
    pixels: fc.oneof(fc.constant([]), fc.tuple(extent, extent)),
    groups: fc.constantFrom(1, 2, 3, 4),
    groupChannels: fc.constantFrom(1, 2, 3, 4, 5, 8),
    epsilon: fc.constantFrom(1e-5, 1e-3, 0.1),
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
  })
  .map(({ samples, pixels, groups, groupChannels, ...rest }) => ({
    shape: [samples, ...pixels, groups * groupChannels],
    groups,
    ...rest,
  }));

/** Several blocks of pixels, with and without a tail and vec4s; rows; many samples. */
const examples: NormCase[] = [
  { shape: [2, 13, 11, 8], groups: 4, epsilon: 1e-5, seed: 1 },
  { shape: [2, 16, 16, 3], groups: 3, epsilon: 1e-5, seed: 2 },
  { shape: [1, 17, 16, 12], groups: 2, epsilon: 1e-5, seed: 3 },
  { shape: [70, 1, 2, 36], groups: 3, epsilon: 1e-5, seed: 4 },
  { shape: [33, 64], groups: 4, epsilon: 1e-5, seed: 5 },
  { shape: [3, 2, 3, 2, 20], groups: 1, epsilon: 1e-5, seed: 6 },
];
const WIDE: NormCase = { shape: [5, 16, 32, 32], groups: 8, epsilon: 1e-5, seed: 7 };
/** Its sums by block exceed those bindings too. */
const TALL: NormCase = { shape: [600, 64], groups: 4, epsilon: 1e-5, seed: 8 };

type Make = (given: NormCase, random: Random) => Case;

function inputs({ shape }: NormCase, random: Random): Array64[] {
  const channels = shape.at(-1)!;
  return [gaussian(random, shape), gaussian(random, [channels]), gaussian(random, [channels])];
}

const ops: Record<'batchNorm' | 'batchNormTraining' | 'groupNorm' | 'layerNorm', Make> = {
  batchNorm(given, random) {
    const channels = given.shape.at(-1)!;
    const mean = gaussian(random, [channels]);
    const variance = array64([channels], gaussian(random, [channels]).data.map(Math.abs));
    const { epsilon } = given;
    return {
      expected: reference.batchNorm(mean.data, variance.data, epsilon),
      apply: (tape, x, weight, bias) => {
        const statistics = { mean: upload(tape.gpu, mean), variance: upload(tape.gpu, variance) };
        return batchNorm(tape, x!, weight!, bias!, statistics, { epsilon });
      },
      inputs: inputs(given, random),
    };
  },
  batchNormTraining: (given, random) => ({
    expected: reference.batchNormTraining(given.epsilon),
    apply: (tape, x, weight, bias) => batchNormTraining(tape, x!, weight!, bias!, given).y,
    inputs: inputs(given, random),
  }),
  groupNorm: (given, random) => ({
    expected: reference.groupNorm(given),
    apply: (tape, x, weight, bias) => groupNorm(tape, x!, weight!, bias!, given),
    inputs: inputs(given, random),
  }),
  layerNorm: (given, random) => ({
    expected: reference.layerNorm(given),
    apply: (tape, x, weight, bias) => layerNorm(tape, x!, weight!, bias!, given),
    inputs: inputs(given, random),
  }),
};

/** Continues a case to a tensor so small that every op can take it whole. */
function folded({ expected, apply, inputs }: Case, random: Random): Case {
  const channels = inputs[1]!.shape[0]!;
  const images = inputs[0]!.shape.length === 4;
  const weights = gaussian(random, images ? [8, channels, 8, 8] : [4, channels]);
  const fold = images ? reference.conv2d({ stride: 8 }) : reference.linear();
  return {
    expected: {
      forward: (...values) => fold.forward(expected.forward(...values), weights),
      gradient(values, upstream) {
        const y = expected.forward(...values);
        return expected.gradient(values, fold.gradient([y, weights], upstream)[0]!);
      },
    },
    apply(tape, ...tensors) {
      const y = apply(tape, ...tensors);
      const w = upload(tape.gpu, weights);
      return images ? conv2d(tape, y, w, { stride: 8 }) : linear(tape, y, w);
    },
    inputs,
  };
}

/** How many values share a mean. */
function valuesOf(name: keyof typeof ops, { shape, groups }: NormCase): number {
  const size = shape.reduce((a, b) => a * b, 1);
  const channels = shape.at(-1)!;
  if (name === 'batchNorm') return Number.POSITIVE_INFINITY;
  return { batchNormTraining: size / channels, groupNorm: size / shape[0]! / groups, layerNorm: channels }[
    name
  ];
}

async function property(
  arbitrary: fc.Arbitrary<NormCase>,
  numRuns: number,
  check: (given: NormCase, random: Random) => Promise<void>,
): Promise<void> {
  const claim = fc.asyncProperty(arbitrary, (given) => check(given, new Random(given.seed)));
  await fc.assert(claim, {
    seed: SEED,
    numRuns: numRuns + examples.length,
    examples: examples.map((given) => [given]),
  });
}

for (const [key, make] of Object.entries(ops)) {
  const name = key as keyof typeof ops;
  const arbitrary = cases.filter((given) => valuesOf(name, given) >= FEWEST);

  describe(name, () => {
    test('output and gradients', () =>
      property(arbitrary, 15, (given, random) => checkInMidGraph(gpu, make(given, random), random)));

    test('in pieces where a tensor exceeds a binding', async () => {
      const random = new Random(WIDE.seed);
      const wide = folded(make(WIDE, random), random);
      await checkInMidGraph(limited, wide, random);
      await checkInMidGraph(limited, folded(make(TALL, random), random), random);
      if (name === 'batchNormTraining') return;
      for (const position of [1, 2]) await checkPerSample(limited, wide, random, position);
    });

    if (name === 'batchNormTraining') return;

    test('per-sample gradients and their squares', () =>
      property(arbitrary, 8, async (given, random) => {
        const whole = make(given, random);
        for (const position of [1, 2]) await checkPerSample(gpu, whole, random, position);
      }));

    test('a sample has the same bits in any batch', async () => {
      for (const given of examples) {
        const random = new Random(given.seed);
        const { apply, inputs } = make(given, random);
        const [x, ...vectors] = inputs as [Array64, ...Array64[]];
        const last = given.shape[0]! - 1;
        const results = [x, sample(x, last)].map((batch) =>
          gpu.scope(() => {
            const input = upload(gpu, batch);
            const tape = new Tape(gpu).watch([input]);
            const y = apply(tape, input, ...vectors.map((v) => upload(gpu, v)));
            const [dx] = tape.gradients(layerNorm(tape, y, ...unit(y.shape.at(-1)!)), [input]);
            return Promise.all([y.read(), dx!.read()]);
          }),
        );
        const [whole, single] = await Promise.all(results);
        for (const [i, values] of single!.entries()) {
          assert.deepEqual(whole![i]!.subarray(-values.length), values, `${given.shape}`);
        }
      }
    });
  });
}

/** A weight and a bias that make the gradient of a layer normalisation differ from entry to entry. */
function unit(channels: number): [F32, F32] {
  const random = new Random(11);
  return [upload(gpu, gaussian(random, [channels])), upload(gpu, gaussian(random, [channels]))];
}

describe('batch statistics', () => {
  test('are the mean and the unbiased variance, of values far from zero too', async () => {
    for (const given of [...examples, WIDE, TALL]) {
      const random = new Random(given.seed);
      const channels = given.shape.at(-1)!;
      const centred = gaussian(random, given.shape);
      const x = array64(
        given.shape,
        centred.data.map((value) => Math.fround(value + 1000)),
      );
      const count = x.data.length / channels;
      const mean = new Float64Array(channels);
      for (const [i, value] of x.data.entries()) mean[i % channels]! += value / count;
      const variance = new Float64Array(channels);
      for (const [i, value] of x.data.entries()) {
        variance[i % channels]! += (value - mean[i % channels]!) ** 2 / (count - 1);
      }
      const reads = limited.scope(() => {
        const vectors = [limited.tensor(new Float32Array(channels), [channels])] as const;
        const batch = batchNormTraining(new Tape(limited), upload(limited, x), vectors[0], vectors[0]);
        return [batch.mean.read(), batch.variance.read()];
      });
      const [actualMean, actualVariance] = await Promise.all(reads);
      assertClose(actualMean!, mean, TOLERANCE, `mean of ${given.shape}`);
      assertClose(actualVariance!, variance, TOLERANCE, `variance of ${given.shape}`);
    }
  });

  test('may be disposed before the gradient is taken', async () => {
    const random = new Random(12);
    const { expected, inputs } = ops.batchNormTraining(examples[0]!, random);
    const c = gaussian(random, inputs[0]!.shape);
    const read = gpu.scope(() => {
      const [x, weight, bias] = inputs.map((value) => upload(gpu, value)) as [F32, F32, F32];
      const tape = new Tape(gpu).watch([weight]);
      const { y, mean, variance } = batchNormTraining(tape, x, weight, bias);
      mean.dispose();
      variance.dispose();
      return tape.gradients(multiply(tape, y, upload(gpu, c)), [weight])[0]!.read();
    });
    assertClose(await read, expected.gradient(inputs, c)[1]!.data, TOLERANCE, 'weight');
  });

  test('move the running ones', async () => {
    const running = array64([5], [0, 1, -2, 3, 0.5]);
    const batch = array64([5], [1, 1, 4, -3, 0.25]);
    const read = gpu.scope(() => {
      const state = upload(gpu, running);
      updateRunning(gpu, state, upload(gpu, batch), 0.1);
      updateRunning(gpu, state, upload(gpu, batch), 0.5);
      return state.read();
    });
    const exact = running.data.map((value, i) => 0.45 * value + 0.55 * batch.data[i]!);
    assertClose(await read, exact, 1e-6, 'running');
  });

  test('leave no per-sample gradient, nor sums over batches, of anything before or after them', () => {
    gpu.scope(() => {
      const random = new Random(13);
      const [x, before, weight, offset, after] = [[4, 6], [6], [6], [6], [6]].map((shape) =>
        upload(gpu, gaussian(random, shape)),
      );
      const parameters = [before!, weight!, offset!, after!];
      const tape = new Tape(gpu).watch(parameters);
      const { y } = batchNormTraining(tape, bias(tape, x!, before!), weight!, offset!);
      const output = bias(tape, y, after!);
      const refusal = failsWith('batch-statistics', /batch statistics/);
      for (const parameter of parameters) {
        assert.throws(() => tape.squaredGradients(output, [parameter]), refusal);
        assert.throws(() => tape.perSampleGradients(output, [parameter]), refusal);
        using sums = new SampleSums(gpu, [parameter], 'gradient');
        assert.throws(() => tape.accumulate(output, sums), refusal);
        assert.equal(sums.count, 0);
      }
      assert.equal(tape.gradients(sum(tape, output), parameters).length, 4);
    });
    assert.equal(gpu.liveTensors, 0);
  });
});

test('what does not fit is refused', () => {
  gpu.scope(() => {
    const tape = new Tape(gpu);
    const of = (...shape: number[]) => gpu.tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape);
    const x = of(2, 3, 3, 6);
    const refusal = (names: RegExp) => failsWith('shape-mismatch', names);
    const statistics = { mean: of(6), variance: of(6) };
    assert.throws(() => batchNorm(tape, x, of(5), of(6), statistics), refusal(/batchNorm .*weight \[5\]/));
    assert.throws(
      () => batchNorm(tape, x, of(6), of(6), { ...statistics, variance: of(1, 6) }),
      refusal(/variance \[1,6\]/),
    );
    assert.throws(() => batchNormTraining(tape, x, of(6), of(3)), refusal(/batchNormTraining/));
    assert.throws(() => batchNormTraining(tape, of(1, 6), of(6), of(6)), refusal(/one value/));
    assert.throws(() => groupNorm(tape, x, of(6), of(6), { groups: 4 }), refusal(/6 channels into 4 groups/));
    assert.throws(() => groupNorm(tape, x, of(6), of(6), { groups: 0 }), refusal(/0 groups/));
    assert.throws(() => layerNorm(tape, of(6), of(6), of(6)), refusal(/layerNorm/));
  });
});
