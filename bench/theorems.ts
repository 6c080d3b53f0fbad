import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import type { TopLevelSpec } from 'vega-lite';
import { fisherDistance, mean, quantile, standardDeviation } from '../algorithms/index.ts';
import {
  averagedSgd,
  type ConvexTask,
  convexFisher,
  convexMinimiser,
  exponentOf,
  gaussianTasks,
} from '../algorithms/testing/convex.ts';
import { Random } from '../engine/index.ts';
import { FONT, toPng, toSvg } from '../report/render.ts';

/** The tasks, the rate and the seeds of test/theorems.test.ts, further along and with more seeds. */
const TASKS = { count: 300, features: 4, classes: 3, penalty: 0.2 };
const RATE = { first: 1, power: 0.6 };
const SEEDS = 60;
const STEPS = Array.from({ length: 17 }, (_, i) => Math.round(10 ** (2 + i / 4)));

const BLUE = '#2a83a4';
const RED = '#e4572e';
const GREY = '#8a9199';

interface Row {
  steps: number;
  /** Of the distance between two seeds, mean and middle 80 % over pairs. */
  seeds: number;
  low: number;
  high: number;
  /** Of the distance between two tasks, over seeds. */
  tasks: number;
  sigma: number;
}

function measure(): { rows: Row[]; limit: number; spread: number } {
  const [first, second] = gaussianTasks(TASKS, new Random(1).fork('tasks'));
  const runs = (task: ConvexTask, name: string) =>
    Array.from({ length: SEEDS }, (_, seed) => averagedSgd(task, STEPS, new Random(seed).fork(name), RATE));
  const [ofFirst, ofSecond] = [runs(first, 'first'), runs(second, 'second')];
  const between = (task: ConvexTask, a: Float64Array, b: Float64Array) =>
    fisherDistance(convexFisher(task, a), convexFisher(task, b));
  const pairs = Array.from({ length: SEEDS / 2 }, (_, pair) =>
    STEPS.map((_, k) => between(first, ofFirst[2 * pair]![k]!, ofFirst[2 * pair + 1]![k]!)),
  );
  const rows = STEPS.map((steps, k): Row => {
    const seeds = pairs.map((pair) => pair[k]!);
    const tasks = ofFirst.map((run, seed) => between(second, run[k]!, ofSecond[seed]![k]!));
    return {
      steps,
      seeds: mean(seeds),
      low: quantile(seeds, 0.1),
      high: quantile(seeds, 0.9),
      tasks: mean(tasks),
      sigma: standardDeviation(tasks),
    };
  });
  const limit = between(second, convexMinimiser(first), convexMinimiser(second));
  const spread = standardDeviation(pairs.map((pair) => exponentOf(STEPS, pair)));
  return { rows, limit, spread };
}

function chart(rows: readonly Row[], limit: number): TopLevelSpec {
  const last = rows.at(-1)!;
  const half = (steps: number, at: number) => at * Math.sqrt(last.steps / steps);
  const decades = [1e2, 1e3, 1e4, 1e5, 1e6];
  const x = {
    field: 'steps',
    type: 'quantitative' as const,
    title: 'steps t',
    scale: { type: 'log' as const, domain: [100, last.steps] },
    axis: { values: decades, format: '~s', grid: true },
  };
  const names = ['two seeds of one task: mean d', 'two tasks: σ of d over seeds'];
  const falling = rows.flatMap(({ steps, seeds, sigma }) => [
    { steps, value: seeds, what: names[0] },
    { steps, value: sigma, what: names[1] },
  ]);
  const slopes = [last.seeds, last.sigma].flatMap((at, which) =>
    [100, last.steps].map((steps) => ({ steps, value: half(steps, at), which })),
  );
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
    background: 'white',
    padding: 16,
    hconcat: [
      {
        title: {
          text: 'Spread falls as 1 / √t',
          subtitle: 'dashed: slope −½; band: middle 80 % of pairs of seeds',
        },
        width: 380,
        height: 300,
        encoding: { x },
        layer: [
          {
            data: { values: [...rows] },
            mark: { type: 'area', color: BLUE, opacity: 0.18 },
            encoding: {
              y: { field: 'low', type: 'quantitative', scale: { type: 'log', domain: [3e-5, 0.1] } },
              y2: { field: 'high' },
            },
          },
          {
            data: { values: slopes },
            mark: { type: 'line', strokeDash: [5, 4], color: GREY },
            encoding: {
              y: { field: 'value', type: 'quantitative' },
              detail: { field: 'which', type: 'nominal' },
            },
          },
          {
            data: { values: falling },
            mark: { type: 'line', point: { size: 40 }, strokeWidth: 2 },
            encoding: {
              y: {
                field: 'value',
                type: 'quantitative',
                title: 'distance d',
                scale: { type: 'log' },
                axis: { values: [1e-4, 1e-3, 1e-2, 1e-1], format: '~g' },
              },
              color: {
                field: 'what',
                type: 'nominal',
                title: null,
                scale: { domain: names, range: [BLUE, RED] },
                legend: { orient: 'bottom', direction: 'vertical', labelLimit: 0 },
              },
            },
          },
        ],
      },
      {
        title: {
          text: 'Two tasks: d tends to that of the exact minimisers',
          subtitle: `band: mean ± σ over ${SEEDS} seeds; dashed: ${limit.toFixed(4)}, by Newton's method`,
        },
        width: 380,
        height: 300,
        encoding: { x },
        layer: [
          {
            data: {
              values: rows.map((row) => ({
                ...row,
                low: row.tasks - row.sigma,
                high: row.tasks + row.sigma,
              })),
            },
            mark: { type: 'area', color: RED, opacity: 0.18 },
            encoding: {
              y: { field: 'low', type: 'quantitative', scale: { zero: false } },
              y2: { field: 'high' },
            },
          },
          {
            data: { values: [{ limit }] },
            mark: { type: 'rule', strokeDash: [5, 4], color: '#1a1a1a', strokeWidth: 1.5 },
            encoding: {
              x: { value: 0 },
              x2: { value: 'width' },
              y: { field: 'limit', type: 'quantitative' },
            },
          },
          {
            data: { values: [...rows] },
            mark: { type: 'line', point: { size: 40, color: RED }, strokeWidth: 2, color: RED },
            encoding: { y: { field: 'tasks', type: 'quantitative', title: 'distance d' } },
          },
        ],
      },
    ],
    spacing: 40,
    config: {
      font: FONT,
      view: { stroke: null },
      title: { anchor: 'start', fontSize: 14, subtitleFontSize: 12, subtitleColor: '#555', offset: 12 },
      axis: { labelFontSize: 12, titleFontSize: 12, gridColor: '#e6e8ea', domainColor: GREY },
      legend: { labelFontSize: 12 },
    },
  };
}

/** Writes docs/theorems.svg and .png, and prints the table of docs/theorems.md. */
const { rows, limit, spread } = measure();
const svg = await toSvg(chart(rows, limit));
await writeFile(new URL('../docs/theorems.svg', import.meta.url), svg);
await writeFile(new URL('../docs/theorems.png', import.meta.url), await toPng(svg));
const fitted = (from: number, to: number, value: (row: Row) => number) => {
  const some = rows.filter(({ steps }) => steps >= from && steps <= to);
  return exponentOf(
    some.map(({ steps }) => steps),
    some.map(value),
  ).toFixed(3);
};
for (const [from, to] of [
  [1e2, 1e5],
  [1e2, 1e6],
  [1e3, 1e6],
] as const) {
  const [seeds, sigma] = [fitted(from, to, (row) => row.seeds), fitted(from, to, (row) => row.sigma)];
  process.stdout.write(`exponents over t = ${from} to ${to}: ${seeds} between seeds, ${sigma} of sigma\n`);
}
process.stdout.write(`single pairs' exponents: ± ${spread.toFixed(3)}; limit ${limit.toFixed(5)}\n`);
for (const { steps, seeds, tasks, sigma } of rows.filter((_, k) => k % 4 === 0)) {
  const cells = [seeds, tasks, sigma, Math.abs(tasks - limit), sigma / Math.sqrt(SEEDS)];
  process.stdout.write(`| ${[steps, ...cells.map((value) => value.toFixed(5))].join(' | ')} |\n`);
}
