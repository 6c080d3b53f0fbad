import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  blockDistances,
  type ComparisonOptions,
  type DistanceOptions,
  type FisherDiagonal,
  fisherDistance,
  intervals,
  mean,
} from '../algorithms/index.ts';
import { fisherDiagonals } from '../algorithms/testing.ts';
import { Random } from '../engine/index.ts';
import { failsWith } from './assertions.ts';

const close = (actual: number, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance * Math.max(1, expected), `${actual}, not ${expected}`);

const isHead = (name: string) => name.startsWith('head.');
const COMPARISONS: ComparisonOptions[] = (['trace', 'layer', 'none'] as const).flatMap((normalise) => [
  { normalise, head: 'zero-pad' },
  { normalise, head: 'drop', headNames: isHead },
]);
const OPTIONS: DistanceOptions[] = COMPARISONS.flatMap((comparison) => [
  { ...comparison, value: 'd' },
  { ...comparison, value: 'd2' },
]);

/** Three blocks of a source and of a target, of 10, 10 and 5 samples, with heads of unequal width. */
const blocks = fisherDiagonals(6, { heads: 'unequal' }).map((drawn) => {
  // Heads vary from diagonal to diagonal, and the blocks of one network share theirs.
  const [source, target] = [drawn.slice(0, 3), drawn.slice(3)].map((three) => {
    const head = new Map([...three[0]!.entries].filter(([name]) => isHead(name)));
    return three.map(({ entries }, b) => ({
      entries: new Map([...entries, ...head]),
      samples: [10, 10, 5][b]!,
    }));
  });
  return { source: source!, target: target! };
});

/** The mean over blocks, each counted so often. */
function meanOf(all: readonly FisherDiagonal[], counts: readonly number[]) {
  const weights = all.map(({ samples }, b) => samples * counts[b]!);
  const total = weights.reduce((a, b) => a + b);
  const entries = [...all[0]!.entries].map(([name, { shape }]) => {
    const data = Float64Array.from(all[0]!.entries.get(name)!.data, (_, i) =>
      all.reduce((sum, block, b) => sum + (weights[b]! / total) * block.entries.get(name)!.data[i]!, 0),
    );
    return [name, { shape, data }] as const;
  });
  return { entries: new Map(entries) };
}

test('the distance, its prefixes and its replicates are those of weighted means of the blocks', () => {
  fc.assert(
    fc.property(blocks, fc.constantFrom(...OPTIONS), fc.nat(), ({ source, target }, options, seed) => {
      const between = (counts: number[]) => {
        return fisherDistance(meanOf(source, counts), meanOf(target, counts), options);
      };
      const found = blockDistances(source, target, { ...options, replicates: 10, random: new Random(seed) });
      close(found.distance, between([1, 1, 1]));
      assert.deepEqual(
        found.prefixes.map(({ samples }) => samples),
        [10, 20, 25],
      );
      for (const [k, { distance }] of found.prefixes.entries()) {
        close(distance, between([0, 1, 2].map((b) => (b <= k ? 1 : 0))));
      }
      // Two of the three blocks are drawn, so each replicate is one of six.
      const possible = [
        [2, 0, 0],
        [0, 2, 0],
        [0, 0, 2],
        [1, 1, 0],
        [1, 0, 1],
        [0, 1, 1],
      ].map(between);
      for (const replicate of found.replicates) {
        assert.ok(possible.some((d) => Math.abs(d - replicate) <= 1e-12 * Math.max(1, d)));
      }
    }),
  );
});

test('equal Fishers have distance 0 exactly, in every replicate', () => {
  fc.assert(
    fc.property(blocks, fc.constantFrom(...OPTIONS), ({ target }, options) => {
      const copy = structuredClone(target);
      const { distance, prefixes, replicates } = blockDistances(copy, target, {
        ...options,
        replicates: 5,
        random: new Random(1),
      });
      assert.equal(distance, 0);
      assert.ok(prefixes.every((prefix) => prefix.distance === 0));
      assert.ok(replicates.every((replicate) => replicate === 0));
    }),
  );
});

/** Blocks of 10 samples of squared gradients: `scale` times those of a normal variable. */
function drawnBlocks(scale: readonly number[], count: number, random: Random): FisherDiagonal[] {
  return Array.from({ length: count }, () => {
    const data = Float32Array.from(scale, (value) => {
      return random.normal(10).reduce((sum, x) => sum + (value * x * x) / 10, 0);
    });
    return { samples: 10, entries: new Map([['fc.weight', { shape: [scale.length], data }]]) };
  });
}

test('sources given one stream are resampled alike, those of another otherwise', () => {
  const [f, g] = [1, 2].map((seed) => drawnBlocks([1, 2, 3, 4], 6, new Random(seed)));
  const replicates = (seed: number) =>
    blockDistances(f!, g!, { replicates: 20, random: new Random(seed) }).replicates;
  assert.deepEqual(replicates(5), replicates(5));
  assert.notDeepEqual(replicates(5), replicates(6));
});

test('one block has nothing to resample', () => {
  const [f, g] = [1, 2].map((seed) => drawnBlocks([1, 2, 3, 4], 1, new Random(seed)));
  const { distance, replicates } = blockDistances(f!, g!, { replicates: 3, random: new Random(1) });
  assert.deepEqual([...replicates], [distance, distance, distance]);
});

test('an interval over samples holds the distance on samples without end', () => {
  const random = new Random(8);
  const parameters = 100;
  const [p, q] = [0, 1].map(() => Array.from(random.uniform(parameters), (u) => 0.05 + u));
  const exact = (scale: readonly number[]): FisherDiagonal => {
    const data = Float32Array.from(scale);
    return { samples: 1, entries: new Map([['fc.weight', { shape: [parameters], data }]]) };
  };
  const truth = fisherDistance(exact(p!), exact(q!));
  const cases = 100;
  let [held, percentile] = [0, 0];
  const measured: number[] = [];
  for (let i = 0; i < cases; i++) {
    const [f, g] = [p, q].map((scale) => drawnBlocks(scale!, 16, random));
    const stream = random.fork(`${i}`);
    const { distance, replicates } = blockDistances(f!, g!, { replicates: 50, random: stream });
    const samples = { distance: [[distance]], replicates: [[replicates]] };
    const [interval] = intervals(samples, 'samples', 0.95, { random: stream, draws: 500 })!;
    if (interval!.lower <= truth && truth <= interval!.upper) held++;
    measured.push(distance);
    const sorted = [...replicates].sort((a, b) => a - b);
    if (sorted[1]! <= truth && truth <= sorted[48]!) percentile++;
  }
  assert.ok(held >= 0.85 * cases, `${held} of ${cases}`);
  // Why draws are taken to the other side of the measured distance.
  assert.ok(mean(measured) > truth);
  assert.ok(percentile < 0.6 * cases, `${percentile}`);
});

test('a resampling without any gradient counts 1; no blocks, or unlike ones, are an error', () => {
  const zero: FisherDiagonal = {
    samples: 10,
    entries: new Map([['fc.weight', { shape: [2], data: new Float32Array(2) }]]),
  };
  const full = () => drawnBlocks([1, 2], 2, new Random(1));
  const settings = { replicates: 20, random: new Random(2) };
  const [first, second] = full();
  const { prefixes, replicates } = blockDistances([zero, first!], [first!, second!], settings);
  assert.equal(prefixes[0]!.distance, 1);
  assert.ok(replicates.some((replicate) => replicate === 1));
  assert.throws(() => blockDistances([zero], [zero], settings), failsWith('fisher-zero'));
  const mismatch = (what: RegExp) => failsWith('block-mismatch', what);
  assert.throws(() => blockDistances([], [], settings), mismatch(/no samples/));
  assert.throws(() => blockDistances(full(), full().slice(1), settings), mismatch(/10, 10 samples .* 10$/));
  const other = drawnBlocks([1, 2, 3], 1, new Random(1));
  const mixed = [first!, other[0]!];
  assert.throws(() => blockDistances(mixed, mixed, settings), mismatch(/different networks/));
});
