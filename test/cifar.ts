import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parquetReadObjects } from 'hyparquet';
import jpeg from 'jpeg-js';
import type { Examples } from '../data/index.ts';

/** Where the files lie that some tests need. */
export const SHARED = process.env.FATHOM_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url));
const PATH = `${SHARED}/data/cifar10-jpeg-test.parquet`;

/** Whether the images are at hand; the reason to skip where they are not. */
export const cifarMissing = existsSync(PATH) ? false : 'the CIFAR-10 images are not beside this checkout';

/** The first images of CIFAR-10's test set, normalised as the paper's code does. */
export async function cifarExamples(count: number): Promise<Examples> {
  const bytes = readFileSync(PATH);
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  const rows = await parquetReadObjects({ file, rowStart: 0, rowEnd: count, utf8: false });
  const pixels = new Float32Array(count * 3072);
  const labels = new Uint32Array(count);
  for (const [n, row] of rows.entries()) {
    const { data } = jpeg.decode((row.img as { bytes: Uint8Array }).bytes, { useTArray: true });
    for (let i = 0; i < 3072; i++) {
      const [pixel, channel] = [Math.floor(i / 3), i % 3];
      pixels[n * 3072 + i] = (data[4 * pixel + channel]! / 255 - MEAN[channel]!) / DEVIATION[channel]!;
    }
    labels[n] = Number(row.label);
  }
  const set = { name: 'CIFAR-10', count, height: 32, width: 32, channels: 3, pixels, labels, classes: 10 };
  return { images: set, index: Uint32Array.from({ length: count }, (_, i) => i), labels };
}

const MEAN = [0.4914, 0.4822, 0.4465];
const DEVIATION = [0.2023, 0.1994, 0.201];
