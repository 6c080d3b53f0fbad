import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decideEarly,
  intervals,
  mean,
  rankSources,
  type SourceDistances,
  stability,
} from '../algorithms/index.ts';
import { studyResultsSchema } from '../algorithms/study/results.ts';
import { noiseFloor, studyStatistics } from '../algorithms/study/statistics.ts';
import { Random } from '../engine/index.ts';
import { failsWith } from './assertions.ts';

const close = (actual: number, expected: number, tolerance = 1e-12) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual}, not ${expected}`);

const random = () => new Random(11);

/** Distances of sources with such true means, spread over trials. */
function drawnTrials(means: readonly number[], trials: number, spread: number, stream: Random): number[][] {
  return Array.from({ length: trials }, () => {
    return [...stream.normal(means.length)].map((value, source) => means[source]! + spread * value);
  });
}

test('what does not vary has no interval; a single trial is ranked by its samples alone', () => {
  const alone: SourceDistances = { distance: [[0.3, 0.2]] };
  for (const varied of ['trials', 'samples', 'both'] as const) {
    assert.equal(intervals(alone, varied, 0.95, { random: random() }), undefined);
  }
  assert.deepEqual(rankSources(alone, { random: random() }), {
    order: [1, 0],
    wins: [0, 1],
    probability: [0, 1],
  });
  const tied = rankSources({ distance: [[0.2, 0.2, 0.3]] }, { random: random() });
  assert.deepEqual(tied, { order: [0, 1, 2], wins: [1, 0, 0], probability: [0.5, 0.5, 0] });

  const sampled = {
    ...alone,
    replicates: [
      [
        [0.3, 0.34],
        [0.2, 0.38],
      ],
    ],
  };
  assert.equal(intervals(sampled, 'trials', 0.95, { random: random() }), undefined);
  const [samples, both] = (['samples', 'both'] as const).map((varied) => {
    return intervals(sampled, varied, 0.95, { random: random() });
  });
  assert.deepEqual(samples, both);
  // 2 * measured - replicate: 0.3 or 0.26 against 0.2 or 0.02.
  close(samples![0]!.lower, 0.26);
  close(samples![0]!.upper, 0.3);
  assert.deepEqual(rankSources(sampled, { random: random() }).probability, [0, 1]);
});

test('probabilities are shares: they sum to 1, follow the sources about, and one stream gives one result', () => {
  const distances = fc
    .record({
      trials: fc.integer({ min: 1, max: 4 }),
      sources: fc.integer({ min: 1, max: 5 }),
      seed: fc.nat(),
    })
    .map(({ trials, sources, seed }): SourceDistances => {
      const stream = new Random(seed);
      const row = () => Array.from(stream.uniform(sources), (value) => Math.round(8 * value) / 8);
      const distance = Array.from({ length: trials }, row);
      const replicates = distance.map((trial) => trial.map((d) => stream.uniform(20).map((u) => d + u / 4)));
      return { distance, replicates };
    });
  fc.assert(
    fc.property(distances, fc.nat(), (samples, seed) => {
      const { order, wins, probability } = rankSources(samples, { random: random(), draws: 200 });
      close(
        probability.reduce((a, b) => a + b),
        1,
        1e-9,
      );
      assert.equal(
        wins.reduce((a, b) => a + b),
        samples.distance.length,
      );
      const means = order.map((source) => mean(samples.distance.map((trial) => trial[source]!)));
      assert.deepEqual(
        means,
        [...means].sort((a, b) => a - b),
      );
      assert.deepEqual(rankSources(samples, { random: random(), draws: 200 }).probability, probability);
      const moved = [...new Random(seed).permutation(order.length)];
      const again = rankSources(
        {
          distance: samples.distance.map((trial) => moved.map((source) => trial[source]!)),
          replicates: samples.replicates!.map((trial) => moved.map((source) => trial[source]!)),
        },
        { random: random(), draws: 200 },
      );
      for (const [i, source] of moved.entries()) close(again.probability[i]!, probability[source]!, 1e-9);
    }),
    { numRuns: 50 },
  );
});

test('intervals over trials hold the true mean as often as they say, however few the trials', () => {
  const cases = 300;
  for (const trials of [2, 4]) {
    const stream = new Random(4).fork(`${trials}`);
    let held = 0;
    for (let i = 0; i < cases; i++) {
      const samples = { distance: drawnTrials([0.5], trials, 0.02, stream) };
      const [interval] = intervals(samples, 'trials', 0.95, { random: stream.fork(`${i}`), draws: 400 })!;
      if (interval!.lower <= 0.5 && interval!.upper >= 0.5) held++;
    }
    // Three deviations of a share of 300.
    close(held / cases, 0.95, 0.038);
  }
});

test('a wrong source is called the first with 0.95 in at most 5 % of cases', () => {
  const cases = 300;
  for (const trials of [2, 4]) {
    const stream = new Random(7).fork(`${trials}`);
    let wrong = 0;
    for (let i = 0; i < cases; i++) {
      const samples = { distance: drawnTrials([0.5, 0.5 + 1e-6], trials, 0.02, stream) };
      const { probability } = rankSources(samples, { random: stream.fork(`${i}`), draws: 400 });
      if (probability[1]! >= 0.95) wrong++;
    }
    close(wrong / cases, 0.05, 0.038);
  }
});

test('the probability of being first is even between equals and sure of a source that is far ahead', () => {
  const stream = new Random(6);
  const found = Array.from({ length: 60 }, (_, i) => {
    const options = { random: stream.fork(`${i}`), draws: 400 };
    const equals = rankSources({ distance: drawnTrials([0.5, 0.5], 10, 0.1, stream) }, options);
    const ahead = rankSources({ distance: drawnTrials([0.3, 0.7], 10, 0.1, stream) }, options);
    return [equals.probability[0]!, ahead.probability[0]!];
  });
  close(mean(found.map(([equal]) => equal!)), 0.5, 0.15);
  assert.ok(found.every(([, ahead]) => ahead! > 0.999));
});

test('what trials owe to the samples they share is not averaged away', () => {
  const replicates = [0.5, 0.46, 0.54, 0.42, 0.58];
  const trials = (count: number): SourceDistances => ({
    distance: Array.from({ length: count }, () => [0.5]),
    replicates: Array.from({ length: count }, () => [replicates]),
  });
  const of = (count: number) => intervals(trials(count), 'both', 0.95, { random: random() })![0]!;
  close(of(5).lower, of(1).lower);
  close(of(5).upper, of(1).upper);
});

/** Block values with the mean 0 and the deviation 1. */
const NOISE: Record<string, (stream: Random, blocks: number) => number[]> = {
  normal: (stream, blocks) => [...stream.normal(blocks)],
  skewed: (stream, blocks) => Array.from(stream.uniform(blocks), (u) => -Math.log(1 - u) - 1),
};

/** What a target's sources look like after so many blocks, distances being means over blocks. */
function look(values: readonly (readonly number[])[], blocks: number, stream: Random) {
  const over = (all: readonly number[], weights: ArrayLike<number>) =>
    all.slice(0, blocks).reduce((sum, value, b) => sum + weights[b]! * value, 0);
  const even = new Float64Array(blocks).fill(1 / blocks);
  const drawn = Array.from({ length: 50 }, () => {
    const weights = new Float64Array(blocks);
    for (const u of stream.uniform(blocks - 1)) weights[Math.floor(u * blocks)]! += 1 / (blocks - 1);
    return weights;
  });
  return {
    distance: [values.map((all) => over(all, even))],
    replicates: [values.map((all) => drawn.map((weights) => over(all, weights)))],
  };
}

test('an early stop is wrong at most as often as its level allows, however often it looks', () => {
  const level = 0.95;
  const [from, most] = [4, 16];
  for (const [name, noise] of Object.entries(NOISE)) {
    // All but equal sources are where a wrong one is likeliest to be taken for the first.
    for (const gap of [1e-6, 0.3]) {
      const stream = new Random(9).fork(`${name} ${gap}`);
      let [wrong, cases] = [0, 300];
      for (let i = 0; i < cases; i++) {
        const values = [0, gap].map((truth) => noise(stream, most).map((value) => 10 + truth + value));
        for (let blocks = from; blocks <= most; blocks++) {
          const settings = { blocks, level, looks: most - from + 1 };
          const { stop, source } = decideEarly(look(values, blocks, stream), settings);
          if (!stop) continue;
          if (source !== 0) wrong++;
          break;
        }
      }
      assert.ok(wrong / cases <= 1 - level, `${name}, gap ${gap}: ${wrong} of ${cases} wrong`);
    }
  }
});

test('an early stop comes at once where a source is far ahead, and never at a tie or on one block', () => {
  const stream = new Random(3);
  const noise = () => [...stream.normal(4)].map((value) => value / 100);
  const values = [0.5, 0.2, 0.4].map((truth) => noise().map((value) => truth + value));
  const settings = { blocks: 4, level: 0.95, looks: 10 };
  const early = decideEarly(look(values, 4, stream), settings);
  assert.ok(early.stop && early.source === 1 && early.probability > 0.995);
  const near = look([values[0]!, values[0]!.map((value, b) => value + 0.01 * (b + 1))], 4, stream);
  const [once, often] = [1, 50].map((looks) => decideEarly(near, { ...settings, looks }));
  assert.ok(once!.probability > 0.95 && once!.probability < 0.999, `${once!.probability}`);
  assert.deepEqual([once!.stop, often!.stop], [true, false], 'many looks ask for more');
  const tied = decideEarly(look([values[0]!, values[0]!], 4, stream), settings);
  assert.deepEqual(tied, { stop: false, source: 0, probability: 0.5 });
  assert.ok(!decideEarly(look(values, 1, stream), { ...settings, blocks: 1 }).stop);
  assert.ok(decideEarly(look([values[0]!], 4, stream), settings).stop);
});

test('stability compares each trial with what it found on all samples', () => {
  const final = [
    [0.1, 0.2, 0.3],
    [0.3, 0.1, 0.2],
  ];
  const early = [
    [0.2, 0.1, 0.3],
    [0.3, 0.1, 0.2],
  ];
  assert.deepEqual(
    stability([
      { samples: 10, distance: early },
      { samples: 20, distance: final },
    ]),
    [
      { samples: 10, sameFirst: 0.5, kendall: (1 / 3 + 1) / 2 },
      { samples: 20, sameFirst: 1, kendall: 1 },
    ],
  );
  const [single] = stability([{ samples: 1, distance: [[0.4]] }]);
  assert.deepEqual(single, { samples: 1, sameFirst: 1, kendall: 1 });
});

test('the statistics of a study are what results.json holds', () => {
  const trials = [
    [
      [0, 0.3, 0.5],
      [0.2, 0, 0.4],
      [0.1, 0.6, 0],
    ],
    [
      [0, 0.2, 0.5],
      [0.4, 0, 0.6],
      [0.5, 0.5, 0],
    ],
  ];
  const settings = { level: 0.9, random: random() };
  const { distance, closest, rankings } = studyStatistics({ trials }, settings);
  const { shape } = studyResultsSchema;
  assert.deepEqual(shape.distance.parse(distance), distance);
  assert.deepEqual(shape.closest.parse(closest), closest);
  close(distance.mean[1]![2]!, 0.5);
  close(distance.sigma[1]![2]!, Math.SQRT2 / 10);
  close(distance.meanSquared[1]![2]!, 0.26);
  const { lower, upper } = distance.overTrials!;
  assert.deepEqual([lower[1]![1], upper[1]![1]], [0, 0]);
  // Student's t of one degree of freedom is 6.3 at 95 %: 0.5 ± 6.3 * 0.1.
  assert.ok(lower[1]![2] === 0 && Math.abs(upper[1]![2]! - 1.13) < 0.15, `${upper[1]![2]}`);
  assert.equal(distance.overSamples, null);
  assert.deepEqual(closest, [2, 0, 0]);
  assert.deepEqual(rankings[0]!.order, [2, 1]);
  assert.deepEqual(rankings[0]!.wins, [0, 1, 1]);
  assert.equal(rankings[0]!.probability[0], 0);
  assert.ok(rankings[1]!.probability[0]! > rankings[1]!.probability[2]!);

  const replicates = trials.map((trial) => trial.map((row) => row.map((d) => [d, d && d + 0.02])));
  const sampled = studyStatistics(
    { trials: trials.slice(0, 1), replicates: replicates.slice(0, 1) },
    settings,
  );
  assert.equal(sampled.distance.overTrials, null);
  close(sampled.distance.overSamples!.lower[1]![0]!, 0.18);
  close(sampled.distance.overSamples!.upper[1]![0]!, 0.2);

  const alone = studyStatistics({ trials: [[[0]]] }, settings);
  assert.deepEqual(alone.closest, [-1]);
  assert.deepEqual(alone.rankings, [{ target: 0, order: [], wins: [0], probability: [0] }]);
  assert.deepEqual(
    noiseFloor([
      [0.1, 0.2],
      [0.3, 0.2],
    ]).mean,
    [0.2, 0.2],
  );
  assert.deepEqual(noiseFloor([]), { trials: [], mean: [] });
});

test('distances of unlike shapes are an error', () => {
  const options = { random: random() };
  assert.throws(() => rankSources({ distance: [] }, options), failsWith('bad-distances'));
  assert.throws(() => rankSources({ distance: [[1, 2], [1]] }, options), failsWith('bad-distances'));
  assert.throws(
    () => rankSources({ distance: [[1, 2]], replicates: [[[1], [1, 2]]] }, options),
    failsWith('bad-distances'),
  );
});
