import type { TopLevelSpec } from 'vega-lite';
import type { StudyResults } from '../algorithms/study/results.ts';
import { textWidth } from './render.ts';
import { CHART, COLOURS, numbered, SEQUENTIAL, shorten } from './theme.ts';

/** Layers that are shown; the others are summed up. */
const MOST = 24;

export interface LayerShare {
  name: string;
  /** Mean, least and most over pairs of tasks. */
  mean: number;
  least: number;
  most: number;
  /** By target: the share for its closest source; 0 where it has none. */
  closest: number[];
}

/**
 * Which layers make the distance. Beyond {@link MOST} layers those with the largest mean, in the network's order, and
 * then the sum of the others.
 */
export function layerShares({ layers, closest }: Pick<StudyResults, 'layers' | 'closest'>): LayerShare[] {
  const summed = (members: typeof layers) => (s: number, t: number) =>
    members.reduce((sum, { share }) => sum + share[s]![t]!, 0);
  const row = (name: string, of: (s: number, t: number) => number): LayerShare => {
    const pairs = closest.flatMap((_, t) => closest.flatMap((_, s) => (s === t ? [] : [of(s, t)])));
    return {
      name,
      mean: pairs.length === 0 ? 0 : pairs.reduce((a, b) => a + b) / pairs.length,
      least: Math.min(...pairs),
      most: Math.max(...pairs),
      closest: closest.map((s, t) => (s < 0 ? 0 : of(s, t))),
    };
  };
  const rows = layers.map((layer) => row(layer.name, summed([layer])));
  if (rows.length <= MOST) return rows;
  const kept = new Set(
    rows
      .map(({ mean }, i) => ({ mean, i }))
      .sort((a, b) => b.mean - a.mean)
      .slice(0, MOST - 1)
      .map(({ i }) => i),
  );
  const others = layers.filter((_, i) => !kept.has(i));
  return [...rows.filter((_, i) => kept.has(i)), row(`${others.length} other layers`, summed(others))];
}

/** The shares as bars, with the least and the most of all pairs. */
export function layersChart(shares: readonly LayerShare[], most: number): TopLevelSpec {
  const unique = unambiguous(shares.map(({ name }) => shorten(name, most < 500 ? 18 : 40)));
  const longest = Math.max(...unique.map((label) => textWidth(label, 12)));
  const y = { field: 'layer', type: 'nominal' as const, sort: unique, title: null, axis: namesAxis };
  const x = {
    type: 'quantitative' as const,
    title: 'share of the squared distance',
    axis: { format: '.0%', tickCount: 4 },
  };
  return {
    ...CHART,
    data: { values: shares.map(({ mean, least, most }, i) => ({ layer: unique[i], mean, least, most })) },
    width: Math.max(140, Math.floor(Math.min(most, 760) - 34 - longest)),
    height: { step: 20 },
    layer: [
      { mark: { type: 'bar', color: COLOURS.main, height: 13 }, encoding: { y, x: { ...x, field: 'mean' } } },
      {
        mark: { type: 'rule', color: COLOURS.ink, strokeWidth: 1.2 },
        encoding: { y, x: { ...x, field: 'least' }, x2: { field: 'most' } },
      },
    ],
  };
}

/** For each target, from its closest source: the share of each layer, darker the more. */
export function closestLayersChart(
  { names, shares }: { names: readonly string[]; shares: readonly LayerShare[] },
  most: number,
): TopLevelSpec {
  const narrow = most < 500;
  const targets = narrow ? names.map((_, i) => `${i}`) : numbered(names, 20);
  const layers = unambiguous(shares.map(({ name }) => shorten(name, narrow ? 18 : 40)));
  const longest = Math.max(...layers.map((label) => textWidth(label, 12)));
  const cell = Math.max(14, Math.min(110, Math.floor((most - 24 - longest) / names.length)));
  const values = shares.flatMap(({ closest }, i) =>
    closest.map((share, t) => ({ layer: layers[i], target: targets[t], share })),
  );
  const peak = Math.max(0.01, ...values.map(({ share }) => share));
  const widest = Math.max(...targets.map((label) => textWidth(label, 12)));
  const position = {
    x: {
      field: 'target',
      type: 'nominal' as const,
      sort: targets,
      title: 'target',
      axis: {
        ...namesAxis,
        orient: 'top' as const,
        ...(cell >= widest || narrow
          ? { labelAngle: 0 }
          : {
              labelAngle: cell >= 40 ? -35 : -90,
              labelAlign: 'left' as const,
              labelBaseline: 'middle' as const,
            }),
      },
      scale: { paddingInner: 0.04 },
    },
    y: {
      field: 'layer',
      type: 'nominal' as const,
      sort: layers,
      title: null,
      axis: namesAxis,
      scale: { paddingInner: 0.06 },
    },
  };
  return {
    ...CHART,
    data: { values },
    width: cell * names.length,
    height: 22 * shares.length,
    encoding: position,
    layer: [
      {
        mark: { type: 'rect' },
        encoding: {
          color: {
            field: 'share',
            type: 'quantitative',
            scale: {
              domain: SEQUENTIAL.domain.map((place) => place * peak),
              range: [...SEQUENTIAL.range].reverse(),
            },
            legend: null,
          },
        },
      },
      ...(cell >= 34
        ? [
            {
              mark: { type: 'text' as const, fontSize: 11 },
              encoding: {
                text: { field: 'share', type: 'quantitative' as const, format: '.0%' },
                color: {
                  condition: { test: `datum.share > ${0.765 * peak}`, value: 'white' },
                  value: 'black',
                },
              },
            },
          ]
        : []),
    ],
  };
}

const namesAxis = {
  domain: false,
  ticks: false,
  labelColor: COLOURS.ink,
  labelFontSize: 12,
  labelPadding: 5,
};

/** Names cut short to the same text get a number. */
function unambiguous(labels: readonly string[]): string[] {
  return labels.map((label, i) => (labels.indexOf(label) === i ? label : `${label} (${i + 1})`));
}
