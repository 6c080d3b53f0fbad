import type { TopLevelSpec } from 'vega-lite';
import type { StudyResults } from '../algorithms/study/results.ts';
import { CHART, COLOURS, numbered } from './theme.ts';

/** Small panels, one a task, as many beside each other as fit. */
function panels(most: number, tasks: number) {
  const columns = Math.min(tasks, Math.max(2, Math.floor(most / (tasks > 8 ? 170 : 235))));
  return { columns, width: Math.floor((Math.min(most, 250 * columns) - 46) / columns) - 16 };
}

/**
 * What the networks learnt, epoch by epoch, a panel for each task that has it: a thin line for each trial, a thick one
 * for their mean as far as all go. Undefined where no task has it.
 */
export function learningChart(
  { tasks, networks }: Pick<StudyResults, 'tasks' | 'networks'>,
  what: 'accuracy' | 'loss',
  most: number,
): TopLevelSpec | undefined {
  const labels = numbered(
    tasks.map(({ name }) => name),
    18,
  );
  const own = networks.filter(
    ({ copy, epochs }) => copy === 0 && epochs.every((epoch) => epoch[what] !== null),
  );
  const shown = tasks.map((_, i) => i).filter((i) => own.some(({ task }) => task === i));
  if (shown.length === 0) return undefined;
  const lines = own.flatMap(({ task, trial, epochs }) =>
    epochs.map((epoch, i) => ({ task: labels[task], trial, epoch: i + 1, value: epoch[what]! })),
  );
  const means = shown.flatMap((task) => {
    const runs = own.filter((network) => network.task === task).map(({ epochs }) => epochs);
    const shortest = Math.min(...runs.map((run) => run.length));
    return Array.from({ length: shortest }, (_, i) => ({
      task: labels[task],
      epoch: i + 1,
      value: runs.reduce((sum, run) => sum + run[i]![what]!, 0) / runs.length,
    }));
  });
  const values = [...lines, ...means.map((each) => ({ ...each, trial: -1 }))];
  const longest = Math.max(...lines.map(({ epoch }) => epoch));
  const { columns, width } = panels(most, shown.length);
  const encoding = {
    x: {
      field: 'epoch',
      type: 'quantitative' as const,
      title: 'epoch',
      scale: { domain: [1, Math.max(2, longest)], nice: false },
      axis: { values: wholeTicks(longest), format: 'd', grid: false },
    },
    y: {
      field: 'value',
      type: 'quantitative' as const,
      title: null,
      scale: { zero: false },
      axis: { tickCount: 4, domain: false, ticks: false },
    },
  };
  const single = longest === 1;
  return {
    ...CHART,
    data: { values },
    facet: { field: 'task', type: 'nominal', sort: labels, title: null, header: { labelLimit: width } },
    columns,
    spacing: 14,
    spec: {
      width,
      height: Math.round(width * 0.55),
      layer: [
        {
          transform: [{ filter: 'datum.trial >= 0' }],
          mark: single
            ? { type: 'point', color: COLOURS.main, opacity: 0.6 }
            : { type: 'line', color: COLOURS.main, strokeWidth: 1, opacity: 0.6 },
          encoding: { ...encoding, detail: { field: 'trial' } },
        },
        {
          transform: [{ filter: 'datum.trial < 0' }],
          mark: single
            ? { type: 'point', color: COLOURS.accent, filled: true, size: 50, opacity: 1 }
            : { type: 'line', color: COLOURS.accent, strokeWidth: 2.5 },
          encoding,
        },
      ],
    },
  };
}

/** At most five whole numbers from 1 on, evenly spaced. */
function wholeTicks(last: number): number[] {
  const step = Math.max(1, Math.ceil((last - 1) / 4));
  return Array.from({ length: Math.floor((last - 1) / step) + 1 }, (_, i) => 1 + i * step);
}

/** How each target's order settles as samples grow, a panel for each; undefined where no target was looked at twice. */
export function stabilityChart(
  { tasks, rankings }: Pick<StudyResults, 'tasks' | 'rankings'>,
  most: number,
): TopLevelSpec | undefined {
  const shown = rankings.filter(({ stability }) => stability.length > 1);
  if (shown.length === 0) return undefined;
  const labels = numbered(
    tasks.map(({ name }) => name),
    18,
  );
  const [first, order] = ['closest source as at the end (share of trials)', 'order as at the end (Kendall)'];
  const values = shown.flatMap(({ target, stability }) =>
    stability.flatMap(({ samples, sameFirst, kendall }) => [
      { task: labels[target], samples, what: first, value: sameFirst },
      { task: labels[target], samples, what: order, value: kendall },
    ]),
  );
  const { columns, width } = panels(most, shown.length);
  return {
    ...CHART,
    data: { values },
    facet: { field: 'task', type: 'nominal', sort: labels, title: null, header: { labelLimit: width } },
    columns,
    spacing: 14,
    spec: {
      width,
      height: Math.round(width * 0.5),
      mark: { type: 'line', point: { size: 34, filled: true, opacity: 1 }, strokeWidth: 2 },
      encoding: {
        x: {
          field: 'samples',
          type: 'quantitative',
          title: 'samples',
          scale: { zero: true },
          axis: { tickCount: 3, grid: false },
        },
        y: {
          field: 'value',
          type: 'quantitative',
          title: null,
          scale: { domain: [Math.min(0, ...values.map(({ value }) => value)), 1] },
          axis: { values: [-1, -0.5, 0, 0.5, 1], domain: false, ticks: false },
        },
        color: {
          field: 'what',
          type: 'nominal',
          scale: { domain: [first, order], range: [COLOURS.main, COLOURS.second] },
          legend: { title: null, orient: 'top', direction: most < 500 ? 'vertical' : 'horizontal' },
        },
        shape: {
          field: 'what',
          type: 'nominal',
          scale: { domain: [first, order], range: ['circle', 'square'] },
        },
      },
    },
  };
}
