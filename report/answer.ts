import type { StudyResults } from '../algorithms/study/results.ts';

/** What a study says of one target. */
export interface Answer {
  target: number;
  /** The closest source; undefined where there is no other task. */
  source?: number;
  distance: number;
  /** Over trials; undefined for a single one. */
  sigma?: number;
  /** That it is really the closest; undefined where neither trials nor samples say anything on it. */
  probability?: number;
  /** Sources that may as well be the closest, the likeliest first. */
  ties: number[];
  /** The distance as a multiple of the noise floor; undefined where there is none. */
  timesFloor?: number;
}

/** Sources with at least this probability of being the closest tie with the first where that is not sure. */
const TIE = 0.05;

/** The answer for every target. */
export function answers({ distance, closest, rankings, floor }: StudyResults): Answer[] {
  const single = distance.trials.length < 2;
  const known = !single || distance.overSamples !== null;
  return rankings.map(({ target, order, probability }) => {
    const source = order.length > 0 ? closest[target]! : undefined;
    if (source === undefined) return { target, distance: 0, ties: [] };
    const sure = probability[source]! >= distance.level;
    const value = distance.mean[source]![target]!;
    const noise = floor.mean[target];
    return {
      target,
      source,
      distance: value,
      sigma: single ? undefined : distance.sigma[source]![target]!,
      probability: known ? probability[source]! : undefined,
      ties:
        sure || !known
          ? []
          : order
              .filter((other) => other !== source && probability[other]! >= TIE)
              .sort((a, b) => probability[b]! - probability[a]!),
      timesFloor: noise === undefined || noise === 0 ? undefined : value / noise,
    };
  });
}

/** A probability in per cent; what is not certain is never called 0 or 100. */
export function percentage(probability: number): string {
  if (probability > 0 && probability < 0.01) return 'under 1 %';
  if (probability < 1 && probability > 0.99) return 'over 99 %';
  return `${Math.round(100 * probability)} %`;
}

/** A distance with its spread. */
export function spread(mean: number, sigma?: number): string {
  return sigma === undefined ? mean.toFixed(3) : `${mean.toFixed(3)} ± ${sigma.toFixed(3)}`;
}
