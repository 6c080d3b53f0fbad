import type { TopLevelSpec } from 'vega-lite';
import { cluster, type Dissimilarities, heightOf, leaves, type Tree } from './geometry.ts';
import { textWidth } from './render.ts';
import { CHART, COLOURS, shorten } from './theme.ts';

/** Tasks joined at the mean distance between their groups, from the left to the right. */
export function dendrogramChart(
  { names, values, measure }: { names: readonly string[]; values: Dissimilarities; measure: string },
  most: number,
): TopLevelSpec {
  const tree = cluster(values);
  const order = leaves(tree);
  const labels = names.map((name, i) => `${i}: ${shorten(name, most < 500 ? 18 : 26)}`);
  const widest = Math.max(...labels.map((label) => textWidth(label, 12)));
  const segments: { x: number; x2: number; y: number; y2: number }[] = [];
  draw(tree);
  function draw(part: Tree): number {
    if ('task' in part) return order.indexOf(part.task) + 0.5;
    const [a, b] = part.children.map(draw) as [number, number];
    const { height } = part;
    segments.push({ x: height, x2: height, y: a, y2: b });
    for (const [i, y] of [a, b].entries()) {
      segments.push({ x: heightOf(part.children[i]!), x2: height, y, y2: y });
    }
    return (a + b) / 2;
  }
  return {
    ...CHART,
    width: Math.max(120, Math.floor(Math.min(most, 760) - 34 - widest)),
    height: Math.max(40, (most < 500 ? 20 : 24) * names.length),
    data: { values: segments },
    mark: { type: 'rule', color: COLOURS.main, strokeWidth: 2, strokeCap: 'square' },
    encoding: {
      x: {
        field: 'x',
        type: 'quantitative',
        title: measure,
        scale: { domain: [0, Math.max(heightOf(tree), 1e-9)], nice: true },
        axis: { tickCount: 5 },
      },
      x2: { field: 'x2' },
      y: {
        field: 'y',
        type: 'quantitative',
        title: null,
        scale: { domain: [0, names.length], reverse: true, nice: false, zero: false },
        axis: {
          values: order.map((_, i) => i + 0.5),
          // Vega-Lite takes an expression here; names go in as data of it, quoted.
          labelExpr: `${JSON.stringify(order.map((task) => labels[task]!))}[datum.value - 0.5]`,
          labelColor: COLOURS.ink,
          labelFontSize: 12,
          labelPadding: 6,
          grid: false,
          ticks: false,
          domain: false,
        },
      },
      y2: { field: 'y2' },
    },
  };
}
