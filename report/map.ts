import type { TopLevelSpec } from 'vega-lite';
import { aligned, type Dissimilarities, ellipse, type Placement, type Point, place } from './geometry.ts';
import { CROWDED, separated } from './graph.ts';
import { textWidth } from './render.ts';
import { CHART, COLOURS, distinct } from './theme.ts';

/** Tasks in the plane, and where each trial alone puts them. */
export interface TaskMap extends Placement {
  /** [trial][task], turned and shifted onto the mean's. */
  trials: Point[][];
}

/** The plane of the mean distances, and that of every trial laid onto it. */
export function taskMap(mean: Dissimilarities, trials: readonly Dissimilarities[]): TaskMap {
  const placement = place(mean);
  return {
    ...placement,
    trials: trials.map((trial) => aligned(place(trial, placement.points).points, placement.points)),
  };
}

/** Points of trials beyond which the ellipses stand alone. */
const MOST_POINTS = 400;

/**
 * Tasks as points whose distance on paper is about the mean of both directions. With three trials or more, an ellipse
 * of two standard deviations is about each; its trials are small points.
 */
export function mapChart(
  { names, map }: { names: readonly string[]; map: TaskMap },
  most: number,
): TopLevelSpec {
  const narrow = most < 500;
  const fontSize = narrow ? 11 : 12;
  const many = map.trials.length > 1;
  const outlines =
    map.trials.length < 3
      ? []
      : names.map((_, i) =>
          ellipse(
            map.trials.map((trial) => trial[i]!),
            2,
          ),
        );
  const trialPoints = many ? map.trials.flat() : [];
  const all = [...map.points, ...outlines.flat(), ...trialPoints];
  const [xs, ys] = [all.map(([x]) => x), all.map(([, y]) => y)];
  const labels = distinct(names, narrow ? 15 : 22);
  const widths = labels.map((label) => textWidth(label, fontSize));
  const width = names.length > CROWDED ? 760 : Math.min(most, 760);
  const margin = Math.min(width / 4, Math.max(...widths) / 2 + 6);
  const [spanX, spanY] = [Math.max(...xs) - Math.min(...xs) || 1, Math.max(...ys) - Math.min(...ys)];
  // One scale for both axes, or distances on paper would mean nothing.
  const pixels = Math.min((width - 2 * margin) / spanX, (0.9 * width) / (spanY || 1));
  const height = Math.ceil(spanY * pixels + 64);
  const left = (width - spanX * pixels) / 2;
  const spot = ([x, y]: Point): Point => [
    left + (x - Math.min(...xs)) * pixels,
    30 + (Math.max(...ys) - y) * pixels,
  ];
  const texts = separated(
    map.points.map((point, i) => {
      const [x, y] = spot(point);
      return { x, y: y - 1.15 * fontSize, width: widths[i]!, height: fontSize };
    }),
    { x: 4, y: 3 },
  );
  const axis = (field: string, size: number) => ({
    field,
    type: 'quantitative' as const,
    axis: null,
    scale: { domain: [0, size], nice: false, zero: false, reverse: field === 'y' },
  });
  const at = (x = 'x') => ({ x: axis(x, width), y: axis('y', height) });
  const bar = niceLength(spanX / 4);
  const xy = (point: Point) => ({ x: spot(point)[0], y: spot(point)[1] });
  return {
    ...CHART,
    width,
    height,
    layer: [
      {
        data: {
          values: outlines.flatMap((line, task) => line.map((point, step) => ({ ...xy(point), task, step }))),
        },
        mark: {
          type: 'line',
          interpolate: 'linear-closed',
          fill: COLOURS.main,
          fillOpacity: 0.12,
          stroke: COLOURS.main,
          strokeOpacity: 0.55,
          strokeWidth: 1,
        },
        encoding: { ...at(), detail: { field: 'task' }, order: { field: 'step' } },
      },
      {
        data: { values: trialPoints.length > MOST_POINTS ? [] : trialPoints.map(xy) },
        mark: { type: 'point', filled: true, color: COLOURS.main, opacity: 0.6, size: 12 },
        encoding: at(),
      },
      {
        data: {
          values: texts.map((text, i) => {
            const [px, py] = spot(map.points[i]!);
            // A line to the point where the name had to be moved away from it.
            const far = Math.hypot(text.x - px, text.y + fontSize - py) > fontSize;
            return {
              x: text.x,
              y: text.y,
              px,
              py: far ? py : text.y,
              tx: far ? text.x : px,
              label: labels[i],
            };
          }),
        },
        layer: [
          {
            mark: { type: 'rule', color: COLOURS.muted, strokeWidth: 0.7 },
            encoding: { ...at('tx'), x2: { field: 'px' }, y2: { field: 'py' } },
          },
          ...['halo', 'ink'].map((layer) => ({
            mark: {
              type: 'text' as const,
              fontSize,
              ...(layer === 'halo'
                ? { stroke: COLOURS.paper, strokeWidth: 3, strokeJoin: 'round' as const }
                : {}),
            },
            encoding: { ...at(), text: { field: 'label', type: 'nominal' as const } },
          })),
        ],
      },
      {
        data: { values: map.points.map(xy) },
        mark: { type: 'point', filled: true, color: COLOURS.accent, opacity: 1, size: 44 },
        encoding: at(),
      },
      {
        data: { values: [{ x: 4, x2: 4 + bar * pixels, y: height - 6, label: `distance ${bar}` }] },
        layer: [
          {
            mark: { type: 'rule', color: COLOURS.muted, strokeWidth: 2 },
            encoding: { ...at(), x2: { field: 'x2' } },
          },
          {
            mark: { type: 'text', align: 'left', dy: -9, fontSize: 11, color: COLOURS.muted },
            encoding: { ...at(), text: { field: 'label', type: 'nominal' } },
          },
        ],
      },
    ],
  };
}

/** The largest of 1, 2, 5, 10 ... (with their tenths) that is not longer. */
function niceLength(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  const factor = [5, 2, 1].find((each) => each * power <= most)!;
  return Number((factor * power).toPrecision(1));
}
