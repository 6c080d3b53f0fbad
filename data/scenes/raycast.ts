import type { Gpu } from '../../engine/index.ts';
import type { Scene, Solid, Vec3 } from './scene.ts';

const HEADER = 10;
const SOLID = 10;
const MOST_SOLIDS = 14;
/** vec4s a scene. */
const STRIDE = HEADER + SOLID * MOST_SOLIDS;

/** What is seen through each pixel, four numbers a pixel, of scene after scene. */
export interface Seen {
  /** Linear colour, not bounded above, and n.(-d), the shading under a light at the camera. */
  colour: Float32Array;
  /** Unit normal along the camera's right, up and back, and the distance from the camera in metres. */
  surface: Float32Array;
  /** Number of the solid from 1, 0 where there is none; principal curvatures per metre; depth along the axis in metres. */
  shape: Float32Array;
}

/**
 * Casts a ray through the middle of every pixel of square pictures (shaders/raycast.wgsl).
 * @param size pixels a side
 */
export async function raycast(gpu: Gpu, scenes: readonly Scene[], size: number): Promise<Seen> {
  const count = scenes.length * size * size;
  const packed = new Float32Array(scenes.length * STRIDE * 4);
  for (const [i, scene] of scenes.entries()) packScene(scene, packed.subarray(i * STRIDE * 4));
  const outputs = gpu.scope(() => {
    const output = () => gpu.empty([count, 4], 'f32');
    const out = { colour: output(), surface: output(), shape: output() };
    gpu.dispatch(
      gpu.kernel('raycast'),
      { scenes: gpu.tensor(packed, [scenes.length * STRIDE, 4]), ...out },
      { count, size, stride: STRIDE },
      Math.ceil(count / 64),
    );
    return out;
  });
  try {
    const { colour, surface, shape } = outputs;
    const [seen, where, what] = await Promise.all([colour.read(), surface.read(), shape.read()]);
    return { colour: seen, surface: where, shape: what };
  } finally {
    for (const tensor of Object.values(outputs)) tensor.dispose();
  }
}

function packScene({ camera, room, objects, lights, ambient, sky }: Scene, into: Float32Array): void {
  const [first, second = { ...first, colour: [0, 0, 0] as const }] = lights;
  const solids = [...room, ...objects];
  if (solids.length > MOST_SOLIDS)
    throw new RangeError(`${solids.length} solids in a scene, of ${MOST_SOLIDS}`);
  pack(into, 0, [
    [camera.position, camera.slope],
    [camera.right, room.length],
    [camera.up, solids.length],
    [camera.forward, 0],
    [first.position, first.falloff],
    [first.colour, ambient],
    [second.position, second.falloff],
    [second.colour, 0],
    [sky.zenith, 0],
    [sky.horizon, 0],
  ]);
  for (const [i, solid] of solids.entries()) pack(into, HEADER + SOLID * i, solidRows(solid));
}

function solidRows({ centre, axes, lower, upper, round, radius, texture }: Solid): [Vec3, number][] {
  return [
    [centre, radius],
    [lower, 0],
    [upper, 0],
    [axes[0], round[0]],
    [axes[1], round[1]],
    [axes[2], round[2]],
    [texture.first, 0],
    [texture.second, 0],
    [texture.frequency, texture.pattern === 'noise' ? 1 : 0],
    [texture.phase, texture.seed],
  ];
}

function pack(into: Float32Array, row: number, rows: readonly (readonly [Vec3, number])[]): void {
  for (const [i, [vector, last]] of rows.entries()) into.set([...vector, last], 4 * (row + i));
}
