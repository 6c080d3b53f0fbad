import { kendall, mean, spearman } from '../algorithms/index.ts';
import type { StudyResults } from '../algorithms/study/results.ts';
import { FathomError } from '../engine/index.ts';

/** A pair of tasks in two studies. */
export interface PairComparison {
  source: string;
  target: string;
  /** Means over trials. */
  a: number;
  b: number;
  /** b - a. */
  difference: number;
  /**
   * Standard error of the difference: the root of the sum of both variances over trials, each over its trials; null
   * where a study has a single trial.
   */
  error: number | null;
  /** The difference in standard errors (Welch's t); null where there is none, or neither study varies. */
  t: number | null;
}

export interface TargetComparison {
  target: string;
  /** Closest sources among the tasks in common. */
  closestA: string;
  closestB: string;
  /** Kendall's tau-b of the two orders of sources; null where an order says nothing. */
  kendall: number | null;
}

/** Two studies, task by task; tasks are the same where their names are. */
export interface StudyComparison {
  tasks: string[];
  onlyA: string[];
  onlyB: string[];
  pairs: PairComparison[];
  targets: TargetComparison[];
  /** Spearman's correlation of the distances of all pairs; null where one side is constant. */
  spearman: number | null;
  /** What was declared or used differently, by its path. */
  settings: { path: string; a: unknown; b: unknown }[];
}

/**
 * Compares the distances of two studies.
 * @throws FathomError `nothing-in-common` where fewer than two tasks have the same name in both
 */
export function compareStudies(a: StudyResults, b: StudyResults): StudyComparison {
  const names = { a: a.tasks.map(({ name }) => name), b: b.tasks.map(({ name }) => name) };
  const tasks = names.a.filter((name) => names.b.includes(name));
  if (tasks.length < 2) {
    throw new FathomError({
      code: 'nothing-in-common',
      message: `"${a.study.name}" and "${b.study.name}" have ${tasks.length === 0 ? 'no task' : `only the task "${tasks[0]}"`} in common`,
      fix: 'Compare studies in which at least two tasks have the same name',
    });
  }
  const side = (results: StudyResults, name: string) => results.tasks.findIndex((task) => task.name === name);
  const pairs = tasks.flatMap((target) =>
    tasks
      .filter((source) => source !== target)
      .map((source) => {
        const [inA, inB] = [a, b].map((results) => {
          const [s, t] = [side(results, source), side(results, target)];
          const { distance } = results;
          return {
            mean: distance.mean[s]![t]!,
            sigma: distance.sigma[s]![t]!,
            trials: distance.trials.length,
          };
        }) as [Measured, Measured];
        return { source, target, ...difference(inA, inB) };
      }),
  );
  return {
    tasks,
    onlyA: names.a.filter((name) => !names.b.includes(name)),
    onlyB: names.b.filter((name) => !names.a.includes(name)),
    pairs,
    targets: tasks.map((target) => {
      const column = pairs.filter((pair) => pair.target === target);
      const closest = (of: 'a' | 'b') =>
        column.reduce((best, pair) => (pair[of] < best[of] ? pair : best)).source;
      return {
        target,
        closestA: closest('a'),
        closestB: closest('b'),
        kendall: defined(
          kendall(
            column.map((pair) => pair.a),
            column.map((pair) => pair.b),
          ),
        ),
      };
    }),
    spearman: defined(
      spearman(
        pairs.map((pair) => pair.a),
        pairs.map((pair) => pair.b),
      ),
    ),
    settings: differences(settingsOf(a), settingsOf(b)),
  };
}

interface Measured {
  mean: number;
  sigma: number;
  trials: number;
}

function difference(a: Measured, b: Measured): Omit<PairComparison, 'source' | 'target'> {
  const apart = b.mean - a.mean;
  const error =
    a.trials < 2 || b.trials < 2 ? null : Math.sqrt(a.sigma ** 2 / a.trials + b.sigma ** 2 / b.trials);
  return { a: a.mean, b: b.mean, difference: apart, error, t: error ? apart / error : null };
}

/** What a reader may want to know when numbers differ: the declaration, and what it ran with. */
function settingsOf({ version, study, provenance, tasks }: StudyResults): Map<string, unknown> {
  const { estimator, network, parameters, seeds, adapters, data } = provenance;
  const flat = new Map<string, unknown>();
  flatten('study', study, flat);
  flatten('used', { fathom: version, estimator, network, parameters, seeds }, flat);
  flatten('used.adapters', adapters.map(({ label, driver }) => `${label} (${driver} driver)`).sort(), flat);
  for (const { name, hash } of data) flat.set(`data.${name}`, hash);
  for (const { name, hash } of tasks) flat.set(`task.${name}`, hash);
  return flat;
}

function flatten(path: string, value: unknown, into: Map<string, unknown>): void {
  // A list is told apart as a whole: by place, one entry more would make all after it differ.
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flatten(`${path}.${key}`, inner, into);
  } else into.set(path, value);
}

function differences(a: Map<string, unknown>, b: Map<string, unknown>): StudyComparison['settings'] {
  const paths = [...new Set([...a.keys(), ...b.keys()])];
  return (
    paths
      // A task or a data set that one side alone has is named elsewhere.
      .filter((path) => !/^(task|data)\./.test(path) || (a.has(path) && b.has(path)))
      .filter((path) => JSON.stringify(a.get(path)) !== JSON.stringify(b.get(path)))
      .map((path) => ({ path, a: a.get(path) ?? null, b: b.get(path) ?? null }))
  );
}

function defined(correlation: number): number | null {
  return Number.isNaN(correlation) ? null : correlation;
}

/** The largest and the mean absolute difference, and how many pairs are more than two standard errors apart. */
export function overview({ pairs }: StudyComparison): {
  largest: PairComparison;
  mean: number;
  apart: number;
} {
  const sizes = pairs.map(({ difference }) => Math.abs(difference));
  return {
    largest: pairs[sizes.indexOf(Math.max(...sizes))]!,
    mean: mean(sizes),
    apart: pairs.filter(({ t }) => t !== null && Math.abs(t) > 2).length,
  };
}
