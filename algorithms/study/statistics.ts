import type { Random } from '../../engine/index.ts';
import { intervals, type Ranking, rankSources, type SourceDistances } from '../statistics/bootstrap.ts';
import { mean, standardDeviation } from '../statistics/summary.ts';
import type { StudyResults } from './results.ts';

export interface StudyDistances {
  /** [trial][source][target] */
  trials: readonly (readonly (readonly number[])[])[];
  /** [trial][source][target][r], where Fishers were kept by blocks. */
  replicates?: readonly (readonly (readonly ArrayLike<number>[])[])[];
}

export interface StudyStatistics {
  distance: StudyResults['distance'];
  closest: number[];
  /** By target; its indices are of tasks, the target's own entries are 0. */
  rankings: (Ranking & { target: number })[];
}

/** Means, spreads, intervals and rankings of a study's distances. The same stream gives the same numbers. */
export function studyStatistics(
  distances: StudyDistances,
  { level, random, draws }: { level: number; random: Random; draws?: number },
): StudyStatistics {
  const { trials } = distances;
  const tasks = trials[0]!.map((_, i) => i);
  const over = (of: (values: number[]) => number) =>
    tasks.map((s) => tasks.map((t) => of(trials.map((trial) => trial[s]![t]!))));
  const targets = tasks.map((target) => {
    const sources = tasks.filter((task) => task !== target);
    return { target, sources, samples: columnOf(distances, sources, target) };
  });
  const stream = (target: number) => ({ random: random.fork(`target ${target}`), draws });
  const boundsOver = (varied: 'trials' | 'samples') => {
    const [lower, upper] = [tasks, tasks].map(() => tasks.map(() => tasks.map(() => 0)));
    for (const { target, sources, samples } of targets) {
      const found = sources.length > 0 && intervals(samples, varied, level, stream(target));
      if (!found) return null;
      for (const [i, source] of sources.entries()) {
        lower![source]![target] = found[i]!.lower;
        upper![source]![target] = found[i]!.upper;
      }
    }
    return { lower: lower!, upper: upper! };
  };
  const rankings = targets.map(({ target, sources, samples }) => {
    const { order, wins, probability } =
      sources.length > 0 ? rankSources(samples, stream(target)) : { order: [], wins: [], probability: [] };
    const byTask = (values: number[]) => tasks.map((task) => values[sources.indexOf(task)] ?? 0);
    return {
      target,
      order: order.map((i) => sources[i]!),
      wins: byTask(wins),
      probability: byTask(probability),
    };
  });
  return {
    distance: {
      trials: trials.map((trial) => trial.map((row) => [...row])),
      mean: over(mean),
      sigma: over(standardDeviation),
      meanSquared: over((values) => mean(values.map((value) => value ** 2))),
      level,
      overTrials: boundsOver('trials'),
      overSamples: boundsOver('samples'),
    },
    closest: rankings.map(({ order }) => order[0] ?? -1),
    rankings,
  };
}

/** The distances of some sources to one target. */
export function columnOf(
  { trials, replicates }: StudyDistances,
  sources: readonly number[],
  target: number,
): SourceDistances {
  return {
    distance: trials.map((trial) => sources.map((source) => trial[source]![target]!)),
    replicates: replicates?.map((trial) => sources.map((source) => trial[source]![target]!)),
  };
}

/** Distance between two trainings of one task: by trial, and its mean by task. */
export function noiseFloor(trials: readonly (readonly number[])[]): StudyResults['floor'] {
  const tasks = trials[0]?.map((_, task) => mean(trials.map((trial) => trial[task]!)));
  return { trials: trials.map((trial) => [...trial]), mean: tasks ?? [] };
}
