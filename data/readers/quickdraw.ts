import { basename, extname, join } from 'node:path';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { list } from './folder.ts';
import { openNpy, pixelsOf } from './npy-file.ts';
import {
  adapt,
  chunks,
  common,
  fileSize,
  type Part,
  packLabels,
  pathOf,
  type ReaderContext,
  type Source,
  type Values,
} from './reader.ts';

export const quickdrawSpec = z.strictObject({
  format: z.literal('quickdraw').describe('Quick, Draw! bitmaps of 28 x 28, white on black'),
  path: z
    .string()
    .min(1)
    .describe(
      'A folder of <class>.npy, as in numpy_bitmap, or of the same numbers without header as <class>.u8',
    ),
  classes: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe('The classes wanted, by the names of their files; left out, all'),
  ...common,
});

const SIDE = 28;
const IMAGE = SIDE * SIDE;

interface Drawings {
  count: number;
  read(): Iterable<Values>;
}

export async function openQuickdraw(
  spec: z.infer<typeof quickdrawSpec>,
  context: ReaderContext,
): Promise<Source> {
  const folder = pathOf(context, spec.path);
  const files = new Map<string, string>();
  for (const { name, isFolder } of await list(folder, folder)) {
    if (isFolder || !['.npy', '.u8'].includes(extname(name))) continue;
    files.set(basename(name, extname(name)).replace(/^full_numpy_bitmap_/, ''), join(folder, name));
  }
  const classNames = spec.classes ?? [...files.keys()].sort();
  const paths = classNames.map((name) => {
    const path = files.get(name);
    if (path !== undefined) return path;
    throw new FathomError({
      code: 'data-missing',
      message: `There is no ${name}.npy or ${name}.u8 in ${folder}`,
      fix: `Put it there, or take it out of classes: there are ${[...files.keys()].slice(0, 12).join(', ').slice(0, 200)}`,
    });
  });
  return {
    name: spec.name ?? basename(folder),
    files: paths,
    cheap: true,
    async open() {
      const drawings: Drawings[] = [];
      for (const path of paths) drawings.push(await openDrawings(path));
      const counts = drawings.map(({ count }) => Math.min(count, spec.limit ?? count));
      const part: Part = {
        split: 'train',
        count: counts.reduce((sum, count) => sum + count, 0),
        height: SIDE,
        width: SIDE,
        channels: 1,
        type: 'bytes',
        labels: packLabels(
          counts.flatMap((count, label) => new Array<number>(count).fill(label)),
          classNames.length,
        ),
        *images() {
          for (const [label, { read }] of drawings.entries()) yield* first(read(), counts[label]! * IMAGE);
        },
      };
      return { classNames, parts: [adapt(part, spec)] };
    },
  };
}

async function openDrawings(path: string): Promise<Drawings> {
  if (path.endsWith('.npy')) {
    const array = openNpy(path);
    const [count = 0, ...image] = array.shape;
    const values = image.reduce((product, length) => product * length, 1);
    if (values !== IMAGE || array.type.kind !== 'u' || array.type.bytes !== 1) throw notDrawings(path);
    return { count, read: () => pixelsOf(array, IMAGE) };
  }
  const bytes = (await fileSize(path)) ?? 0;
  if (bytes === 0 || bytes % IMAGE !== 0) throw notDrawings(path);
  return { count: bytes / IMAGE, read: () => chunks(path, 1000 * IMAGE) };
}

function* first(values: Iterable<Values>, wanted: number): Generator<Values> {
  let left = wanted;
  for (const some of values) {
    if (left < some.length) {
      if (left > 0) yield some.subarray(0, left);
      return;
    }
    yield some;
    left -= some.length;
  }
}

function notDrawings(path: string): FathomError {
  return new FathomError({
    code: 'quickdraw-damaged',
    message: `${path} does not hold images of ${IMAGE} bytes each`,
    fix: 'Download the file of numpy_bitmap again',
  });
}
