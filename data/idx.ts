import { gunzipSync } from 'node:zlib';
import { FathomError } from '../engine/errors.ts';
import { checkLabels, type ImageSet } from './dataset.ts';

/** An array of unsigned bytes in row-major order. */
export interface IdxArray {
  shape: number[];
  data: Uint8Array;
}

/** What an idx file is expected to hold: images are idx3 (count, height, width), labels are idx1. */
export type IdxKind = 'images' | 'labels';

const RANKS: Record<IdxKind, number> = { images: 3, labels: 1 };
const MAX_UNPACKED = 2 ** 30;
const UNSIGNED_BYTE = 0x08;
const OTHER_TYPES: Record<number, string> = {
  9: 'signed bytes',
  11: '16-bit integers',
  12: '32-bit integers',
  13: '32-bit floats',
  14: '64-bit floats',
};

/**
 * Reads an idx file of unsigned bytes, raw or gzip. The data may be a view into `bytes`.
 *
 * @param name how the reader knows the file: it begins every message
 * @param kind what the file must hold, so that labels are not taken for images
 * @param maxUnpacked bytes a gzip file may grow to, 1 GiB unless told
 * @throws FathomError `idx-gzip` | `idx-magic` | `idx-type` | `idx-kind` | `idx-truncated` | `idx-trailing`
 */
export function parseIdx(
  bytes: Uint8Array,
  name: string,
  kind?: IdxKind,
  maxUnpacked = MAX_UNPACKED,
): IdxArray {
  const raw = bytes[0] === 0x1f && bytes[1] === 0x8b ? unpack(bytes, name, maxUnpacked) : bytes;
  const shape = readShape(raw, name, kind);
  const header = 4 + 4 * shape.length;
  const size = shape.includes(0) ? 0 : shape.reduce((product, length) => product * length, 1);
  const expected = header + size;
  if (raw.length < expected) throw truncated(name, expected, raw.length);
  if (raw.length > expected) {
    throw new FathomError({
      code: 'idx-trailing',
      message: `${name} has ${raw.length} bytes where its header tells of ${expected}`,
      fix: 'Download the file again: it is not the file its header describes',
    });
  }
  return { shape, data: raw.subarray(header) };
}

/**
 * Pairs an idx3 file of grey images with the idx1 file of their labels, each raw or gzip.
 *
 * @param about the set's name and its number of classes
 * @throws FathomError where either file is bad ({@link parseIdx}), where they differ in length
 *   (`count-mismatch`) and where a label is outside the classes (`label-outside-head`)
 */
export function imageSetFromIdx(
  imagesBytes: Uint8Array,
  imagesName: string,
  labelsBytes: Uint8Array,
  labelsName: string,
  about: { name: string; classes: number },
): ImageSet {
  const images = parseIdx(imagesBytes, imagesName, 'images');
  const { data: labels } = parseIdx(labelsBytes, labelsName, 'labels');
  const [count, height, width] = images.shape as [number, number, number];
  if (count !== labels.length) {
    throw new FathomError({
      code: 'count-mismatch',
      message: `${imagesName} holds ${count} images, but ${labelsName} holds ${labels.length} labels`,
      fix: 'Give the two files of one set',
    });
  }
  checkLabels(labelsName, labels, about.classes);
  return { ...about, count, height, width, channels: 1, pixels: images.data, labels };
}

function readShape(raw: Uint8Array, name: string, kind: IdxKind | undefined): number[] {
  if (raw.length < 4) throw truncated(name, 4, raw.length);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const magic = view.getUint32(0);
  const type = magic >>> 8;
  const rank = magic & 255;
  if (rank === 0 || (type !== UNSIGNED_BYTE && !(type in OTHER_TYPES))) {
    throw new FathomError({
      code: 'idx-magic',
      message: `${name} is not an idx file: its magic number is 0x${magic.toString(16).padStart(8, '0')}`,
      fix: 'Give an idx file such as train-images-idx3-ubyte, raw or gzip',
    });
  }
  if (type !== UNSIGNED_BYTE) {
    throw new FathomError({
      code: 'idx-type',
      message: `${name} holds ${OTHER_TYPES[type]}, not unsigned bytes`,
      fix: 'Convert its values to unsigned bytes',
    });
  }
  if (kind && rank !== RANKS[kind]) {
    const found = rank === 3 ? 'images' : rank === 1 ? 'labels' : 'neither images nor labels';
    throw new FathomError({
      code: 'idx-kind',
      message: `${name} should hold ${kind} (idx${RANKS[kind]}), but holds ${found} (idx${rank})`,
      fix: `Give the ${kind} file in its place: the two may have been swapped or renamed`,
    });
  }
  if (raw.length < 4 + 4 * rank) throw truncated(name, 4 + 4 * rank, raw.length);
  return Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
}

function unpack(bytes: Uint8Array, name: string, maxOutputLength: number): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength });
  } catch (cause) {
    const tooLarge = (cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE';
    throw new FathomError({
      code: 'idx-gzip',
      message: tooLarge
        ? `${name} unpacks to more than the ${maxOutputLength} bytes allowed`
        : `${name} is a damaged gzip file`,
      fix: tooLarge
        ? 'Give a smaller file, or unpack it first if it can be trusted'
        : 'Download the file again',
      cause,
    });
  }
}

function truncated(name: string, expected: number, length: number): FathomError {
  return new FathomError({
    code: 'idx-truncated',
    message: `${name} is cut short: ${length} bytes of ${expected}`,
    fix: 'Download the file again',
  });
}
