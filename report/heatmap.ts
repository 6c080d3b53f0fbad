import type { TopLevelSpec } from 'vega-lite';
import { FONT, toPng, toSvg } from './render.ts';

export interface Heatmap {
  title: string;
  /** How the values came about; follows the hint on reading under the title. */
  note: string;
  /** Of the tasks, in the order of rows and columns. */
  names: readonly string[];
  /** Distances [source][target], within [0, 1]. */
  mean: readonly (readonly number[])[];
  /** Their standard deviations, where there are any. */
  sigma?: readonly (readonly number[])[];
  /** Closest source of each target; marked in its column. */
  closest: readonly number[];
}

const CELL = { width: 124, height: 84 };

/**
 * Draws a matrix of distances, sources on rows and targets on columns, as SVG and as PNG of twice its size.
 * The same values give the same bytes on every machine: the font comes with the package.
 */
export async function renderHeatmap(heatmap: Heatmap): Promise<{ svg: string; png: Uint8Array }> {
  const svg = await toSvg(specification(heatmap));
  return { svg, png: await toPng(svg) };
}

function specification({ title, note, names, mean, sigma, closest }: Heatmap): TopLevelSpec {
  const labels = names.map((name, i) => `${i}: ${name}`);
  const cells = mean.flatMap((row, s) =>
    row.map((value, t) => ({
      source: labels[s],
      target: labels[t],
      value,
      mean: s === t ? '0' : value.toFixed(3),
      sigma: s === t ? 'same task' : sigma ? `± ${sigma[s]![t]!.toFixed(3)}` : '',
      note: s !== t && closest[t] === s ? 'closest' : '',
      same: s === t,
    })),
  );
  const ink = {
    condition: [
      { test: 'datum.same', value: '#8a9199' },
      { test: 'datum.value < 0.25', value: 'white' },
    ],
    value: '#1a1a1a',
  };
  const text = (field: string, dy: number, fontSize: number, fontWeight: 'bold' | 'normal') => ({
    mark: { type: 'text' as const, dy, fontSize, fontWeight },
    encoding: { text: { field, type: 'nominal' as const }, color: ink },
  });
  return {
    $schema: 'https://vega.github.io/schema/vega-lite/v5.json',
    background: 'white',
    padding: 16,
    title: {
      text: title,
      subtitle: ['smaller = closer; read down a column to find the best source for a target', note],
      anchor: 'start',
      fontSize: 17,
      subtitleFontSize: 12,
      subtitleColor: '#555',
      subtitlePadding: 6,
      offset: 16,
    },
    data: { values: cells },
    width: CELL.width * names.length,
    height: CELL.height * names.length,
    encoding: {
      x: {
        field: 'target',
        type: 'ordinal',
        sort: labels,
        title: 'target',
        axis: { orient: 'top', labelAngle: 0 },
        scale: { paddingInner: 0.04, paddingOuter: 0 },
      },
      y: {
        field: 'source',
        type: 'ordinal',
        sort: labels,
        title: 'source',
        // Without a canvas Vega guesses how wide labels are, and guesses far too wide.
        axis: { maxExtent: 8 + 7.6 * Math.max(...labels.map((label) => label.length)) },
        scale: { paddingInner: 0.06, paddingOuter: 0 },
      },
    },
    layer: [
      {
        mark: { type: 'rect', cornerRadius: 3 },
        encoding: {
          color: {
            condition: { test: 'datum.same', value: '#eef0f2' },
            field: 'value',
            type: 'quantitative',
            scale: {
              domain: [0, 0.25, 0.5, 0.75, 1],
              range: ['#06283d', '#2a83a4', '#7cc0de', '#d6eaf4', '#f7fafc'],
            },
            legend: { title: 'distance d', gradientLength: 200, format: '.1f', tickCount: 5 },
          },
        },
      },
      {
        transform: [{ filter: "datum.note !== ''" }],
        mark: { type: 'rect', filled: false, stroke: '#e4572e', strokeWidth: 4, cornerRadius: 3 },
      },
      text('mean', -10, 19, 'bold'),
      text('sigma', 10, 12, 'normal'),
      {
        transform: [{ filter: "datum.note !== ''" }],
        ...text('note', 28, 11, 'bold'),
      },
    ],
    config: {
      font: FONT,
      view: { stroke: null },
      axis: {
        domain: false,
        ticks: false,
        labelFontSize: 13,
        labelLimit: 0,
        labelPadding: 8,
        titleFontSize: 13,
        titlePadding: 10,
      },
      legend: { labelFontSize: 11, titleFontSize: 12, offset: 24 },
    },
  };
}
