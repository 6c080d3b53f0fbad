import type { Seen } from './raycast.ts';

/** What can be told of a scene: the paper's ten tasks, by Taskonomy's names. */
export const domains = [
  'depth_euclidean',
  'depth_zbuffer',
  'edge_occlusion',
  'edge_texture',
  'keypoints2d',
  'keypoints3d',
  'normal',
  'principal_curvature',
  'reshading',
  'rgb',
] as const;

export type Domain = (typeof domains)[number];

/** Depth in metres that is 1 in the pictures; what lies farther is 1 too. */
export const MAX_DEPTH = 12;
/** Curvature per metre that is 1 in the pictures; 0 is 1/2. */
export const MAX_CURVATURE = 8;
/** Jump of distance in metres that is 1 in the pictures of 3D edges. */
const MAX_JUMP = 1;
/** Slopes a pixel that are 1 in the pictures of edges and keypoints. */
const MAX_SLOPE = 0.25;
const MAX_CORNER = { picture: 0.1, surface: 0.15 };

/** Numbers of a square of pixels, line by line. */
type Field = Float64Array;

/** One scene's share of what was seen, and its picture. */
export interface View {
  size: number;
  /** Rows of four a pixel, as in {@link Seen}. */
  seen: Seen;
  /** [size, size, 3] in [0, 1]. */
  picture: Float64Array;
  /** Solids that make up the room, numbered first. */
  room: number;
}

/**
 * Every domain's picture, [size, size, 3] in [0, 1], for one scene. Truths of one number a pixel are given three times.
 *
 * - `depth_euclidean`, `depth_zbuffer`: min(1, t / 12), t in metres from the camera, or along its axis.
 * - `edge_occlusion`: min(1, |t - t'|), largest over those of the four neighbours that are of another solid, distances
 *   cut off at 12; room and ground are one solid.
 * - `edge_texture`: min(1, |grad g| / 0.25) of the grey picture g = (r + g + b) / 3, by Sobel's differences a pixel.
 * - `keypoints2d`: min(1, sqrt(l) / 0.1), l the smaller eigenvalue of the structure tensor of g: grad g grad g', added
 *   up with weights 1 2 1 / 4 down and across (Shi and Tomasi 1994).
 * - `keypoints3d`: min(1, sqrt(l) / 0.15), the same of half the normal and t / 12, the tensors of the four added up.
 * - `normal`: (1 + n) / 2 along right, up and back of the camera.
 * - `principal_curvature`: 1/2 + k / 16 for the greater and the smaller, and 1/2.
 * - `reshading`: n.(-d), what a light at the camera gives, whatever the distance.
 * - `rgb`: the picture.
 *
 * Differences at the border take the nearest pixel for what lies outside.
 */
export function labelPictures({ size, seen, picture, room }: View): Record<Domain, Float64Array> {
  const pixels = size * size;
  const field = (values: Float32Array, channel: number): Field =>
    new Float64Array(pixels).map((_, i) => values[4 * i + channel]!);
  const distance = field(seen.surface, 3);
  const near = distance.map((t) => Math.min(1, t / MAX_DEPTH));
  const solid = field(seen.shape, 0).map((number) => (number > 0 && number <= room ? 1 : number));
  const grey = distance.map((_, i) => (picture[3 * i]! + picture[3 * i + 1]! + picture[3 * i + 2]!) / 3);
  const normal = [0, 1, 2].map((axis) => field(seen.surface, axis));
  const surface = [...normal.map((n) => n.map((value) => value / 2)), near];
  const curvature = (channel: number) =>
    field(seen.shape, channel).map((k) => Math.min(1, 0.5 + k / (2 * MAX_CURVATURE)));
  const { x, y } = slopes(grey, size);
  return {
    depth_euclidean: tiled(near),
    depth_zbuffer: tiled(field(seen.shape, 3).map((z) => Math.min(1, z / MAX_DEPTH))),
    edge_occlusion: tiled(jumps(near, solid, size).map((jump) => Math.min(1, (jump * MAX_DEPTH) / MAX_JUMP))),
    edge_texture: tiled(x.map((slope, i) => Math.min(1, Math.hypot(slope, y[i]!) / MAX_SLOPE))),
    keypoints2d: tiled(corners([grey], size).map((corner) => Math.min(1, corner / MAX_CORNER.picture))),
    keypoints3d: tiled(corners(surface, size).map((corner) => Math.min(1, corner / MAX_CORNER.surface))),
    normal: interleaved(normal.map((n) => n.map((value) => (1 + value) / 2))),
    principal_curvature: interleaved([curvature(1), curvature(2), new Float64Array(pixels).fill(0.5)]),
    reshading: tiled(field(seen.colour, 3)),
    rgb: picture,
  };
}

const tiled = (values: Field): Float64Array => interleaved([values, values, values]);

function interleaved(channels: readonly Field[]): Float64Array {
  const width = channels.length;
  const result = new Float64Array(width * channels[0]!.length);
  for (const [c, values] of channels.entries()) {
    for (let i = 0; i < values.length; i++) result[width * i + c] = values[i]!;
  }
  return result;
}

/** The values beside each, `right` and `down` from it, those of the border outside. */
function shifted(values: Field, size: number, right: number, down: number): Field {
  const result = new Float64Array(values.length);
  const inside = (at: number) => Math.max(0, Math.min(size - 1, at));
  for (let y = 0; y < size; y++) {
    const from = inside(y + down) * size;
    for (let x = 0; x < size; x++) result[y * size + x] = values[from + inside(x + right)]!;
  }
  return result;
}

/** (before + 2 here + after) / 4. */
function smoothed(values: Field, size: number, right: number, down: number): Field {
  const before = shifted(values, size, -right, -down);
  const after = shifted(values, size, right, down);
  return values.map((value, i) => (before[i]! + 2 * value + after[i]!) / 4);
}

/** Sobel's differences a pixel, across and down. */
function slopes(values: Field, size: number): { x: Field; y: Field } {
  const slope = (right: number, down: number) => {
    const smooth = smoothed(values, size, down, right);
    const before = shifted(smooth, size, -right, -down);
    return shifted(smooth, size, right, down).map((after, i) => (after - before[i]!) / 2);
  };
  return { x: slope(1, 0), y: slope(0, 1) };
}

/** Square root of the smaller eigenvalue of the structure tensor, added up over channels. */
function corners(channels: readonly Field[], size: number): Field {
  const gradients = channels.map((values) => slopes(values, size));
  const tensor = (a: 'x' | 'y', b: 'x' | 'y'): Field => {
    const product = new Float64Array(size * size);
    for (const gradient of gradients) {
      for (let i = 0; i < product.length; i++) product[i]! += gradient[a][i]! * gradient[b][i]!;
    }
    return smoothed(smoothed(product, size, 1, 0), size, 0, 1);
  };
  const [xx, xy, yy] = [tensor('x', 'x'), tensor('x', 'y'), tensor('y', 'y')];
  return xx.map((value, i) => {
    const least = (value + yy[i]!) / 2 - Math.hypot((value - yy[i]!) / 2, xy[i]!);
    return Math.sqrt(Math.max(0, least));
  });
}

/** Largest difference to a neighbour of another solid; 0 where there is none. */
function jumps(values: Field, solid: Field, size: number): Field {
  const result = new Float64Array(values.length);
  for (const [right, down] of [
    [1, 0],
    [-1, 0],
    [0, 1],
    [0, -1],
  ] as const) {
    const other = shifted(values, size, right, down);
    const otherSolid = shifted(solid, size, right, down);
    for (let i = 0; i < values.length; i++) {
      if (otherSolid[i] !== solid[i]) result[i] = Math.max(result[i]!, Math.abs(values[i]! - other[i]!));
    }
  }
  return result;
}
