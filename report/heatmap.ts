import type { TopLevelSpec } from 'vega-lite';
import { textWidth, toPng, toSvg } from './render.ts';
import { CHART, COLOURS, numbered, SEQUENTIAL } from './theme.ts';

export interface Heatmap {
  title: string;
  /** How the values came about; follows the hint on reading under the title. */
  note: string;
  /** Of the tasks, in the order of rows and columns. */
  names: readonly string[];
  /** Distances [source][target]; where they are beyond [0, 1] colours go up to the largest. */
  mean: readonly (readonly number[])[];
  /** Their standard deviations, where there are any. */
  sigma?: readonly (readonly number[])[];
  /** Closest source of each target; marked in its column. */
  closest: readonly number[];
}

/** The largest cells, and the narrowest in which their text stands. */
const CELL = { width: 124, height: 84, least: 15 };
const READING = 'smaller = closer; read down a column to find the best source for a target';

/**
 * Draws a matrix of distances, sources on rows and targets on columns, as SVG and as PNG of twice its size.
 * The same values give the same bytes on every machine: the font comes with the package.
 */
export async function renderHeatmap(heatmap: Heatmap): Promise<{ svg: string; png: Uint8Array }> {
  const spec = heatmapChart(heatmap);
  const title = {
    text: heatmap.title,
    subtitle: [READING, heatmap.note],
    fontSize: 17,
    subtitleFontSize: 12,
    subtitleColor: COLOURS.muted,
    subtitlePadding: 6,
    offset: 16,
  };
  const svg = await toSvg({ ...spec, padding: 16, title });
  return { svg, png: await toPng(svg) };
}

/**
 * The matrix without a title. Cells shrink to fit the width: they lose first their rows' third line, then a decimal,
 * then all text. Cells of the least size may make it wider.
 */
export function heatmapChart(
  { names, mean, sigma, closest }: Omit<Heatmap, 'title' | 'note'>,
  width = Number.POSITIVE_INFINITY,
): TopLevelSpec {
  const narrow = width < 500;
  const labels = numbered(names, narrow ? 14 : 24);
  // On a phone columns are named by number alone, and rows say which is which.
  const columns = narrow ? names.map((_, i) => `${i}`) : labels;
  const longest = Math.max(...labels.map((label) => textWidth(label, 12)));
  const legend = narrow ? 0 : 90;
  const room = (width - longest - legend - 42) / names.length;
  const cell = Math.floor(Math.min(CELL.width, Math.max(CELL.least, room)));
  const height = Math.floor(Math.min(CELL.height, Math.max(cell * 0.68, Math.min(cell, 34))));
  const full = cell >= 62;
  const text = cell >= 32;
  const short = (value: number) => value.toFixed(2).replace(/^0/, '');
  const top = Math.max(1, ...mean.flat());
  const cells = mean.flatMap((row, s) =>
    row.map((value, t) => ({
      source: labels[s],
      target: columns[t],
      value,
      mean: s === t ? '0' : full ? value.toFixed(3) : short(value),
      sigma: sigmaText(s, t),
      note: s !== t && closest[t] === s ? 'closest' : '',
      same: s === t,
    })),
  );
  function sigmaText(s: number, t: number): string {
    if (s === t) return full && cell >= 100 ? 'same task' : '';
    if (!sigma) return '';
    const spread = sigma[s]![t]!;
    return full ? `± ${spread.toFixed(3)}` : `±${short(spread)}`;
  }
  const ink = {
    condition: [
      { test: 'datum.same', value: COLOURS.muted },
      // On either side of this the text has a contrast of 4.5.
      { test: `datum.value < ${0.235 * top}`, value: 'white' },
    ],
    value: 'black',
  };
  const line = (field: string, dy: number, fontSize: number, fontWeight: 'bold' | 'normal') => ({
    mark: { type: 'text' as const, dy, fontSize, fontWeight },
    encoding: { text: { field, type: 'nominal' as const }, color: ink },
  });
  const large = cell >= 100;
  const marked = { transform: [{ filter: "datum.note !== ''" }] };
  return {
    ...CHART,
    data: { values: cells },
    width: cell * names.length,
    height: height * names.length,
    encoding: {
      x: {
        field: 'target',
        type: 'ordinal',
        sort: columns,
        title: 'target',
        axis: {
          orient: 'top',
          ...(cell >= longest + 4 || narrow
            ? { labelAngle: 0 }
            : { labelAngle: cell >= 40 ? -35 : -90, labelAlign: 'left', labelBaseline: 'middle' }),
        },
        scale: { paddingInner: 0.04, paddingOuter: 0 },
      },
      y: {
        field: 'source',
        type: 'ordinal',
        sort: labels,
        title: 'source',
        scale: { paddingInner: 0.06, paddingOuter: 0 },
      },
    },
    layer: [
      {
        mark: { type: 'rect', cornerRadius: cell < 30 ? 0 : 3 },
        encoding: {
          color: {
            condition: { test: 'datum.same', value: COLOURS.blank },
            field: 'value',
            type: 'quantitative',
            scale: { ...SEQUENTIAL, domain: SEQUENTIAL.domain.map((place) => place * top) },
            legend: narrow
              ? null
              : {
                  title: 'distance d',
                  gradientLength: Math.min(200, Math.max(60, height * names.length - 20)),
                  format: top > 1 ? '.2~r' : '.1f',
                  tickCount: 5,
                },
          },
        },
      },
      {
        ...marked,
        mark: {
          type: 'rect',
          filled: false,
          stroke: '#e4572e',
          strokeWidth: cell < 30 ? 2.5 : 4,
          cornerRadius: cell < 30 ? 0 : 3,
        },
      },
      ...(text
        ? [
            line('mean', sigma || large ? -0.12 * height : 0, large ? 19 : full ? 15 : 12, 'bold' as const),
            line('sigma', large ? 10 : 0.22 * height, large ? 12 : full ? 10.5 : 9, 'normal' as const),
          ]
        : []),
      ...(large ? [{ ...marked, ...line('note', 28, 11, 'bold') }] : []),
    ],
    config: {
      ...CHART.config,
      axis: {
        ...CHART.config.axis,
        labelColor: COLOURS.ink,
        domain: false,
        ticks: false,
        labelFontSize: cell < 24 ? 10 : cell < 100 ? 12 : 13,
        titleFontSize: 13,
        titleFontWeight: 'bold',
        labelPadding: 6,
        titlePadding: 8,
      },
      legend: { ...CHART.config.legend, offset: 20 },
    },
  };
}
