import type { TopLevelSpec } from 'vega-lite';
import { type Dissimilarities, type Point, place, symmetrised } from './geometry.ts';
import { textWidth } from './render.ts';
import { CHART, COLOURS, distinct } from './theme.ts';

/** From a source to a target it is among the closest of; rank 0 is the closest. */
export interface Arrow {
  source: number;
  target: number;
  value: number;
  rank: number;
}

/** Tasks beyond which a drawing in the plane takes the room it needs, whatever the width. */
export const CROWDED = 8;

/** How many sources each target is shown with. */
export function arrowsPerTarget(tasks: number): number {
  return tasks > 3 ? 2 : 1;
}

/** Of each target the arrows from its closest sources, the closest first; ties in the order of tasks. */
export function nearestSources(values: Dissimilarities, most = arrowsPerTarget(values.length)): Arrow[] {
  return values.flatMap((_, target) =>
    values
      .flatMap((row, source) => {
        const value = row[target]!;
        return source === target || value === null ? [] : [{ source, target, value }];
      })
      .sort((a, b) => a.value - b.value)
      .slice(0, most)
      .map((arrow, rank) => ({ ...arrow, rank })),
  );
}

/** Shares of the pairs of tasks that are closer, which spreads tasks that are all close over more of a plane. */
function ranked(values: Dissimilarities): (number | null)[][] {
  const both = symmetrised(values);
  const sorted = both.flatMap((row, i) => row.slice(0, i)).filter((value) => value !== null);
  sorted.sort((a, b) => a - b);
  return both.map((row) =>
    row.map((value) =>
      value === null ? null : 0.3 + sorted.findIndex((each) => each >= value) / sorted.length,
    ),
  );
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Moves boxes (by their centres) apart, each pair along the line between them, until none overlaps another. */
export function separated(boxes: readonly Box[], gap: { x: number; y: number }): Box[] {
  const moved = boxes.map((box) => ({ ...box }));
  for (let round = 0; round < 500; round++) {
    let still = true;
    for (const [i, a] of moved.entries()) {
      for (const b of moved.slice(i + 1)) {
        const [dx, dy] = a.x === b.x && a.y === b.y ? [0, 1] : [b.x - a.x, b.y - a.y];
        const [wide, tall] = [(a.width + b.width) / 2 + gap.x, (a.height + b.height) / 2 + gap.y];
        const apart = Math.max(Math.abs(dx) / wide, Math.abs(dy) / tall);
        if (apart > 0.999) continue;
        still = false;
        const push = (1 / apart - 1) / 2;
        a.x -= push * dx;
        a.y -= push * dy;
        b.x += push * dx;
        b.y += push * dy;
      }
    }
    if (still) break;
  }
  return moved;
}

/**
 * Arrows from sources to the targets they are closest to, each the thicker the closer. Few tasks take less than the
 * width, and many take more.
 */
export function graphChart(
  { names, values }: { names: readonly string[]; values: Dissimilarities },
  most: number,
): TopLevelSpec {
  const narrow = most < 500;
  const fontSize = narrow ? 11 : 12;
  const labels = distinct(names, narrow ? 15 : 22);
  const roomy = 240 + 160 * Math.sqrt(names.length);
  const wanted = names.length > CROWDED ? roomy : Math.min(most, roomy);
  const boxes = layOut(place(ranked(values)).points, labels, fontSize, wanted);
  const width = Math.ceil(Math.max(...boxes.map((box) => box.x + box.width / 2)) + 4);
  const height = Math.ceil(Math.max(...boxes.map((box) => box.y + box.height / 2)) + 4);
  const arrows = nearestSources(values);
  const known = arrows.map(({ value }) => value);
  const [least, farthest] = [Math.min(...known), Math.max(...known)];
  const thickness = (value: number) =>
    farthest > least ? 1.2 + (2.8 * (farthest - value)) / (farthest - least) : 2.5;
  const drawn = arrows.map((arrow, index) => ({
    ...arrow,
    index,
    thickness: thickness(arrow.value),
    path: path(boxes[arrow.source]!, boxes[arrow.target]!),
  }));
  const colour = {
    color: {
      condition: { test: 'datum.rank === 0', value: COLOURS.accent },
      value: COLOURS.muted,
    },
  };
  const pixels = (field: 'x' | 'y' | 'x2' | 'y2') => ({ field, type: 'quantitative' as const });
  const axis = (field: 'x' | 'y', size: number) => ({
    ...pixels(field),
    axis: null,
    scale: { domain: [0, size], nice: false, zero: false, reverse: field === 'y' },
  });
  const spot = { x: axis('x', width), y: axis('y', height) };
  return {
    ...CHART,
    width,
    height,
    layer: [
      {
        data: {
          values: drawn.flatMap(({ path, index, rank, thickness }) =>
            // Under the arrowhead the line ends, or it would stand out beside the tip.
            path
              .filter(([x, y], step) => {
                const [tipX, tipY] = path.at(-1)!;
                return step < 2 || Math.hypot(x - tipX, y - tipY) > headSize(thickness) / 2;
              })
              .map(([x, y], step) => ({ x, y, step, index, rank, thickness })),
          ),
        },
        mark: { type: 'line', strokeCap: 'butt' },
        encoding: {
          ...spot,
          ...colour,
          detail: { field: 'index' },
          order: { field: 'step' },
          strokeWidth: { field: 'thickness', type: 'quantitative', scale: null },
        },
      },
      {
        data: {
          values: drawn.map(({ path, rank, thickness }) => {
            const [[x0, y0], [x1, y1]] = [path.at(-2)!, path.at(-1)!];
            const angle = (Math.atan2(y1 - y0, x1 - x0) * 180) / Math.PI;
            return { x: x1, y: y1, rank, angle, size: headSize(thickness) ** 2 };
          }),
        },
        mark: { type: 'point', filled: true, opacity: 1, shape: 'M-1.6,-0.7L0,0L-1.6,0.7Z' },
        encoding: {
          ...spot,
          ...colour,
          angle: { field: 'angle', type: 'quantitative', scale: null },
          size: { field: 'size', type: 'quantitative', scale: null },
        },
      },
      {
        data: {
          values: boxes.map(({ x, y, width: w, height: h }, i) => ({
            x: x - w / 2,
            x2: x + w / 2,
            y: y - h / 2,
            y2: y + h / 2,
            cx: x,
            cy: y,
            label: labels[i],
          })),
        },
        layer: [
          {
            mark: {
              type: 'rect',
              cornerRadius: 10,
              fill: COLOURS.paper,
              stroke: COLOURS.main,
              strokeWidth: 1.5,
            },
            encoding: { ...spot, x2: { field: 'x2' }, y2: { field: 'y2' } },
          },
          {
            mark: { type: 'text', fontSize },
            encoding: {
              x: { ...spot.x, field: 'cx' },
              y: { ...spot.y, field: 'cy' },
              text: { field: 'label', type: 'nominal' },
            },
          },
        ],
      },
    ],
  };
}

function headSize(thickness: number): number {
  return 8 + 2.4 * thickness;
}

/** Boxes around the labels where scaling puts their tasks, none over another; they may take more than the width. */
function layOut(points: readonly Point[], labels: readonly string[], fontSize: number, width: number): Box[] {
  const sizes = labels.map((label) => ({ width: textWidth(label, fontSize) + 20, height: fontSize + 12 }));
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis]!)));
  const [spanX, spanY] = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]!);
    return Math.max(...values) - Math.min(...values) || 1;
  });
  const wide = width - Math.max(...sizes.map((size) => size.width));
  const tall = wide * Math.min(0.8, Math.max(0.35, spanY! / spanX!));
  const apart = separated(
    points.map(([x, y], i) => ({
      x: ((x - left!) / spanX!) * wide,
      y: (1 - (y - top!) / spanY!) * tall,
      ...sizes[i]!,
    })),
    { x: 34, y: fontSize * 2.2 },
  );
  const edge = (of: (box: Box) => number) => 4 - Math.min(...apart.map(of));
  const [shiftX, shiftY] = [edge((box) => box.x - box.width / 2), edge((box) => box.y - box.height / 2)];
  return apart.map((box) => ({ ...box, x: box.x + shiftX, y: box.y + shiftY }));
}

/** A bow from the edge of one box to that of another, to the left of the way, so that two ways lie side by side. */
function path(from: Box, to: Box): Point[] {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const bow = 0.14;
  const [mx, my] = [(from.x + to.x) / 2 + bow * dy, (from.y + to.y) / 2 - bow * dx];
  const points = Array.from({ length: 81 }, (_, i): Point => {
    const t = i / 80;
    const along = (a: number, m: number, b: number) => (1 - t) ** 2 * a + 2 * t * (1 - t) * m + t ** 2 * b;
    return [along(from.x, mx, to.x), along(from.y, my, to.y)];
  });
  const outside = points.filter((point) => !inside(point, from, 1) && !inside(point, to, 3));
  return outside.length > 1 ? outside : points.slice(39, 41);
}

function inside([x, y]: Point, box: Box, margin: number): boolean {
  return Math.abs(x - box.x) <= box.width / 2 + margin && Math.abs(y - box.y) <= box.height / 2 + margin;
}
