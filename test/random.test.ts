import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FathomError } from '../engine/errors.ts';
import { Random, threefry2x32 } from '../engine/random.ts';

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test('threefry2x32 gives the known answers of Random123', () => {
  const ones = 0xffffffff;
  assert.deepEqual(threefry2x32(0, 0, 0, 0), [0x6b200159, 0x99ba4efe]);
  assert.deepEqual(threefry2x32(ones, ones, ones, ones), [0x1cb996fc, 0xbb002be7]);
  assert.deepEqual(threefry2x32(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3), [0xc4923a9c, 0x483df7a0]);
});

test('words 2j and 2j + 1 of bits are the outputs of counter start + j', () => {
  fc.assert(
    fc.property(
      word,
      word,
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 33 }),
      (seed, stream, skip, n) => {
        const random = new Random(seed, stream);
        random.bits(skip);
        const start = Math.ceil(skip / 2);
        const expected = Array.from(
          { length: n },
          (_, i) => threefry2x32(seed, stream, start + (i >> 1), 0)[i % 2],
        );
        assert.deepEqual([...random.bits(n)], expected);
      },
    ),
  );
});

test('reserve sets aside the words that bits would have given', () => {
  const random = new Random(7, 8);
  random.bits(3);
  assert.deepEqual(random.reserve(5), { key: [7, 8], start: 2 });
  assert.deepEqual(random.reserve(1), { key: [7, 8], start: 5 });
  assert.deepEqual([...random.bits(2)], threefry2x32(7, 8, 6, 0));
});

test('a stream that has run out throws instead of repeating', () => {
  const random = new Random(1);
  random.reserve(2 ** 33 - 2);
  random.reserve(2);
  assert.throws(() => random.reserve(1), RangeError);
  assert.throws(() => new Random(1).reserve(-1), RangeError);
  assert.throws(() => new Random(1).reserve(1.5), RangeError);
});

test('uniform is the top 24 bits of bits', () => {
  const words = new Random(3).bits(1001);
  const values = new Random(3).uniform(1001);
  assert.ok(values.every((value, i) => value * 2 ** 24 === words[i]! >>> 8 && value < 1));
});

test('normal has the moments of a standard normal', () => {
  const n = 100_000;
  const values = new Random(5).normal(n);
  const moment = (power: number) => values.reduce((sum, value) => sum + value ** power, 0) / n;
  assert.ok(Math.abs(moment(1)) < 0.015, `mean ${moment(1)}`);
  assert.ok(Math.abs(moment(2) - 1) < 0.02, `second moment ${moment(2)}`);
  assert.ok(Math.abs(moment(3)) < 0.05, `third moment ${moment(3)}`);
  assert.ok(Math.abs(moment(4) - 3) < 0.15, `fourth moment ${moment(4)}`);
  const neighbours = values.reduce((sum, value, i) => sum + value * (values[i + 1] ?? 0), 0) / n;
  assert.ok(Math.abs(neighbours) < 0.015, `correlation of neighbours ${neighbours}`);
});

test('an odd count of normals begins like an even one and is finite', () => {
  const even = new Random(6).normal(8);
  assert.deepEqual(new Random(6).normal(7), even.slice(0, 7));
  assert.ok(even.every(Number.isFinite));
});

test('a permutation holds every position once and repeats for the same seed', () => {
  fc.assert(
    fc.property(word, fc.integer({ min: 0, max: 300 }), (seed, n) => {
      const order = new Random(seed).permutation(n);
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        [...Array(n).keys()],
      );
      assert.deepEqual(new Random(seed).permutation(n), order);
    }),
  );
});

test('a word that would bias a permutation is passed over', () => {
  const [seed, n] = [4, 60_000];
  const words = new Random(seed).bits(n + 64);
  const expected = [...Array(n).keys()];
  let used = 0;
  for (let bound = n; bound > 1; bound--) {
    while (words[used]! >= Math.floor(2 ** 32 / bound) * bound) used++;
    const j = words[used++]! % bound;
    [expected[bound - 1], expected[j]] = [expected[j]!, expected[bound - 1]!];
  }
  assert.equal(used, n, 'this seed has one such word');
  assert.deepEqual([...new Random(seed).permutation(n)], expected);
});

test('all 24 orders of four are about equally frequent', () => {
  const trials = 12_000;
  const seen = new Map<string, number>();
  const random = new Random(11);
  for (let i = 0; i < trials; i++) {
    const order = random.permutation(4).join('');
    seen.set(order, (seen.get(order) ?? 0) + 1);
  }
  const expected = trials / 24;
  const chi2 = [...seen.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  assert.equal(seen.size, 24);
  assert.ok(chi2 < 49.7, `chi squared ${chi2} at 23 degrees of freedom`);
});

test('forks depend on the name and the key, not on what was drawn', () => {
  const parent = new Random(1, 2);
  const before = parent.fork('weights').bits(6);
  parent.bits(100);
  assert.deepEqual(parent.fork('weights').bits(6), before);
  const others = [
    parent,
    parent.fork('batches'),
    new Random(2, 2).fork('weights'),
    new Random(1, 3).fork('weights'),
  ];
  for (const other of others) assert.notDeepEqual(other.bits(6), before);
});

test('a fork takes its key from FNV-1a of the name', () => {
  const { seed, stream } = new Random(1, 2).fork('foobar');
  assert.deepEqual([seed, stream], threefry2x32(1, 2, 0xbf9cf968, 1));
});

test('a seed that is no 32-bit integer is refused', () => {
  for (const seed of [-1, 0.5, 2 ** 32, Number.NaN]) {
    assert.throws(
      () => new Random(seed),
      (error) =>
        error instanceof FathomError && error.code === 'bad-seed' && error.message.includes(`${seed}`),
    );
  }
});
