import type { Scene, Solid, Vec3 } from '../data/scenes/scene.ts';
import { FAR, UNBOUNDED } from '../data/scenes/scene.ts';

/** What the ray of one place in a picture meets, in float64. */
export interface Sight {
  /** Linear colour and shading, as `Seen.colour`. */
  colour: number[];
  surface: number[];
  shape: number[];
  /** What must not change for the rest to be continuous: solid, face, cell of the texture, lights seen. */
  code: string;
  /** Whether a cell of the texture ends within rounding. */
  onBorder: boolean;
}

/** In cells. */
const BORDER = 1e-4;
const BIAS = 1e-3;

const dot = (a: readonly number[], b: readonly number[]) => a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!;
const along = (origin: readonly number[], direction: readonly number[], t: number) =>
  origin.map((value, i) => value + t * direction[i]!);
const unit = (v: readonly number[]) => v.map((value) => value / Math.sqrt(dot(v, v)));

/**
 * The surface seen at (x, y) of a picture, in pixels from its upper left corner, so that pixel (0, 0) is seen at
 * (0.5, 0.5). Written from the header of shaders/raycast.wgsl, one constraint after another.
 */
export function look(
  { camera, room, objects, lights, ambient, sky }: Scene,
  size: number,
  x: number,
  y: number,
): Sight {
  const u = ((2 * x) / size - 1) * camera.slope;
  const v = (1 - (2 * y) / size) * camera.slope;
  const direction = unit(camera.forward.map((f, i) => f + u * camera.right[i]! + v * camera.up[i]!));
  const solids = [...room, ...objects];
  let first: { t: number; normal: number[]; face: number } | undefined;
  let number = 0;
  for (const [i, solid] of solids.entries()) {
    const entry = enter(solid, camera.position, direction);
    if (entry && entry.t > 0 && entry.t < (first?.t ?? FAR)) [first, number] = [entry, i + 1];
  }
  if (!first) {
    const height = Math.min(1, Math.max(0, direction[1]!));
    const colour = sky.horizon.map((low, c) => low + (sky.zenith[c]! - low) * height);
    return {
      colour: [...colour, 0],
      surface: [0, 0, 0, FAR],
      shape: [0, 0, 0, FAR],
      code: 'sky',
      onBorder: false,
    };
  }
  const { t, normal, face } = first;
  const solid = solids[number - 1]!;
  const point = along(camera.position, direction, t);
  const start = along(point, normal, BIAS);
  const light = [0, 1, 2].map(() => ambient * (0.8 + 0.2 * normal[1]!));
  let code = `${number} ${face}`;
  for (const { position, colour, falloff } of lights) {
    const towards = position.map((p, i) => p - start[i]!);
    const distance = Math.sqrt(dot(towards, towards));
    const ray = unit(towards);
    const blocked = objects.some((object) => {
      const entry = enter(object, start, ray);
      return entry !== undefined && entry.leave > 0 && entry.t < distance;
    });
    const facing = dot(normal, ray);
    code += blocked || facing < 0 ? ' dark' : ' lit';
    if (blocked || facing < 0) continue;
    for (let c = 0; c < 3; c++) light[c]! += (colour[c]! * facing) / (1 + falloff * distance * distance);
  }
  const { share, cell, onBorder } = paint(solid, point);
  const { first: one, second: two } = solid.texture;
  const colour = light.map((value, c) => value * (one[c]! + (two[c]! - one[c]!) * share));
  const k = face === 3 ? 1 / solid.radius : 0;
  return {
    colour: [...colour, -dot(normal, direction)],
    surface: [dot(camera.right, normal), dot(camera.up, normal), -dot(camera.forward, normal), t],
    shape: [number, k, solid.round[1] === 1 ? k : 0, t * dot(direction, camera.forward)],
    code: `${code} ${cell}`,
    onBorder,
  };
}

/** Where a ray enters a solid and leaves it; face 0 to 2 is that of a slab, 3 the round one. */
function enter(
  { centre, axes, lower, upper, round, radius }: Solid,
  origin: readonly number[],
  direction: readonly number[],
): { t: number; leave: number; normal: number[]; face: number } | undefined {
  const local = (v: readonly number[]) => axes.map((axis) => dot(axis, v));
  const o = local(origin.map((value, i) => value - centre[i]!));
  const d = local(direction);
  let t = Number.NEGATIVE_INFINITY;
  let leave = Number.POSITIVE_INFINITY;
  let face = -1;
  for (let axis = 0; axis < 3; axis++) {
    if (lower[axis] === -UNBOUNDED && upper[axis] === UNBOUNDED) continue;
    const from = (lower[axis]! - o[axis]!) / d[axis]!;
    const to = (upper[axis]! - o[axis]!) / d[axis]!;
    if (Math.min(from, to) > t) [t, face] = [Math.min(from, to), axis];
    leave = Math.min(leave, Math.max(from, to));
  }
  if (round[0] === 1) {
    const weighted = (a: readonly number[], b: readonly number[]) =>
      dot(
        a.map((value, i) => value * round[i]!),
        b,
      );
    const [a, b, c] = [weighted(d, d), weighted(o, d), weighted(o, o) - radius * radius];
    const root = Math.sqrt(b * b - a * c);
    if (!(root > 0)) return undefined;
    if ((-b - root) / a > t) [t, face] = [(-b - root) / a, 3];
    leave = Math.min(leave, (-b + root) / a);
  }
  if (!(t < leave)) return undefined;
  const at = along(o, d, t);
  const n =
    face === 3
      ? unit(at.map((value, i) => value * round[i]!))
      : [0, 1, 2].map((axis) => (axis === face ? -Math.sign(d[axis]!) : 0));
  const normal = [0, 1, 2].map((i) => n[0]! * axes[0][i]! + n[1]! * axes[1][i]! + n[2]! * axes[2][i]!);
  return { t, leave, normal, face };
}

function paint(
  { centre, axes, texture }: Solid,
  point: readonly number[],
): { share: number; cell: string; onBorder: boolean } {
  const from = point.map((value, i) => value - centre[i]!);
  const q = axes.map((axis, i) => dot(axis, from) * texture.frequency[i]! + texture.phase[i]!);
  const cell = q.map(Math.floor);
  if (texture.pattern === 'cells') {
    const onBorder = q.some(
      (value, i) => texture.frequency[i] !== 0 && Math.abs(value - Math.round(value)) < BORDER,
    );
    return { share: (cell[0]! + cell[1]! + cell[2]!) & 1, cell: `${cell}`, onBorder };
  }
  const s = q.map((value, i) => {
    const part = value - cell[i]!;
    return part * part * (3 - 2 * part);
  });
  let share = 0;
  for (let corner = 0; corner < 8; corner++) {
    const step = [corner & 1, (corner >> 1) & 1, corner >> 2];
    const weight = step.reduce((product, one, i) => product * (one ? s[i]! : 1 - s[i]!), 1);
    share +=
      weight *
      hash(
        cell.map((value, i) => value + step[i]!),
        texture.seed,
      );
  }
  return { share, cell: '', onBorder: false };
}

function hash([x, y, z]: readonly number[], seed: number): number {
  let h = Math.imul(x!, 0x8da6b343) ^ Math.imul(y!, 0xd8163841) ^ Math.imul(z!, 0xcb1ab31f) ^ seed;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return ((h ^ (h >>> 16)) >>> 8) / 2 ** 24;
}

/** A solid of one colour for scenes made by hand. */
export function plain(shape: Partial<Solid> & { centre: Vec3 }): Solid {
  return {
    axes: [
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ],
    lower: [-UNBOUNDED, -UNBOUNDED, -UNBOUNDED],
    upper: [UNBOUNDED, UNBOUNDED, UNBOUNDED],
    round: [0, 0, 0],
    radius: 1,
    texture: {
      pattern: 'cells',
      first: [0.5, 0.5, 0.5],
      second: [0.5, 0.5, 0.5],
      frequency: [1, 1, 1],
      phase: [0, 0, 0],
      seed: 0,
    },
    ...shape,
  };
}
