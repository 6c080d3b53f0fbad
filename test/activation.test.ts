import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import {
  augment,
  dropout,
  Gpu,
  gelu,
  Random,
  relu,
  relu6,
  type Shape,
  sigmoid,
  silu,
  sizeOf,
  Tape,
  tanh,
} from '../engine/index.ts';
import { array64, type ReferenceOp, reference } from '../engine/reference.ts';
import { assertClose, failsWith } from './assertions.ts';
import { checkInMidGraph, type F32, gaussian, upload } from './op_checks.ts';

/** Random cases are the same in every run, so that a failure is seen again. */
const SEED = 31;

const gpu = await Gpu.create();
const limited = await Gpu.create({ maxBindingBytes: 4096 });
after(() => {
  gpu.dispose();
  limited.dispose();
});

const activations: [string, ReferenceOp, (tape: Tape, x: F32) => F32][] = [
  ['relu', reference.relu(), relu],
  ['relu6', reference.relu6(), relu6],
  ['sigmoid', reference.sigmoid(), sigmoid],
  ['tanh', reference.tanh(), tanh],
  ['gelu', reference.gelu(), gelu],
  ['silu', reference.silu(), silu],
];

const seeds = fc.integer({ min: 0, max: 2 ** 31 });
const shapes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 4 });

/** Values of an op and its derivatives at the entries of x. */
async function evaluate(apply: (tape: Tape, x: F32) => F32, values: Float32Array<ArrayBuffer>) {
  const reads = gpu.scope(() => {
    const x = gpu.tensor(values, [values.length]);
    const tape = new Tape(gpu).watch([x]);
    const y = apply(tape, x);
    return [y.read(), tape.gradients(y, [x])[0]!.read()];
  });
  return await Promise.all(reads);
}

/** From 1e-30 to 1e4, of both signs, in groups of 32 neighbours that span a factor of 1.6. */
function everySize(): Float32Array<ArrayBuffer> {
  const values: number[] = [];
  for (let exponent = -30; exponent < 3.79; exponent += 0.2) {
    for (const sign of [1, -1]) {
      for (let i = 0; i < 32; i++) values.push(sign * 10 ** (exponent + i / 155));
    }
  }
  return new Float32Array(values);
}

describe('activations', () => {
  for (const [name, expected, apply] of activations) {
    test(`${name}: output and gradient`, () =>
      fc.assert(
        fc.asyncProperty(shapes, fc.constantFrom(1, 8), seeds, (shape, spread, seed) => {
          const random = new Random(seed);
          const x = gaussian(random, shape, seed % 2 === 0);
          const inputs = [
            array64(
              shape,
              x.data.map((value) => spread * value),
            ),
          ];
          return checkInMidGraph(gpu, { expected, apply, inputs }, random);
        }),
        { seed: SEED, numRuns: 20 },
      ));

    test(`${name} is as accurate near 0 and far from it as between, and finite`, async () => {
      const values = everySize();
      const [y, dy] = await evaluate(apply, values);
      const x = array64([values.length], values);
      const ones = array64([values.length], new Float64Array(values.length).fill(1));
      const exact = [expected.forward(x).data, expected.gradient([x], ones)[0]!.data];
      for (const [kind, actual] of [y!, dy!].entries()) {
        for (let start = 0; start < values.length; start += 32) {
          // What f32 cannot hold as a normal number is 0.
          const group = exact[kind]!.subarray(start, start + 32).map((value) =>
            Math.abs(value) < 2e-38 ? 0 : value,
          );
          const got = actual
            .subarray(start, start + 32)
            .map((value) => (Math.abs(value) < 2e-38 ? 0 : value));
          assertClose(got, group, 1e-6, `${kind === 0 ? 'value' : 'derivative'} from ${values[start]}`);
        }
      }
    });

    test(`${name} keeps NaN`, async () => {
      const [y, dy] = await evaluate(apply, new Float32Array([Number.NaN, 1, -1, 0.1, Number.NaN]));
      assert.deepEqual([...y!].map(Number.isNaN), [true, false, false, false, true]);
      // Where the output is cut off PyTorch hands the gradient on; these rules stop it.
      if (!name.startsWith('relu')) {
        assert.deepEqual([...dy!].map(Number.isNaN), [true, false, false, false, true]);
      }
    });
  }

  test('values that PyTorch gives', async () => {
    const x = new Float32Array([-3, -1, 0, 0.5, 2]);
    const known: [(tape: Tape, x: F32) => F32, number[]][] = [
      [sigmoid, [0.04742587, 0.26894142, 0.5, 0.62245933, 0.88079708]],
      [tanh, [-0.99505475, -0.76159416, 0, 0.46211716, 0.96402758]],
      [gelu, [-0.00404969, -0.15865525, 0, 0.34573123, 1.95449974]],
      [silu, [-0.14227762, -0.26894142, 0, 0.31122967, 1.76159416]],
    ];
    for (const [apply, values] of known)
      assertClose((await evaluate(apply, x))[0]!, values, 1e-6, apply.name);
  });
});

describe('dropout', () => {
  /** What each entry is multiplied by. */
  const maskOf = (random: Random, size: number, probability: number) =>
    Float64Array.from(random.bits(size), (word) =>
      word / 2 ** 32 < probability ? 0 : Math.fround(1 / (1 - probability)),
    );

  test('output and gradient, with the words of the stream', () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(shapes, fc.constantFrom([4097], [3, 700])),
        fc.constantFrom(0.125, 0.3, 0.5, 0.9375),
        seeds,
        async (shape, probability, seed) => {
          const expected = reference.dropout(maskOf(new Random(seed, 3), sizeOf(shape), probability));
          const inputs = [gaussian(new Random(seed), shape)];
          const apply = (tape: Tape, x: F32) => dropout(tape, x, probability, new Random(seed, 3));
          await checkInMidGraph(gpu, { expected, apply, inputs }, new Random(seed));
        },
      ),
      { seed: SEED, numRuns: 20 },
    ));

  test('tensors above a binding take the same words', async () => {
    const size = 3 * 1024 + 5;
    const read = (on: Gpu) => {
      const random = new Random(5);
      random.bits(3);
      return on.scope(() => {
        const ones = on.tensor(new Float32Array(size).fill(1), [size]);
        const y = dropout(new Tape(on), ones, 0.25, random);
        return [y.read(), dropout(new Tape(on), ones, 0.25, random).read()];
      });
    };
    const random = new Random(5);
    random.bits(3);
    const expected = [maskOf(random, size, 0.25), maskOf(random, size, 0.25)].map((m) =>
      Float32Array.from(m),
    );
    assert.deepEqual(await Promise.all(read(gpu)), expected);
    assert.deepEqual(await Promise.all(read(limited)), expected);
  });

  test('the tape keeps the mask; probability 0 does nothing; others than probabilities are refused', () => {
    gpu.scope(() => {
      const x = gpu.tensor(new Float32Array(6), [2, 3]);
      const tape = new Tape(gpu).watch([x]);
      const random = new Random(1);
      assert.equal(dropout(tape, x, 0, random), x);
      assert.deepEqual(random.reserve(0).start, 0);
      dropout(tape, x, 0.5, random);
      assert.deepEqual((tape.operations[0]!.settings[0] as F32).shape, [2, 3]);
      for (const wrong of [1, -0.1, Number.NaN]) {
        assert.throws(() => dropout(tape, x, wrong, random), failsWith('bad-probability', /probability/));
      }
    });
  });
});

describe('augment', () => {
  interface Images {
    shape: Shape;
    padding: number;
    flip: boolean;
  }

  function augmented({ shape, padding, flip }: Images, x: Float32Array, random: Random): Float32Array {
    const [samples, height, width, channels] = shape as [number, number, number, number];
    const words = random.bits(2 * samples);
    const result = new Float32Array(x.length);
    const span = 2 * padding + 1;
    let at = 0;
    for (let n = 0; n < samples; n++) {
      const dy = Math.floor(((words[2 * n]! >>> 16) * span) / 65536) - padding;
      const dx = Math.floor(((words[2 * n]! & 0xffff) * span) / 65536) - padding;
      const flipped = flip && words[2 * n + 1]! >= 2 ** 31;
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          const y = row + dy;
          const from = (flipped ? width - 1 - column : column) + dx;
          for (let c = 0; c < channels; c++, at++) {
            if (y < 0 || y >= height || from < 0 || from >= width) continue;
            result[at] = x[((n * height + y) * width + from) * channels + c]!;
          }
        }
      }
    }
    return result;
  }

  const cases: fc.Arbitrary<Images & { seed: number }> = fc.record({
    shape: fc.tuple(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 6 }),
      fc.constantFrom(1, 3, 4, 8),
    ),
    padding: fc.integer({ min: 0, max: 8 }),
    flip: fc.boolean(),
    seed: seeds,
  });

  test('cuts and flips are those of the words, entry for entry', () =>
    fc.assert(
      fc.asyncProperty(cases, async (images) => {
        const x = new Random(images.seed).normal(sizeOf(images.shape)) as Float32Array<ArrayBuffer>;
        const [ours, theirs] = [new Random(images.seed, 2), new Random(images.seed, 2)];
        for (let call = 0; call < 2; call++) {
          const read = gpu.scope(() => augment(gpu, gpu.tensor(x, images.shape), images, ours).read());
          assert.deepEqual(await read, augmented(images, x, theirs));
        }
        assert.equal(gpu.liveTensors, 0);
      }),
      { seed: SEED, numRuns: 40 },
    ));

  test('batches above a binding', async () => {
    const images = { shape: [100, 4, 4, 3], padding: 2, flip: true };
    const x = new Random(3).normal(4800) as Float32Array<ArrayBuffer>;
    const read = limited.scope(() =>
      augment(limited, limited.tensor(x, images.shape), images, new Random(4)).read(),
    );
    assert.deepEqual(await read, augmented(images, x, new Random(4)));
  });

  test('all cuts are about equally frequent, and half of the images are flipped', async () => {
    const samples = 9000;
    const x = new Float32Array(2 * samples).map((_, i) => 1 + (i % 2));
    const read = gpu.scope(() =>
      augment(gpu, gpu.tensor(x, [samples, 1, 2, 1]), { padding: 1, flip: true }, new Random(9)).read(),
    );
    const counts = new Map<string, number>();
    const y = await read;
    for (let n = 0; n < samples; n++) {
      const seen = `${y[2 * n]}${y[2 * n + 1]}`;
      counts.set(seen, (counts.get(seen) ?? 0) + 1);
    }
    // A third of the images keep their row; of those a third each shift left, stay, and shift right.
    const expected = { '00': 6000, '01': 500, '02': 500, '10': 500, '12': 500, '20': 500, '21': 500 };
    for (const [seen, count] of Object.entries(expected)) {
      assert.ok(
        Math.abs((counts.get(seen) ?? 0) - count) < 4.5 * Math.sqrt(count),
        `${seen}: ${counts.get(seen)}`,
      );
    }
  });

  test('shapes and paddings that make no sense are refused', () => {
    gpu.scope(() => {
      const x = upload(gpu, array64([2, 3, 3]));
      const images = x.reshape([1, 2, 3, 3]);
      const options = { padding: 1, flip: false };
      assert.throws(() => augment(gpu, x, options, new Random(1)), failsWith('shape-mismatch', /2,3,3/));
      for (const padding of [-1, 0.5, 2 ** 15]) {
        const wrong = { padding, flip: false };
        assert.throws(
          () => augment(gpu, images, wrong, new Random(1)),
          failsWith('shape-mismatch', /padding/),
        );
      }
    });
  });
});
