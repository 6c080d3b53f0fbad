import type { Examples, ImageSet, Task } from '../data/index.ts';
import { Random } from '../engine/index.ts';
import {
  type Architecture,
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  maxpoolLayer,
  reluLayer,
} from '../models/index.ts';

/** A convolutional network for 8x8 grey images, with a task head; small enough to compile and run in moments. */
export function tinyNet(classes: number): Architecture {
  return {
    name: 'tiny',
    input: [8, 8, 1],
    classes,
    module: chain(
      ['conv', conv2dLayer({ in: 1, out: 4, kernel: 3, padding: 1 })],
      reluLayer(),
      maxpoolLayer(2),
      flattenLayer(),
      ['fc', linearLayer(64, 6)],
      ['head', linearLayer(6, classes)],
    ),
    head: ['head.weight', 'head.bias'],
  };
}

/** Noisy 8x8 pictures of which class c has a bright row c. */
export function stripes(count: number, classes: number, seed = 0): ImageSet {
  const random = new Random(seed).fork('stripes');
  const noise = random.uniform(count * 64);
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes);
  const pixels = Uint8Array.from(noise, (value, i) => {
    const image = Math.floor(i / 64);
    const row = Math.floor((i % 64) / 8);
    return value * 120 + (row === labels[image] ? 120 : 0);
  });
  return { name: 'stripes', count, height: 8, width: 8, channels: 1, pixels, labels, classes };
}

export function examplesOf(images: ImageSet, from = 0, count = images.count - from): Examples {
  const index = Uint32Array.from({ length: count }, (_, i) => from + i);
  return { images, index, labels: index.map((i) => images.labels[i]!) };
}

/** All classes of the stripes: 60 % training, 20 % validation, 20 % test. */
export function stripesTask(count: number, classes: number, name = `stripes ${classes}`): Task {
  const images = stripes(count, classes);
  const part = Math.floor(count / 5);
  return {
    name,
    description: 'which row is bright',
    classes,
    classNames: Array.from({ length: classes }, (_, i) => `row ${i}`),
    train: examplesOf(images, 0, 3 * part),
    validation: examplesOf(images, 3 * part, part),
    test: examplesOf(images, 4 * part, part),
  };
}
