import { smallest } from './bootstrap.ts';
import { kendall } from './correlation.ts';
import { mean } from './summary.ts';

export interface Stability {
  samples: number;
  /** Share of the trials in which the closest source is that of all samples. */
  sameFirst: number;
  /** Kendall's tau-b of the order of sources with that of all samples, mean over trials. */
  kendall: number;
}

/**
 * How a target's order of sources settles as samples grow.
 * @param prefixes distance[trial][source] on growing numbers of samples, the last on all
 */
export function stability(
  prefixes: readonly { samples: number; distance: readonly (readonly number[])[] }[],
): Stability[] {
  const last = prefixes.at(-1)!.distance;
  return prefixes.map(({ samples, distance }) => ({
    samples,
    sameFirst: mean(distance.map((trial, i) => (smallest(trial)[0] === smallest(last[i]!)[0] ? 1 : 0))),
    kendall: mean(distance.map((trial, i) => orderAgreement(trial, last[i]!))),
  }));
}

/** Tau-b, but 1 for two alike orders and 0 where only one says nothing, both of which it leaves undefined. */
function orderAgreement(a: readonly number[], b: readonly number[]): number {
  const [flatA, flatB] = [a, b].map((values) => values.every((value) => value === values[0]));
  if (flatA || flatB) return flatA && flatB ? 1 : 0;
  return kendall(a, b);
}
