import { createHash } from 'node:crypto';
import { FathomError, type Gpu } from '../../engine/index.ts';
import { type DataSet, hashImages, type ImageSet } from '../dataset.ts';
import { drawScene } from './draw.ts';
import { type Domain, domains, labelPictures } from './labels.ts';
import { raycast, type Seen } from './raycast.ts';
import type { Scene } from './scene.ts';

export interface SceneOptions {
  /** Fixes every scene. */
  seed: number;
  /** Scenes to train on: those of index 0 to count - 1. */
  count: number;
  /** Scenes to test on, of the indices after; a quarter of `count` unless told. */
  testCount?: number;
  /** Pixels a side; 32 unless told. */
  size?: number;
}

/** Rays a side of a pixel of the picture; each label is that of the ray in the middle. */
const SAMPLES = 2;
/** Rays at a time, which bounds memory on both sides. */
const MOST_RAYS = 2 ** 18;

/**
 * Renders random scenes (docs/scenes.md): RGB pictures in [0, 1] and, as exact as single precision, the truths of
 * Taskonomy's ten domains, all [count, size, size, 3]. Values are kept as the nearest of 255 steps, so they are off by
 * up to 1/510: 2.4 cm of depth, 0.004 in a component of a normal, 0.016 per metre of curvature.
 *
 * The pixels depend on the options and the adapter alone.
 * @throws FathomError `bad-seed` or `bad-scenes`
 */
export async function renderScenes(
  gpu: Gpu,
  { seed, count, testCount = Math.ceil(count / 4), size = 32 }: SceneOptions,
): Promise<DataSet> {
  const name = `scenes ${seed}`;
  for (const value of [count, testCount, size]) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw new FathomError({
      code: 'bad-scenes',
      message: `There are no ${count} and ${testCount} scenes of ${size} pixels a side`,
      fix: 'Give whole numbers from 1',
    });
  }
  const train = await renderRange(gpu, `${name} train`, seed, 0, count, size);
  const test = await renderRange(gpu, `${name} test`, seed, count, testCount, size);
  const targets = new Map(
    domains.map((domain) => [domain, { train: train[domain], test: test[domain] }] as const),
  );
  const hash = createHash('sha256');
  for (const sets of targets.values()) hash.update(`${sets.train.hash} ${sets.test.hash}\n`);
  return { name, classNames: [], train: train.rgb, test: test.rgb, targets, hash: hash.digest('hex') };
}

async function renderRange(
  gpu: Gpu,
  name: string,
  seed: number,
  from: number,
  count: number,
  size: number,
): Promise<Record<Domain, ImageSet>> {
  const set = (domain: Domain): ImageSet => ({
    name: `${name} ${domain}`,
    count,
    height: size,
    width: size,
    channels: 3,
    pixels: new Uint8Array(count * size * size * 3),
    labels: new Uint8Array(count),
    classes: 0,
  });
  const sets = Object.fromEntries(domains.map((domain) => [domain, set(domain)])) as Record<Domain, ImageSet>;
  const most = Math.max(1, Math.floor(MOST_RAYS / (SAMPLES * size) ** 2));
  for (let start = 0; start < count; start += most) {
    const length = Math.min(most, count - start);
    const scenes = Array.from({ length }, (_, i) => drawScene(seed, from + start + i));
    for (const [i, pictures] of (await renderPictures(gpu, scenes, size)).entries()) {
      for (const domain of domains) {
        const { pixels } = sets[domain];
        const at = (start + i) * size * size * 3;
        pixels.set(
          pictures[domain].map((value) => Math.round(255 * value)),
          at,
        );
      }
    }
  }
  for (const domain of domains) sets[domain].hash = hashImages(sets[domain]);
  return sets;
}

/** Every domain's picture of each scene, [size, size, 3] in [0, 1], not yet rounded. */
export async function renderPictures(
  gpu: Gpu,
  scenes: readonly Scene[],
  size: number,
): Promise<Record<Domain, Float64Array>[]> {
  const seen = await raycast(gpu, scenes, size);
  const fine = await raycast(gpu, scenes, SAMPLES * size);
  return scenes.map(({ room }, i) => {
    const part = (values: Float32Array, side: number) =>
      values.subarray(4 * i * side * side, 4 * (i + 1) * side * side);
    const own: Seen = {
      colour: part(seen.colour, size),
      surface: part(seen.surface, size),
      shape: part(seen.shape, size),
    };
    const picture = develop(part(fine.colour, SAMPLES * size), size);
    return labelPictures({ size, seen: own, picture, room: room.length });
  });
}

/** A picture in [0, 1] from linear colours of finer pixels: their mean, cut off at 1, and of it the square root. */
function develop(colour: Float32Array, size: number): Float64Array {
  const side = SAMPLES * size;
  const sums = new Float64Array(size * size * 3);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = 3 * (Math.floor(y / SAMPLES) * size + Math.floor(x / SAMPLES));
      for (let c = 0; c < 3; c++) sums[at + c]! += colour[4 * (y * side + x) + c]!;
    }
  }
  return sums.map((sum) => Math.sqrt(Math.min(1, sum / SAMPLES ** 2)));
}
