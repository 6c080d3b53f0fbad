import fc from 'fast-check';
import type { Examples, ImageSet, Task } from '../../data/index.ts';
import { Random } from '../../engine/index.ts';
import {
  type Architecture,
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  maxpoolLayer,
  reluLayer,
} from '../../models/index.ts';

/**
 * Small classifiers: a convolution and ReLU, at times max pooling, at times a hidden linear layer, and a linear
 * `head`. Inputs are at most 6 x 6 x 2, classes 2 to 4.
 */
export function architectures(): fc.Arbitrary<Architecture> {
  const shape = {
    half: fc.integer({ min: 1, max: 3 }),
    channels: fc.integer({ min: 1, max: 2 }),
    features: fc.integer({ min: 1, max: 3 }),
    kernel: fc.constantFrom(1, 3),
    pool: fc.boolean(),
    hidden: fc.integer({ min: 0, max: 5 }),
    classes: fc.integer({ min: 2, max: 4 }),
  };
  return fc.record(shape).map(({ half, channels, features, kernel, pool, hidden, classes }): Architecture => {
    const extent = pool ? half : 2 * half;
    const flat = extent * extent * features;
    return {
      name: 'random',
      input: [2 * half, 2 * half, channels],
      classes,
      module: chain(
        ['conv', conv2dLayer({ in: channels, out: features, kernel, padding: (kernel - 1) / 2 })],
        reluLayer(),
        ...(pool ? [maxpoolLayer(2)] : []),
        flattenLayer(),
        ...(hidden > 0 ? [['fc', linearLayer(flat, hidden)] as const, reluLayer()] : []),
        ['head', linearLayer(hidden || flat, classes)],
      ),
      head: ['head.weight', 'head.bias'],
    };
  });
}

/** 2 to 8 random images in [0, 1), of an architecture's input size and with labels of its classes. */
export function labelledExamples({
  input,
  classes,
}: Pick<Architecture, 'input' | 'classes'>): fc.Arbitrary<Examples> {
  const [height, width, channels] = input;
  const label = fc.nat({ max: classes - 1 });
  return fc
    .record({ seed: fc.nat(), labels: fc.array(label, { minLength: 2, maxLength: 8 }) })
    .map((made) => {
      const count = made.labels.length;
      const pixels = new Random(made.seed).uniform(count * height * width * channels);
      const labels = Uint32Array.from(made.labels);
      return {
        images: { name: 'random', count, height, width, channels, pixels, labels, classes },
        index: labels.map((_, i) => i),
        labels,
      };
    });
}

/**
 * Small classification tasks on images of one size: class c of a task is a bright patch at a place of its own in
 * noise, 2 to 4 classes, with 24 images to train on, 8 to validate and 8 to test.
 * @param input [height, width, channels], with at least four pixels
 */
export function tasks(input: Architecture['input']): fc.Arbitrary<Task> {
  return fc.record({ seed: fc.nat(), classes: fc.integer({ min: 2, max: 4 }) }).map(({ seed, classes }) => {
    const images = patches(input, classes, new Random(seed));
    const part = (from: number, to: number): Examples => {
      const index = Uint32Array.from({ length: to - from }, (_, i) => from + i);
      return { images, index, labels: index.map((i) => images.labels[i]!) };
    };
    return {
      name: `patches ${seed}`,
      description: 'where the bright patch is',
      classes,
      classNames: Array.from({ length: classes }, (_, c) => `place ${c}`),
      train: part(0, 24),
      validation: part(24, 32),
      test: part(32, 40),
    };
  });
}

/** Stretches of a quarter of an image, in an order that the random stream draws, mark the classes. */
function patches(input: Architecture['input'], classes: number, random: Random): ImageSet {
  const [height, width, channels] = input;
  const count = 40;
  const size = height * width * channels;
  const places = random.fork('places').permutation(4);
  const labels = Uint32Array.from({ length: count }, (_, i) => i % classes);
  const pixels = Uint8Array.from(random.fork('noise').uniform(count * size), (noise, i) => {
    const place = Math.floor((4 * (i % size)) / size);
    const bright = place === places[labels[Math.floor(i / size)]!];
    return 120 * noise + (bright ? 120 : 0);
  });
  return { name: 'patches', count, height, width, channels, pixels, labels, classes };
}
