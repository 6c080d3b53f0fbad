import type { StudyResults } from '../algorithms/study/results.ts';

type Cell = string | number | undefined;

/** Every distance of every trial: source, target, trial, distance. */
export function matrixCsv({ tasks, distance }: StudyResults): string {
  const rows = distance.trials.flatMap((matrix, trial) =>
    pairs(tasks.length).map(([s, t]) => [tasks[s]!.name, tasks[t]!.name, trial, matrix[s]![t]!]),
  );
  return csv(['source', 'target', 'trial', 'distance'], rows);
}

/** A line for each pair of tasks; what was not measured is left empty. */
export function summaryCsv({ tasks, distance, floor, rankings }: StudyResults): string {
  const { mean, sigma, overTrials, overSamples, trials } = distance;
  const bounds = (of: typeof overTrials, s: number, t: number): Cell[] =>
    of ? [of.lower[s]![t]!, of.upper[s]![t]!] : [undefined, undefined];
  const single = trials.length < 2;
  const head = [
    ...['source', 'target', 'mean', 'sigma', 'lower_over_trials', 'upper_over_trials'],
    ...['lower_over_samples', 'upper_over_samples', 'floor', 'rank', 'wins', 'probability_first'],
  ];
  const rows = pairs(tasks.length).map(([s, t]): Cell[] => {
    const ranking = rankings.find(({ target }) => target === t);
    return [
      ...[tasks[s]!.name, tasks[t]!.name, mean[s]![t]!, single ? undefined : sigma[s]![t]!],
      ...bounds(overTrials, s, t),
      ...bounds(overSamples, s, t),
      floor.mean[t],
      ...(ranking && s !== t
        ? [ranking.order.indexOf(s) + 1, ranking.wins[s], ranking.probability[s]]
        : [undefined, undefined, undefined]),
    ];
  });
  return csv(head, rows);
}

function pairs(tasks: number): [source: number, target: number][] {
  return Array.from({ length: tasks ** 2 }, (_, i) => [Math.floor(i / tasks), i % tasks]);
}

/** RFC 4180, but with plain newlines. */
function csv(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [head, ...rows].map((row) => `${row.map(quoted).join(',')}\n`).join('');
}

function quoted(cell: Cell): string {
  const text = String(cell ?? '');
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
