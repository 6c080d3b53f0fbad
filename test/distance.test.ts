import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { closestSources, type FisherDiagonal, fisherDistance } from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';

function diagonal(values: ArrayLike<number>, name = 'w'): FisherDiagonal {
  return {
    entries: new Map([[name, { shape: [values.length], data: Float32Array.from(values) }]]),
    samples: 1,
  };
}

/** Non-negative, not all zero, some entries exactly zero. */
const entry = fc.oneof(fc.constant(0), fc.float({ min: Math.fround(1e-6), max: 1e3, noNaN: true }));
const vector = (length: number) =>
  fc
    .array(entry, { minLength: length, maxLength: length })
    .filter((values) => values.some((value) => value > 0));
const vectors = (count: number) =>
  fc
    .integer({ min: 1, max: 40 })
    .chain((length) => fc.tuple(...Array.from({ length: count }, () => vector(length))));

function unit(values: readonly number[]): number[] {
  const total = values.reduce((a, b) => a + Math.fround(b), 0);
  return values.map((value) => Math.fround(value) / total);
}

test('distance lies in [0, 1] and is 0 between equal diagonals, exactly', () => {
  fc.assert(
    fc.property(vectors(2), ([f, g]) => {
      const d = fisherDistance(diagonal(f!), diagonal(g!));
      assert.ok(d >= 0 && d <= 1, `${d}`);
      assert.equal(fisherDistance(diagonal(f!), diagonal(f!)), 0);
    }),
  );
});

test('distance is 1 exactly for disjoint supports and below 1 for shared ones', () => {
  fc.assert(
    fc.property(vectors(2), ([f, g]) => {
      const zeros = f!.map(() => 0);
      assert.ok(
        Math.abs(fisherDistance(diagonal([...f!, ...zeros]), diagonal([...zeros, ...g!])) - 1) < 1e-12,
      );
      const shared = f!.some((value, i) => value > 0 && g![i]! > 0);
      if (shared) assert.ok(fisherDistance(diagonal(f!), diagonal(g!)) < 1);
    }),
  );
});

test('d squared is one minus the Bhattacharyya coefficient', () => {
  fc.assert(
    fc.property(vectors(2), ([f, g]) => {
      const [p, q] = [unit(f!), unit(g!)];
      const overlap = p.reduce((sum, value, i) => sum + Math.sqrt(value * q[i]!), 0);
      assert.ok(Math.abs(fisherDistance(diagonal(f!), diagonal(g!)) ** 2 - (1 - overlap)) < 1e-12);
    }),
  );
});

test('the trace form of the paper equals the Frobenius form', () => {
  fc.assert(
    fc.property(vectors(2), ([f, g]) => {
      const [p, q] = [unit(f!), unit(g!)];
      const traced = p.reduce((sum, value, i) => sum + value + q[i]! - 2 * Math.sqrt(value * q[i]!), 0);
      assert.ok(
        Math.abs(fisherDistance(diagonal(f!), diagonal(g!)) - Math.sqrt(Math.max(0, traced) / 2)) < 1e-7,
      );
    }),
  );
});

test('distance does not change when either diagonal is scaled', () => {
  // Powers of two scale float32 entries without rounding, so nothing but the trace changes.
  fc.assert(
    fc.property(vectors(2), fc.integer({ min: -20, max: 20 }), ([f, g], exponent) => {
      const scaled = diagonal(f!.map((value) => Math.fround(value) * 2 ** exponent));
      const d = fisherDistance(diagonal(f!), diagonal(g!));
      assert.ok(Math.abs(fisherDistance(scaled, diagonal(g!)) - d) < 1e-12);
      assert.ok(Math.abs(fisherDistance(diagonal(g!), scaled) - d) < 1e-12);
    }),
  );
});

test('at a fixed target the distance obeys the triangle inequality', () => {
  fc.assert(
    fc.property(vectors(3), ([f, g, h]) => {
      const d = (a: number[], b: number[]) => fisherDistance(diagonal(a), diagonal(b));
      assert.ok(d(f!, h!) <= d(f!, g!) + d(g!, h!) + 1e-12);
    }),
  );
});

test('the exact vectors: (1,0)-(0,1) is 1, (.5,.5)-(1,0) is .5411961001', () => {
  assert.equal(fisherDistance(diagonal([1, 0]), diagonal([0, 1])), 1);
  const d = fisherDistance(diagonal([0.5, 0.5]), diagonal([1, 0]));
  assert.ok(Math.abs(d - 0.5411961001) < 1e-10);
  assert.ok(Math.abs(d * d - 0.2928932188) < 1e-10);
});

test('a head with fewer rows counts as continued by zero rows', () => {
  const head = (shape: number[], values: number[]): FisherDiagonal => ({
    entries: new Map([
      ['body', { shape: [2], data: Float32Array.of(1, 2) }],
      ['head.weight', { shape, data: Float32Array.from(values) }],
    ]),
    samples: 1,
  });
  const narrow = head([2, 2], [1, 2, 3, 4]);
  const wide = head([3, 2], [2, 1, 1, 0, 5, 1]);
  const padded = head([3, 2], [1, 2, 3, 4, 0, 0]);
  assert.equal(fisherDistance(narrow, wide), fisherDistance(padded, wide));
  assert.equal(fisherDistance(wide, narrow), fisherDistance(wide, padded));
});

test('Fishers of different networks are refused, with every difference named', () => {
  const a = diagonal([1, 2], 'conv1.weight');
  const b = { ...diagonal([1, 2], 'fc.weight'), samples: 1 };
  assert.throws(
    () => fisherDistance(a, b),
    (error: FathomError) =>
      error instanceof FathomError &&
      error.code === 'fisher-mismatch' &&
      error.message.includes('conv1.weight') &&
      error.message.includes('fc.weight'),
  );
  const wider: FisherDiagonal = {
    entries: new Map([['w', { shape: [2, 3], data: new Float32Array(6).fill(1) }]]),
    samples: 1,
  };
  const other: FisherDiagonal = {
    entries: new Map([['w', { shape: [2, 4], data: new Float32Array(8).fill(1) }]]),
    samples: 1,
  };
  assert.throws(() => fisherDistance(wider, other), { code: 'fisher-mismatch' });
});

test('a Fisher of zero trace is refused', () => {
  assert.throws(() => fisherDistance(diagonal([0, 0]), diagonal([1, 0])), { code: 'fisher-zero' });
  assert.throws(() => fisherDistance(diagonal([1, 0]), diagonal([0, 0])), { code: 'fisher-zero' });
});

test('the closest source of a target is read down its column, itself left out', () => {
  const matrix = [
    [0, 0.3, 0.9],
    [0.2, 0, 0.8],
    [0.1, 0.4, 0],
  ];
  assert.deepEqual(closestSources(matrix), [2, 0, 1]);
  assert.deepEqual(closestSources([[0]]), [-1]);
});
