import { readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { type UnzipFileInfo, unzipSync } from 'fflate';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import type { Shape } from '../image.ts';
import { numberLabels } from './labels.ts';
import { labelsOf, type NpyArray, npyOf, openNpy, pixelsOf } from './npy-file.ts';
import {
  adapt,
  type Common,
  common,
  type Decoded,
  missing,
  type Part,
  pathOf,
  type ReaderContext,
  type Source,
} from './reader.ts';

const shape = z
  .tuple([z.int().min(1).max(4096), z.int().min(1).max(4096), z.int().min(1).max(4)])
  .optional()
  .describe('Of images that are rows of numbers: [height, width, channels]; left out, square grey images');
const classNames = z.array(z.string().min(1)).min(1).optional().describe('Names of the classes, by label');
const pair = (what: string) =>
  z.strictObject({
    images: z
      .string()
      .min(1)
      .describe(
        `${what} of images: (N, height, width), (N, height, width, channels) or (N, values); whole numbers from 0 to 255, or floats, which networks see as they are`,
      ),
    labels: z.string().min(1).describe(`${what} of labels: (N) whole numbers`),
  });

export const npySpec = z.strictObject({
  format: z.literal('npy').describe('NumPy arrays, one a file'),
  train: pair('File').describe('The two files to train on'),
  test: pair('File').optional().describe('The two files to test on'),
  shape,
  classNames,
  ...common,
});

export const npzSpec = z.strictObject({
  format: z.literal('npz').describe('NumPy arrays in one zip file'),
  path: z.string().min(1).describe('The npz file'),
  train: pair('Name')
    .optional()
    .describe(
      'Names of the two arrays to train on; left out, x_train and y_train, train_images and train_labels, or images and labels',
    ),
  test: pair('Name')
    .optional()
    .describe('Names of the two arrays to test on; left out, those that go with train'),
  shape,
  classNames,
  ...common,
});

interface Pair {
  split: Part['split'];
  images: NpyArray;
  labels: NpyArray;
}

type Shaped = Common & { shape?: [number, number, number]; classNames?: string[] };

/** What an npz file may unpack to. */
const MAX_UNPACKED = 2 ** 31;
const MAX_ENTRIES = 4096;
/** Names of training arrays and of the test arrays that go with them. */
const USUAL = [
  { train: ['x_train', 'y_train'], test: ['x_test', 'y_test'] },
  { train: ['train_images', 'train_labels'], test: ['test_images', 'test_labels'] },
  { train: ['images', 'labels'] },
];

export async function openNpyPair(spec: z.infer<typeof npySpec>, context: ReaderContext): Promise<Source> {
  const splits = (['train', 'test'] as const).flatMap((split) => {
    const given = spec[split];
    if (!given) return [];
    return [{ split, images: pathOf(context, given.images), labels: pathOf(context, given.labels) }];
  });
  return {
    name: spec.name ?? basename(splits[0]!.images, '.npy'),
    files: splits.flatMap(({ images, labels }) => [images, labels]),
    cheap: true,
    async open() {
      const pairs = splits.map(({ split, images, labels }): Pair => {
        return { split, images: openNpy(images), labels: openNpy(labels) };
      });
      return decode(pairs, spec);
    },
  };
}

export async function openNpz(spec: z.infer<typeof npzSpec>, context: ReaderContext): Promise<Source> {
  const path = pathOf(context, spec.path);
  return {
    name: spec.name ?? basename(path, '.npz'),
    files: [path],
    cheap: true,
    async open() {
      const found = listEntries(path);
      const usual = USUAL.find(({ train }) => train.every((key) => found.has(key)));
      const keysOf = (split: 'train' | 'test'): string[] | undefined => {
        const given = spec[split];
        if (given) return [given.images, given.labels];
        const keys = spec.train ? undefined : usual?.[split];
        return keys?.every((key) => found.has(key)) ? keys : undefined;
      };
      const [train, test] = [keysOf('train'), keysOf('test')];
      const wanted = [...(train ?? []), ...(test ?? [])];
      const absent = wanted.find((key) => !found.has(key));
      if (!train || absent !== undefined) {
        throw new FathomError({
          code: 'npz-name',
          message: `${path} has no ${absent === undefined ? 'arrays of usual names' : `array ${absent}`}: it has ${[...found].slice(0, 12).join(', ').slice(0, 200)}`,
          fix: 'Set train and test to the names of arrays of images and labels',
        });
      }
      const arrays = unpack(path, wanted);
      const pairOf = (split: Part['split'], [images, labels]: string[]): Pair => ({
        split,
        images: arrays.get(images!)!,
        labels: arrays.get(labels!)!,
      });
      return decode([pairOf('train', train), ...(test ? [pairOf('test', test)] : [])], spec);
    },
  };
}

function decode(pairs: Pair[], spec: Shaped): Decoded {
  for (const { images, labels } of pairs) {
    if (images.shape[0] === labels.shape[0]) continue;
    throw new FathomError({
      code: 'count-mismatch',
      message: `${images.name} holds ${images.shape[0] ?? 0} images, but ${labels.name} holds ${labels.shape[0] ?? 0} labels`,
      fix: 'Give the two arrays of one set',
    });
  }
  const { classNames, labels } = numberLabels(
    pairs.map((pair) => labelsOf(pair.labels)),
    pairs.map((pair) => pair.labels.name),
    spec.classNames,
  );
  const parts = pairs.map(({ split, images }, p): Part => {
    const shape = imageShape(images, spec);
    const part: Part = {
      ...shape,
      split,
      count: images.shape[0]!,
      type: images.type.kind === 'f' ? 'floats' : 'bytes',
      labels: labels[p]!,
      images: () => pixelsOf(images, shape.height * shape.width * shape.channels),
    };
    return adapt(part, spec);
  });
  return { classNames, parts };
}

function imageShape({ name, shape }: NpyArray, spec: Shaped): Shape {
  const [, height = 0, width = 0, channels = 1] = shape;
  if ((shape.length === 3 || shape.length === 4) && channels >= 1 && channels <= 4)
    return { height, width, channels };
  if (shape.length === 2) {
    const side = Math.round(Math.sqrt(height));
    const [rows, columns, deep] = spec.shape ?? [side, side, 1];
    if (rows * columns * deep === height) return { height: rows, width: columns, channels: deep };
  }
  throw new FathomError({
    code: 'npy-shape',
    message: `${name} of shape (${shape.join(', ')}) does not hold images`,
    fix: 'Save images as (N, height, width) or (N, height, width, channels), or set shape for rows of numbers',
  });
}

/** Names of the arrays of an npz file. */
function listEntries(path: string): Set<string> {
  const names = new Set<string>();
  unzip(path, ({ name }) => {
    if (name.endsWith('.npy')) names.add(name.slice(0, -4));
    return false;
  });
  return names;
}

function unpack(path: string, keys: string[]): Map<string, NpyArray> {
  let total = 0;
  const entries = unzip(path, ({ name, size, originalSize }) => {
    if (!keys.some((key) => name === `${key}.npy`)) return false;
    total += originalSize;
    // Deflate makes at most 1032 bytes of one.
    if (originalSize > 1032 * size + 64 || total > MAX_UNPACKED) {
      throw new FathomError({
        code: 'npz-too-large',
        message: `${path} tells of ${originalSize} bytes in ${name}, more than is allowed or than it can hold`,
        fix: 'Save the arrays as separate npy files, which may be of any size',
      });
    }
    return true;
  });
  return new Map(keys.map((key) => [key, npyOf(entries[`${key}.npy`]!, `${path}, ${key}`)]));
}

function unzip(path: string, filter: (entry: UnzipFileInfo) => boolean): Record<string, Uint8Array> {
  let bytes: Uint8Array;
  try {
    if (statSync(path).size > MAX_UNPACKED) {
      throw new FathomError({
        code: 'npz-too-large',
        message: `${path} has more than the ${MAX_UNPACKED} bytes allowed`,
        fix: 'Save the arrays as separate npy files, which may be of any size',
      });
    }
    bytes = readFileSync(path);
  } catch (cause) {
    if (cause instanceof FathomError) throw cause;
    throw missing(path, 'Correct the path of the npz file', cause);
  }
  let entries = 0;
  try {
    return unzipSync(bytes, {
      filter: (entry) => {
        if (++entries > MAX_ENTRIES) throw new Error(`it has more than ${MAX_ENTRIES} entries`);
        return filter(entry);
      },
    });
  } catch (cause) {
    if (cause instanceof FathomError) throw cause;
    throw new FathomError({
      code: 'npz-damaged',
      message: `${path} is no npz file that can be read: ${String((cause as Error).message).slice(0, 120)}`,
      fix: 'Save it again with numpy.savez',
      cause,
    });
  }
}
