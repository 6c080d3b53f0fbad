import { Random } from '../../engine/index.ts';
import {
  add,
  type Camera,
  cross,
  type Light,
  type Scene,
  type Solid,
  type Texture,
  times,
  UNBOUNDED,
  type Vec3,
} from './scene.ts';

/** Share of scenes on open ground. */
const OPEN = 0.2;
/** Tries to find an object a place of its own. */
const TRIES = 12;
const UPRIGHT: Solid['axes'] = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const NO_BOUND: Vec3 = [UNBOUNDED, UNBOUNDED, UNBOUNDED];

/** Extents of a room, whose floor is at height 0 and centred; open ground is a wide one. */
interface Space {
  width: number;
  depth: number;
  height: number;
  open: boolean;
}

/** Numbers one by one from a random stream. */
class Draw {
  private numbers: Float32Array = new Float32Array(0);
  private used = 0;

  constructor(private readonly random: Random) {}

  /** Uniform in [low, high). */
  in(low: number, high: number): number {
    if (this.used === this.numbers.length) {
      this.numbers = this.random.uniform(128);
      this.used = 0;
    }
    return low + (high - low) * this.numbers[this.used++]!;
  }

  chance(probability: number): boolean {
    return this.in(0, 1) < probability;
  }

  /** A whole number below `n`. */
  below(n: number): number {
    return Math.floor(this.in(0, n));
  }
}

/**
 * Scene `index` of a seed: a room, or in a fifth of the scenes open ground under a sky, with 3 to 8 balls, boxes and
 * cylinders, one or two lights and a camera that looks at them. It depends on the two numbers alone.
 * @throws FathomError `bad-seed`
 */
export function drawScene(seed: number, index: number): Scene {
  const draw = new Draw(new Random(seed).fork(`scene ${index}`));
  const open = draw.chance(OPEN);
  const space: Space = open
    ? { width: 14, depth: 14, height: 12, open }
    : { width: draw.in(4, 8), depth: draw.in(4, 8), height: draw.in(2.4, 3.4), open };
  const camera = drawCamera(draw, space);
  const room = drawRoom(draw, space);
  const objects: Solid[] = [];
  const places: { at: Vec3; reach: number }[] = [{ at: camera.position, reach: 0.6 }];
  const count = 3 + draw.below(6);
  while (objects.length < count) {
    const { solid, reach, rise } = drawObject(draw);
    const at = findPlace(draw, space, camera, places, reach);
    const lift = draw.chance(0.12) ? draw.in(0.2, 1) : 0;
    places.push({ at, reach });
    objects.push({ ...solid, centre: [at[0], rise + lift, at[2]] });
  }
  const sky = { zenith: hsv(draw.in(0.55, 0.65), 0.6, 0.8), horizon: hsv(draw.in(0.5, 0.65), 0.15, 0.95) };
  return { camera, room, objects, lights: drawLights(draw, space), ambient: draw.in(0.25, 0.4), sky };
}

function drawCamera(draw: Draw, { width, depth, open }: Space): Camera {
  const yaw = draw.in(0, 2 * Math.PI);
  const pitch = -draw.in(0.08, 0.4);
  const back = open ? draw.in(2.5, 4) : 9;
  const level: Vec3 = [Math.sin(yaw), 0, Math.cos(yaw)];
  const inside = (value: number, extent: number) => clamp(value, extent / 2 - 0.4);
  const position: Vec3 = [
    inside(-back * level[0] + draw.in(-0.5, 0.5), width),
    draw.in(1, 1.8),
    inside(-back * level[2] + draw.in(-0.5, 0.5), depth),
  ];
  // Towards the middle of the room, give or take.
  const aim = Math.atan2(-position[0], -position[2]) + draw.in(-0.25, 0.25);
  const forward: Vec3 = [Math.cos(pitch) * Math.sin(aim), Math.sin(pitch), Math.cos(pitch) * Math.cos(aim)];
  const right: Vec3 = [Math.cos(aim), 0, -Math.sin(aim)];
  return { position, right, up: cross(forward, right), forward, slope: draw.in(0.55, 0.8) };
}

function drawRoom(draw: Draw, { width, depth, height, open }: Space): Solid[] {
  const floor = halfSpace([0, 1, 0], [0, 0, 0], drawTexture(draw, open ? [1, 2] : [0.3, 0.8], 0.3));
  if (open) return [floor];
  const paper = drawTexture(draw, [0.25, 0.8], 0.25);
  const wall = (normal: Vec3, distance: number) =>
    halfSpace(normal, times(normal, -distance), {
      ...paper,
      phase: [draw.in(0, 1), 0.5, draw.in(0, 1)],
      first: times(paper.first, draw.in(0.85, 1)),
    });
  const ceiling = hsv(draw.in(0, 1), 0.05, draw.in(0.8, 0.95));
  return [
    floor,
    halfSpace([0, -1, 0], [0, height, 0], { ...paper, first: ceiling, second: ceiling }),
    wall([1, 0, 0], width / 2),
    wall([-1, 0, 0], width / 2),
    wall([0, 0, 1], depth / 2),
    wall([0, 0, -1], depth / 2),
  ];
}

/** The half-space below a plane through a point; along walls the axis x is level and z is upright. */
function halfSpace(normal: Vec3, centre: Vec3, texture: Texture): Solid {
  const x: Vec3 = normal[1] === 0 ? [normal[2], 0, -normal[0]] : [1, 0, 0];
  return {
    centre,
    axes: [x, normal, cross(x, normal)],
    lower: times(NO_BOUND, -1),
    upper: [UNBOUNDED, 0, UNBOUNDED],
    round: [0, 0, 0],
    radius: 1,
    texture: { ...texture, frequency: [texture.frequency[0], 0, texture.frequency[2]] },
  };
}

/** A solid, how far it reaches sideways from its centre, and how high that is when it stands on the floor. */
function drawObject(draw: Draw): { solid: Solid; reach: number; rise: number } {
  const texture = drawTexture(draw, [0.1, 0.35], 0.7);
  const kind = draw.below(4);
  const centre: Vec3 = [0, 0, 0];
  const unround = { round: [0, 0, 0], radius: 1 } as const;
  if (kind === 0) {
    const radius = draw.in(0.2, 0.6);
    const axes = turned(draw.in(0, 2 * Math.PI), draw.in(0, 2 * Math.PI));
    const solid: Solid = {
      centre,
      axes,
      lower: times(NO_BOUND, -1),
      upper: NO_BOUND,
      round: [1, 1, 1],
      radius,
      texture,
    };
    return { solid, reach: radius, rise: radius };
  }
  if (kind === 1) {
    const radius = draw.in(0.12, 0.4);
    const half = draw.in(0.2, 0.8);
    const solid: Solid = {
      centre,
      axes: turned(draw.in(0, 2 * Math.PI), 0),
      lower: [-UNBOUNDED, -half, -UNBOUNDED],
      upper: [UNBOUNDED, half, UNBOUNDED],
      round: [1, 0, 1],
      radius,
      texture,
    };
    return { solid, reach: radius, rise: half };
  }
  const half: Vec3 = [draw.in(0.15, 0.5), draw.in(0.15, 0.6), draw.in(0.15, 0.5)];
  const axes = turned(draw.in(0, 2 * Math.PI), kind === 2 ? 0 : draw.in(0, 2 * Math.PI));
  const rise = half.reduce((sum, extent, i) => sum + extent * Math.abs(axes[i]![1]), 0);
  const reach = kind === 2 ? Math.hypot(half[0], half[2]) : Math.hypot(...half);
  return { solid: { centre, axes, lower: times(half, -1), upper: half, ...unround, texture }, reach, rise };
}

/** Axes turned about the vertical, after they were tilted about x and as much about z. */
function turned(yaw: number, tilt: number): Solid['axes'] {
  const [c, s] = [Math.cos(tilt), Math.sin(tilt)];
  const tilted: Vec3[] = UPRIGHT.map(([x, y, z]): Vec3 => {
    const [y1, z1] = [c * y - s * z, s * y + c * z];
    return [c * x - s * y1, s * x + c * y1, z1];
  });
  const [cy, sy] = [Math.cos(yaw), Math.sin(yaw)];
  return tilted.map(([x, y, z]): Vec3 => [cy * x + sy * z, y, cy * z - sy * x]) as unknown as Solid['axes'];
}

/** A place on the floor in sight, as far from what is there as tries allow. */
function findPlace(
  draw: Draw,
  { width, depth }: Space,
  { position, right, forward, slope }: Camera,
  places: readonly { at: Vec3; reach: number }[],
  reach: number,
): Vec3 {
  const level = Math.hypot(forward[0], forward[2]);
  const ahead: Vec3 = [forward[0] / level, 0, forward[2] / level];
  let best: Vec3 = position;
  let clearance = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < TRIES && clearance <= 0; i++) {
    const distance = draw.in(1.6, 6);
    const side = draw.in(-0.9, 0.9) * slope * distance;
    const sought = add(position, add(times(ahead, distance), times(right, side)));
    const inside = (value: number, extent: number) => clamp(value, extent / 2 - reach);
    const at: Vec3 = [inside(sought[0], width), 0, inside(sought[2], depth)];
    const room = (other: { at: Vec3; reach: number }) =>
      Math.hypot(at[0] - other.at[0], at[2] - other.at[2]) - reach - other.reach;
    const least = Math.min(...places.map(room));
    if (least > clearance) [best, clearance] = [at, least];
  }
  return best;
}

function drawLights(draw: Draw, { width, depth, height, open }: Space): Scene['lights'] {
  const light = (strength: number): Light => {
    const colour = times(hsv(draw.in(0, 1), draw.in(0, 0.15), 1), strength);
    const x = draw.in(-0.5, 0.5);
    const z = draw.in(-0.5, 0.5);
    if (open) return { position: [60 * x, 40, 60 * z], colour, falloff: 0 };
    return {
      position: [x * (width - 0.8), height - draw.in(0.1, 0.5), z * (depth - 0.8)],
      colour,
      falloff: draw.in(0.02, 0.06),
    };
  };
  return draw.chance(0.5) ? [light(draw.in(0.8, 1))] : [light(draw.in(0.5, 0.7)), light(draw.in(0.35, 0.5))];
}

/** @param cell smallest and largest extent of a cell, in metres */
function drawTexture(draw: Draw, cell: readonly [number, number], saturation: number): Texture {
  const hue = draw.in(0, 1);
  const first = hsv(hue, draw.in(0.2, 1) * saturation, draw.in(0.6, 0.95));
  const other = hsv(hue + draw.in(-0.2, 0.2), draw.in(0.2, 1) * saturation, draw.in(0.25, 0.5));
  const kind = draw.below(4);
  const frequency = 1 / draw.in(...cell);
  const along: Vec3 = draw.chance(0.5) ? [1, 0, 0] : [0, 0, 1];
  return {
    pattern: kind === 0 ? 'noise' : 'cells',
    first,
    second: kind === 3 ? first : other,
    frequency: times(kind === 1 ? along : [1, 1, 1], frequency),
    phase: [draw.in(0, 1), draw.in(0, 1), draw.in(0, 1)],
    seed: draw.below(2 ** 24),
  };
}

/** @param hue in turns; saturation and value in [0, 1] */
function hsv(hue: number, saturation: number, value: number): Vec3 {
  const channel = (n: number) => {
    const k = (n + 6 * hue + 12) % 6;
    return value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Into [-limit, limit]. */
function clamp(value: number, limit: number): number {
  return Math.max(-limit, Math.min(limit, value));
}
