import type { TopLevelSpec } from 'vega-lite';
import { FONT } from '../report/render.ts';

/** A share of a peak, as a bar. */
export interface ShareRow {
  adapter: string;
  name: string;
  share: number;
}

/** Milliseconds an image takes, as a point of a line. */
export interface BatchRow {
  adapter: string;
  pass: string;
  batch: number;
  msAnImage: number;
}

/** How often Fathom's time a side takes, as a bar. */
export interface RaceRow {
  adapter: string;
  contest: string;
  side: string;
  times: number;
}

const COMMON = {
  $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
  background: 'white',
  padding: 16,
  config: {
    font: FONT,
    view: { stroke: null },
    axis: {
      labelFontSize: 12,
      titleFontSize: 12,
      labelLimit: 0,
      gridColor: '#e6e8ea',
      domainColor: '#8a9199',
    },
    header: { labelFontSize: 13, labelFontWeight: 'bold' as const, labelAnchor: 'start' as const },
    legend: { labelFontSize: 12, titleFontSize: 12 },
  },
} satisfies Partial<TopLevelSpec>;

const COLOURS = ['#06283d', '#2a83a4', '#e4572e', '#e9a23b', '#7a9e7e', '#8a9199'];
const PLAIN_TITLE = {
  anchor: 'start' as const,
  fontSize: 16,
  offset: 14,
  subtitleFontSize: 12,
  subtitleColor: '#555',
};
/** The same room for labels in every panel. */
const labelWidth = (labels: readonly string[]) => 10 + 6.8 * Math.max(...labels.map((label) => label.length));

/** Bars of shares of the multiply-add peak, adapters beside each other. */
export function sharesChart(rows: readonly ShareRow[]): TopLevelSpec {
  const names = [...new Set(rows.map(({ name }) => name))];
  return {
    ...COMMON,
    title: { ...PLAIN_TITLE, text: 'Share of the multiply-add peak measured in the same run' },
    data: { values: [...rows] },
    facet: { column: { field: 'adapter', type: 'nominal', title: null } },
    spec: {
      width: 260,
      height: { step: 22 },
      encoding: {
        y: {
          field: 'name',
          type: 'nominal',
          sort: names,
          title: null,
          axis: { minExtent: labelWidth(names), maxExtent: labelWidth(names), domain: false, ticks: false },
        },
        x: { field: 'share', type: 'quantitative', title: null, axis: { format: '.0%', tickCount: 4 } },
      },
      layer: [
        { mark: { type: 'bar', color: '#2a83a4' } },
        {
          mark: { type: 'text', align: 'left', dx: 4, fontSize: 11 },
          encoding: { text: { field: 'share', type: 'quantitative', format: '.0%' } },
        },
      ],
    },
    config: { ...COMMON.config },
  };
}

/** Lines of the time an image takes over the batch size; flat is as it should be. */
export function batchesChart(rows: readonly BatchRow[]): TopLevelSpec {
  return {
    ...COMMON,
    title: { ...PLAIN_TITLE, text: 'Milliseconds an image of the cnn takes, by batch size' },
    data: { values: [...rows] },
    facet: { column: { field: 'adapter', type: 'nominal', title: null } },
    spec: {
      width: 300,
      height: 220,
      mark: { type: 'line', point: { size: 45 }, strokeWidth: 2 },
      encoding: {
        x: {
          field: 'batch',
          type: 'quantitative',
          title: 'batch',
          scale: { type: 'log', base: 2 },
          axis: { values: [16, 32, 64, 128, 256, 512], format: 'd' },
        },
        y: { field: 'msAnImage', type: 'quantitative', title: 'ms an image', scale: { zero: true } },
        color: { field: 'pass', type: 'nominal', title: null, scale: { range: ['#e4572e', '#2a83a4'] } },
      },
    },
    resolve: { scale: { y: 'independent' } },
  };
}

/** Bars of how often Fathom's time each side takes. */
export function racesChart(rows: readonly RaceRow[], title: string): TopLevelSpec {
  const sides = [...new Set(rows.map(({ side }) => side))];
  const contests = [...new Set(rows.map(({ contest }) => contest))];
  const extremes = rows.map(({ times }) => Math.log10(times));
  const ticks = Array.from({ length: 9 }, (_, i) => 10 ** (i - 4)).filter((tick) => {
    return (
      tick >= 10 ** Math.floor(Math.min(0, ...extremes)) && tick <= 10 ** Math.ceil(Math.max(0, ...extremes))
    );
  });
  const place = {
    y: {
      field: 'contest',
      type: 'nominal' as const,
      sort: contests,
      title: null,
      axis: {
        minExtent: labelWidth(contests),
        maxExtent: labelWidth(contests),
        domain: false,
        ticks: false,
      },
    },
    yOffset: { field: 'side', type: 'nominal' as const, sort: sides },
    x: {
      field: 'times',
      type: 'quantitative' as const,
      title: null,
      scale: { type: 'log' as const, domain: [ticks[0]!, ticks.at(-1)!] },
      axis: { format: '~g', values: ticks },
    },
  };
  const label = (test: string, align: 'left' | 'right', dx: number) => ({
    transform: [{ filter: test }],
    mark: { type: 'text' as const, align, dx, fontSize: 10 },
    encoding: { ...place, text: { field: 'label', type: 'nominal' as const } },
  });
  return {
    ...COMMON,
    title: {
      ...PLAIN_TITLE,
      text: title,
      subtitle:
        "multiples of Fathom's time, logarithmic: what reaches right of the line is slower than Fathom",
    },
    data: { values: rows.map((row) => ({ ...row, label: Number(row.times.toPrecision(2)).toString() })) },
    facet: { column: { field: 'adapter', type: 'nominal', title: null } },
    spec: {
      width: 320,
      height: { step: 14 },
      layer: [
        {
          mark: { type: 'bar' },
          encoding: {
            ...place,
            x2: { datum: 1 },
            color: {
              field: 'side',
              type: 'nominal',
              sort: sides,
              title: null,
              scale: { domain: sides, range: COLOURS },
              legend: { labelLimit: 0 },
            },
          },
        },
        label('datum.times >= 1', 'left', 3),
        label('datum.times < 1', 'right', -3),
        { mark: { type: 'rule', color: '#1a1a1a' }, encoding: { x: { datum: 1 } } },
      ],
    },
  };
}
