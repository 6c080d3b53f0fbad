import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { checkLabels } from '../dataset.ts';
import {
  adapt,
  chunks,
  common,
  fileSize,
  missing,
  type Part,
  pathOf,
  type ReaderContext,
  type Source,
} from './reader.ts';

export const cifar10Spec = z.strictObject({
  format: z.literal('cifar10').describe('CIFAR-10, binary version'),
  path: z
    .string()
    .min(1)
    .describe('The folder with data_batch_1.bin to data_batch_5.bin, test_batch.bin and batches.meta.txt'),
  ...common,
});

export const cifar100Spec = z.strictObject({
  format: z.literal('cifar100').describe('CIFAR-100, binary version'),
  path: z
    .string()
    .min(1)
    .describe('The folder with train.bin, test.bin, fine_label_names.txt and coarse_label_names.txt'),
  labels: z.enum(['fine', 'coarse']).default('fine').describe('100 fine or 20 coarse classes'),
  ...common,
});

const SIDE = 32;
const PLANE = SIDE * SIDE;
const RECORDS_AT_ONCE = 1000;

interface Layout {
  train: string[];
  test: string[];
  names: string;
  classes: number;
  /** Bytes of labels before the pixels of a record, and which of them is the label. */
  labelBytes: number;
  labelByte: number;
}

export async function openCifar(
  spec: z.infer<typeof cifar10Spec> | z.infer<typeof cifar100Spec>,
  context: ReaderContext,
): Promise<Source> {
  const folder = pathOf(context, spec.path);
  const layout: Layout =
    spec.format === 'cifar10'
      ? {
          train: [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`),
          test: ['test_batch.bin'],
          names: 'batches.meta.txt',
          classes: 10,
          labelBytes: 1,
          labelByte: 0,
        }
      : {
          train: ['train.bin'],
          test: ['test.bin'],
          names: `${spec.labels}_label_names.txt`,
          classes: spec.labels === 'fine' ? 100 : 20,
          labelBytes: 2,
          labelByte: spec.labels === 'fine' ? 1 : 0,
        };
  const paths = (files: string[]) => files.map((file) => join(folder, file));
  const [train, test, names] = [paths(layout.train), paths(layout.test), join(folder, layout.names)];
  return {
    name: spec.name ?? basename(folder),
    files: [...train, ...test, names],
    cheap: true,
    async open() {
      const classNames = await readNames(names, layout.classes);
      const parts = [await openPart('train', train, layout), await openPart('test', test, layout)];
      return { classNames, parts: parts.map((part) => adapt(part, spec)) };
    },
  };
}

async function readNames(path: string, classes: number): Promise<string[]> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw missing(path, 'Put it into this folder: it comes with the original files', cause);
  });
  const names = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (names.length === classes) return names;
  throw new FathomError({
    code: 'cifar-names',
    message: `${path} has ${names.length} names, not ${classes}`,
    fix: 'Put the original file in its place',
  });
}

async function openPart(split: Part['split'], paths: string[], layout: Layout): Promise<Part> {
  const record = layout.labelBytes + 3 * PLANE;
  let count = 0;
  for (const path of paths) {
    const bytes = await fileSize(path);
    if (bytes === undefined) {
      throw missing(path, 'Put the files of the binary version into this folder', { code: 'ENOENT' });
    }
    if (bytes === 0 || bytes % record !== 0) {
      throw new FathomError({
        code: 'cifar-size',
        message: `${path} has ${bytes} bytes, which is no whole number of records of ${record}`,
        fix: 'Download the file again: it is cut short or not of the binary version',
      });
    }
    count += bytes / record;
  }
  const labels = new Uint8Array(count);
  let at = 0;
  for (const bytes of records(paths, record)) {
    for (let from = layout.labelByte; from < bytes.length; from += record) labels[at++] = bytes[from]!;
  }
  checkLabels(
    paths.length === 1 ? paths[0]! : `The ${split} set ${paths[0]} and following`,
    labels,
    layout.classes,
  );
  return {
    split,
    count,
    height: SIDE,
    width: SIDE,
    channels: 3,
    type: 'bytes',
    labels,
    *images() {
      for (const bytes of records(paths, record)) yield interleave(bytes, record, layout.labelBytes);
    },
  };
}

function* records(paths: string[], record: number): Generator<Uint8Array> {
  for (const path of paths) yield* chunks(path, RECORDS_AT_ONCE * record);
}

/** Pixels of records, whose planes of red, green and blue follow one another, as HWC. */
function interleave(bytes: Uint8Array, record: number, skip: number): Uint8Array {
  const count = Math.floor(bytes.length / record);
  const pixels = new Uint8Array(count * 3 * PLANE);
  let to = 0;
  for (let n = 0; n < count; n++) {
    const from = n * record + skip;
    for (let i = from; i < from + PLANE; i++) {
      pixels[to++] = bytes[i]!;
      pixels[to++] = bytes[i + PLANE]!;
      pixels[to++] = bytes[i + 2 * PLANE]!;
    }
  }
  return pixels;
}
