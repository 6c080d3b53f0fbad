/** Along x, y (up) and z, in metres unless said otherwise. */
export type Vec3 = readonly [number, number, number];

/** Where a slab does not bound a solid. */
export const UNBOUNDED = 1e9;

/** Distance and depth in metres where a ray meets nothing. */
export const FAR = 1e3;

/** Two colours, and where each is. */
export interface Texture {
  /** `cells`: by the parity of the cell of point * frequency + phase; `noise`: mixed by value noise on its corners. */
  pattern: 'cells' | 'noise';
  first: Vec3;
  second: Vec3;
  /** Cells a metre along each axis of the solid; 0 where the texture does not change along it. */
  frequency: Vec3;
  phase: Vec3;
  /** Of the noise; a whole number below 2^24. */
  seed: number;
}

/**
 * What three slabs `lower` <= q <= `upper` and, where `round`, a ball or cylinder have in common, q being coordinates
 * along the axes from the centre.
 */
export interface Solid {
  centre: Vec3;
  /** Orthonormal. */
  axes: readonly [Vec3, Vec3, Vec3];
  lower: Vec3;
  upper: Vec3;
  /** Weights of sum(w q^2) <= radius^2: (1, 1, 1) a ball, (1, 0, 1) a cylinder along y, (0, 0, 0) neither. */
  round: Vec3;
  /** 1 where not round. */
  radius: number;
  texture: Texture;
}

export interface Light {
  position: Vec3;
  colour: Vec3;
  /** Brightness falls with 1 / (1 + falloff * distance^2). */
  falloff: number;
}

export interface Camera {
  position: Vec3;
  /** Orthonormal, as `up` and `forward`. */
  right: Vec3;
  up: Vec3;
  forward: Vec3;
  /** Tangent of half the angle of view. */
  slope: number;
}

export interface Scene {
  camera: Camera;
  /** Half-spaces: the ground alone, or floor, ceiling and four walls. They throw no shadows. */
  room: Solid[];
  /** Numbered after the room. */
  objects: Solid[];
  lights: readonly [Light] | readonly [Light, Light];
  ambient: number;
  sky: { zenith: Vec3; horizon: Vec3 };
}

export const add = (a: Vec3, b: Vec3): Vec3 => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const times = (a: Vec3, k: number): Vec3 => [a[0] * k, a[1] * k, a[2] * k];
export const cross = (a: Vec3, b: Vec3): Vec3 => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
