import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { type ImageSet, imageAt, type Pixels } from '../data/dataset.ts';
import { parquet } from './parquet_file.ts';
import { property } from './property.ts';
import {
  DATA,
  damage,
  damages,
  inFolder,
  missing,
  npy,
  open,
  orRefusal,
  plain,
  png,
  put,
} from './reader_files.ts';

/** Every image has its values and every label its class. */
function checkSet(set: ImageSet<Pixels>): void {
  assert.equal(set.labels.length, set.count);
  assert.equal(set.pixels.length, set.count * set.height * set.width * set.channels);
  assert.ok(set.labels.every((label) => label < Math.max(1, set.classes)));
  for (const value of imageAt(set, set.count - 1)) assert.ok(Number.isFinite(value));
}

/**
 * Damages one file of a good data set, many times: it opens to what a data set should be, or is refused in
 * one line.
 *
 * @param window the part of the file to damage, as shares of its length
 */
async function fuzz(
  files: Record<string, Uint8Array | string>,
  spec: object,
  name: string,
  { runs = 150, window = [0, 1] } = {},
): Promise<void> {
  await inFolder(files, async (folder) => {
    checkSet((await open(spec, { folder })).train);
    const whole = Buffer.from(files[name]!);
    let refused = 0;
    await property(damages(), runs, async (how) => {
      await put(join(folder, name), damage(whole, how, window));
      const data = await orRefusal(() => open(spec, { folder, memory: 2 ** 28 }));
      if (!data) refused++;
      else for (const set of [data.train, data.test]) if (set) checkSet(set);
    });
    assert.ok(refused > 0, 'no damage was refused');
  });
}

function idx(shape: number[]): Uint8Array {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.writeUInt32BE(0x800 + shape.length);
  for (const [axis, length] of shape.entries()) header.writeUInt32BE(length, 4 + 4 * axis);
  return Buffer.concat([header, new Uint8Array(shape.reduce((a, b) => a * b, 1))]);
}

test('damaged idx files', async () => {
  const files = {
    'train-images-idx3-ubyte': idx([3, 4, 4]),
    'train-labels-idx1-ubyte': idx([3]),
    't10k-images-idx3-ubyte': idx([1, 4, 4]),
    't10k-labels-idx1-ubyte.gz': gzipSync(idx([1])),
  };
  for (const name of Object.keys(files)) await fuzz(files, { format: 'idx', path: '.' }, name, { runs: 80 });
});

test('damaged CIFAR files', async () => {
  const files: Record<string, Uint8Array | string> = {
    'train.bin': new Uint8Array(2 * 3074),
    'test.bin': new Uint8Array(3074),
    'coarse_label_names.txt': Array.from({ length: 20 }, (_, i) => `${i}`).join('\n'),
  };
  const spec = { format: 'cifar100', path: '.', labels: 'coarse' };
  for (const name of Object.keys(files)) await fuzz(files, spec, name, { runs: 60 });
});

test('damaged image folders', async () => {
  const noise = Array.from({ length: 108 }, (_, i) => (i * 83) % 256);
  const image = png({ height: 6, width: 6, depth: 8, colour: 2, pixels: noise });
  await fuzz(
    { 'a/1.png': image, 'b/2.png': plain(3, 3, 4) },
    { format: 'folder', path: '.', size: 4 },
    'a/1.png',
  );
});

test('damaged CSV files', async () => {
  const paths = 'image,label\na.png,one\n"b.png","two"\na.png,one\n';
  const files = { 'paths.csv': paths, 'a.png': plain(1, 1, 1), 'b.png': plain(1, 1, 2) };
  await fuzz(files, { format: 'csv', train: 'paths.csv', image: 'image' }, 'paths.csv');
  const pixels = `label,a,b,c,d\n${Array.from({ length: 9 }, (_, i) => `${i % 3},1,2,3,${i}\n`).join('')}`;
  await fuzz({ 'pixels.csv': pixels }, { format: 'csv', train: 'pixels.csv' }, 'pixels.csv');
  await fuzz(
    { 'pixels.csv.gz': gzipSync(pixels) },
    { format: 'csv', train: 'pixels.csv.gz' },
    'pixels.csv.gz',
  );
});

test('damaged NumPy arrays', async () => {
  const images = npy(
    '|u1',
    [3, 2, 2],
    Uint8Array.from({ length: 12 }, (_, i) => i),
  );
  const labels = npy('<i8', [3], BigInt64Array.of(0n, 1n, 2n));
  const floats = npy('<f4', [3, 2, 2], new Float32Array(12));
  const files = { 'images.npy': images, 'labels.npy': labels, 'floats.npy': floats };
  const spec = (images: string) => ({ format: 'npy', train: { images, labels: 'labels.npy' } });
  await fuzz(files, spec('images.npy'), 'images.npy', { window: [0, 0.6] });
  await fuzz(files, spec('images.npy'), 'labels.npy');
  await fuzz(files, spec('floats.npy'), 'floats.npy');
  const zipped = { 'set.npz': zipSync({ 'x_train.npy': images, 'y_train.npy': labels }) };
  await fuzz(zipped, { format: 'npz', path: 'set.npz' }, 'set.npz', { runs: 400 });
});

test('an npy header of any text is refused or describes its bytes', async () => {
  const shapes = fc.array(fc.oneof(fc.nat(4), fc.constantFrom(2 ** 31, 2 ** 53, 9e15)), { maxLength: 5 });
  const descr = fc.constantFrom('|u1', '<f4', '>f8', '<U4', '|V9', 'float', '<i8');
  const cases = fc.record({ seed: fc.constant(0), shape: shapes, descr, bytes: fc.nat(64) });
  await inFolder({ 'labels.npy': npy('|u1', [2], Uint8Array.of(0, 1)) }, async (folder) => {
    await property(cases, 200, async ({ shape, descr, bytes }) => {
      await put(join(folder, 'images.npy'), npy(descr, shape, new Uint8Array(bytes)));
      const train = { images: 'images.npy', labels: 'labels.npy' };
      const data = await orRefusal(() => open({ format: 'npy', train }, { folder }));
      if (data) checkSet(data.train);
    });
  });
});

test('damaged Quick, Draw! bitmaps', async () => {
  const files = { 'a.npy': npy('|u1', [2, 784], new Uint8Array(1568)), 'b.u8': new Uint8Array(784) };
  await fuzz(files, { format: 'quickdraw', path: '.' }, 'a.npy', { window: [0, 0.08] });
  await fuzz(files, { format: 'quickdraw', path: '.' }, 'b.u8', { runs: 30 });
});

test('damaged views of Taskonomy', async () => {
  const files = {
    'rgb/point_0_view_0_domain_rgb.png': plain(2, 2, 1, 2, 3),
    'depth/point_0_view_0_domain_depth.png': png({
      height: 2,
      width: 2,
      depth: 16,
      colour: 0,
      pixels: new Array(8).fill(1),
    }),
  };
  const spec = { format: 'taskonomy', path: '.', domains: ['depth'] };
  for (const name of Object.keys(files)) await fuzz(files, spec, name);
});

const three = [plain(2, 2, 1), plain(2, 2, 2), plain(2, 2, 3)];

test('damaged parquet files', async () => {
  const kinds = [
    { labels: [4, 0, 4] },
    { labels: [1, 0, 1], classNames: ['a', 'b'], codec: 'gzip' as const },
    { labels: ['x', 'y', 'x'], isV2: true },
    { labels: [0, 1, 2], isV2: true, codec: 'brotli' as const },
  ];
  for (const kind of kinds) {
    const files = { 'x.parquet': parquet({ images: three, ...kind }) };
    await fuzz(files, { format: 'parquet', train: 'x.parquet' }, 'x.parquet', { runs: 300 });
  }
});

test('every single byte of a parquet file may be any of the worst', async () => {
  const whole = parquet({ images: three, labels: [4, 0, 4], isV2: false });
  await inFolder({}, async (folder) => {
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 0x7f, 0xff]) {
        const copy = Uint8Array.from(whole);
        copy[at] = value;
        await put(join(folder, 'x.parquet'), copy);
        const data = await orRefusal(() => open({ format: 'parquet', train: 'x.parquet' }, { folder }));
        if (data) checkSet(data.train);
      }
    }
  });
});

const REAL = 'cifar10-jpeg-test.parquet';

test('damaged parquet files of real images', { skip: missing(REAL) }, async () => {
  const files = { 'x.parquet': await readFile(join(DATA, REAL)) };
  const spec = { format: 'parquet', train: 'x.parquet', limit: 1 };
  await fuzz(files, spec, 'x.parquet', { runs: 20 });
  await fuzz(files, spec, 'x.parquet', { runs: 40, window: [0.9995, 1] });
  await fuzz(files, spec, 'x.parquet', { runs: 20, window: [0, 0.00001] });
});
