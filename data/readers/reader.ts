import { closeSync, openSync, readSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { fit, type Shape } from '../image.ts';

/** Whole images, HWC, one after another. */
export type Values = Uint8Array | Float32Array;

/** One set of images of a source, decoded as it is asked for. */
export interface Part extends Shape {
  split: 'train' | 'test';
  /** Of images to predict: what they show. */
  domain?: string;
  count: number;
  type: 'bytes' | 'floats';
  labels: Uint8Array | Uint32Array;
  /** All images in order, some at a time. */
  images(): AsyncIterable<Values> | Iterable<Values>;
}

export interface Decoded {
  classNames: string[];
  parts: Part[];
}

/** What a reader makes of a spec before it decodes anything. */
export interface Source {
  name: string;
  /** The files read: when one changes, what was decoded is stale. */
  files: string[];
  /** Decoding takes no longer than reading, so that a cache would not help. */
  cheap: boolean;
  open(): Promise<Decoded>;
}

/** What readers are told beside their spec. */
export interface ReaderContext {
  /** What relative paths of a spec are relative to. */
  folder: string;
  warn(line: string): void;
}

const name = z.string().min(1).optional().describe('What the data set is called; otherwise after its files');
const size = z
  .union([z.int().min(1).max(4096), z.tuple([z.int().min(1).max(4096), z.int().min(1).max(4096)])])
  .optional()
  .describe(
    'Height and width that images are brought to: one number for both, or [height, width]. Areas are averaged when shrinking, values interpolated linearly when enlarging; left out, images stay as they are',
  );
const channels = z
  .union([z.literal(1), z.literal(3)])
  .optional()
  .describe(
    'Channels that images are brought to: grey is 0.299 R + 0.587 G + 0.114 B, and RGB of grey is three times the same; left out, they stay as they are',
  );
const limit = z
  .int()
  .min(1)
  .optional()
  .describe('Most images of a class, the first ones, in each of train and test');

/** Fields that every format allows. */
export const common = { name, size, channels, limit };

export type Common = z.infer<z.ZodObject<typeof common>>;

/** A path of a spec, absolute. */
export function pathOf(context: ReaderContext, path: string): string {
  return resolve(context.folder, path);
}

/**
 * A file named by the data itself, which must lie within `root`, also where symbolic links lead.
 *
 * @param where what names it, such as a row of a CSV file
 * @throws FathomError `path-outside` or `data-missing`
 */
export async function within(root: string, path: string, where: string): Promise<string> {
  const outside = (cause?: unknown) =>
    new FathomError({
      code: 'path-outside',
      message: `${where} names ${path}, which leads out of ${root}`,
      fix: 'Keep the files within the folder, and their paths relative to it',
      cause,
    });
  if (isAbsolute(path) || /^[A-Za-z]:|\0/.test(path) || path.split(/[/\\]/).includes('..')) throw outside();
  const [realRoot, real] = await Promise.all([realpath(root), realpath(join(root, path))]).catch((cause) => {
    throw missing(join(root, path), `${where} names it: correct it there, or put the file in place`, cause);
  });
  const step = relative(realRoot, real);
  if (step === '..' || step.startsWith(`..${sep}`) || isAbsolute(step)) throw outside();
  return real;
}

/** The error of a file or folder that is not there or not to be read. */
export function missing(path: string, fix: string, cause: unknown): FathomError {
  const absent = ['ENOENT', 'ENOTDIR'].includes((cause as { code?: string }).code ?? '');
  return new FathomError({
    code: absent ? 'data-missing' : 'data-unreadable',
    message: absent ? `There is no file ${path}` : `${path} cannot be read`,
    fix: absent ? fix : 'Make it something that you may read',
    cause,
  });
}

/** Size of a file in bytes, or `undefined` where there is none. */
export async function fileSize(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? found.size : undefined;
}

/** A file from `start` on, `bytes` at a time, fewer at its end. */
export function* chunks(path: string, bytes: number, start = 0): Generator<Uint8Array> {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw missing(path, 'Put it there, or correct the path', cause);
  }
  try {
    for (let at = start; ; at += bytes) {
      const chunk = readFully(file, bytes, at);
      if (chunk.length > 0) yield chunk;
      if (chunk.length < bytes) return;
    }
  } finally {
    closeSync(file);
  }
}

/** `bytes` of an open file from `position` on, fewer where it ends. */
export function readFully(file: number, bytes: number, position: number): Uint8Array {
  const chunk = new Uint8Array(bytes);
  let filled = 0;
  while (filled < bytes) {
    const read = readSync(file, chunk, filled, bytes - filled, position + filled);
    if (read === 0) break;
    filled += read;
  }
  return chunk.subarray(0, filled);
}

/** Positions of the images kept: the first `limit` of each label. */
export function firstOfEach<T>(labels: ArrayLike<T>, limit: number | undefined): Uint32Array {
  const kept: number[] = [];
  const seen = new Map<T, number>();
  for (let position = 0; position < labels.length; position++) {
    const before = seen.get(labels[position]!) ?? 0;
    if (limit !== undefined && before >= limit) continue;
    seen.set(labels[position]!, before + 1);
    kept.push(position);
  }
  return Uint32Array.from(kept);
}

/** Labels in the smallest type that holds them. */
export function packLabels(labels: ArrayLike<number>, classes: number): Uint8Array | Uint32Array {
  return classes <= 256 ? Uint8Array.from(labels) : Uint32Array.from(labels);
}

/** A part of images that all have one shape, with the limit, size and channels of its spec. */
export function adapt(part: Part, spec: Pick<Common, 'size' | 'channels' | 'limit'>): Part {
  const kept = firstOfEach(part.labels, spec.limit);
  const shape = shapeFor(part, spec);
  const changesShape =
    shape.height !== part.height || shape.width !== part.width || shape.channels !== part.channels;
  if (kept.length === part.count && !changesShape) return part;
  const { type } = part;
  const labels = kept.map((position) => part.labels[position]!);
  return {
    ...part,
    ...shape,
    count: kept.length,
    labels: part.labels instanceof Uint8Array ? Uint8Array.from(labels) : labels,
    async *images() {
      const from = part.height * part.width * part.channels;
      let position = 0;
      let next = 0;
      for await (const values of part.images()) {
        for (let at = 0; at < values.length && next < kept.length; at += from, position++) {
          if (position !== kept[next]) continue;
          next++;
          const image = values.subarray(at, at + from);
          if (!changesShape) yield image;
          else yield fit({ ...part, values: image, white: type === 'bytes' ? 255 : 1 }, shape, type);
        }
        if (next === kept.length) return;
      }
    },
  };
}

/** The shape that a spec asks for of images of a shape. */
export function shapeFor(from: Shape, spec: Pick<Common, 'size' | 'channels'>): Shape {
  const [height, width] = typeof spec.size === 'number' ? [spec.size, spec.size] : (spec.size ?? []);
  return {
    height: height ?? from.height,
    width: width ?? from.width,
    channels: spec.channels ?? from.channels,
  };
}
