import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import jpeg from 'jpeg-js';
import { decodeImage, fit, MAX_PIXELS, type Picture, size } from '../data/image.ts';
import { property } from './property.ts';
import { damage, damages, orRefusal, plain, png, pngOfChunks, refuses } from './reader_files.ts';

const decode = async (bytes: Uint8Array) => decodeImage(bytes, 'the image');
const values = (bytes: Uint8Array) => [...decodeImage(bytes, 'the image').values];

test('PNGs of every kind give their values, transparent ones over white', () => {
  const shape = { height: 1, width: 4 };
  assert.deepEqual(
    values(png({ ...shape, depth: 8, colour: 0, pixels: [0, 1, 128, 255] })),
    [0, 1, 128, 255],
  );
  const rgb = Array.from({ length: 12 }, (_, i) => 20 * i);
  assert.deepEqual(values(png({ ...shape, depth: 8, colour: 2, pixels: rgb })), rgb);
  assert.deepEqual(
    values(png({ ...shape, depth: 8, colour: 4, pixels: [10, 255, 10, 0, 0, 51, 200, 128] })),
    [10, 255, 204, 227],
  );
  assert.deepEqual(
    values(png({ height: 1, width: 2, depth: 8, colour: 6, pixels: [1, 2, 3, 255, 9, 9, 9, 0] })),
    [1, 2, 3, 255, 255, 255],
  );
  const deep = decodeImage(png({ height: 1, width: 2, depth: 16, colour: 0, pixels: [1, 2, 255, 255] }), 'x');
  assert.deepEqual([deep.white, ...deep.values], [65535, 258, 65535]);
  assert.deepEqual([...fit(deep, deep, 'bytes')], [1, 255]);
  assert.deepEqual([...fit(deep, deep, 'floats')], [Math.fround(258 / 65535), 1]);
});

test('PNGs with palettes, few bits and a transparent colour give their values', () => {
  const palette = [255, 0, 0, 0, 255, 0, 0, 0, 255];
  for (const [depth, pixels] of [
    [8, [2, 1, 0]],
    [4, [0x21, 0x00]],
    [2, [0b10010000]],
  ] as const) {
    assert.deepEqual(
      values(png({ height: 1, width: 3, depth, colour: 3, pixels, palette })),
      [0, 0, 255, 0, 255, 0, 255, 0, 0],
    );
  }
  assert.deepEqual(
    values(png({ height: 1, width: 2, depth: 8, colour: 3, pixels: [0, 1], palette, transparency: [0] })),
    [255, 255, 255, 0, 255, 0],
  );
  const bits = decodeImage(
    png({ height: 2, width: 3, depth: 1, colour: 0, pixels: [0b10100000, 0b01000000] }),
    'x',
  );
  assert.deepEqual([bits.white, ...bits.values], [1, 1, 0, 1, 0, 1, 0]);
  assert.deepEqual([...fit(bits, bits, 'bytes')], [255, 0, 255, 0, 255, 0]);
  assert.deepEqual(
    values(png({ height: 1, width: 2, depth: 8, colour: 0, pixels: [7, 8], transparency: [0, 7] })),
    [255, 8],
  );
  // A palette that RGB images only suggest is left alone.
  assert.deepEqual(
    values(png({ height: 1, width: 1, depth: 8, colour: 2, pixels: [1, 2, 3], palette })),
    [1, 2, 3],
  );
});

test('JPEGs give their colours, grey ones a single channel', () => {
  const colour = Uint8Array.from({ length: 16 * 16 * 4 }, (_, i) => [200, 100, 50, 255][i % 4]!);
  const encoded = jpeg.encode({ width: 16, height: 16, data: colour }, 95).data;
  const { height, width, channels, values: found } = decodeImage(encoded, 'x');
  assert.deepEqual([height, width, channels, found.length], [16, 16, 3, 768]);
  for (const [i, value] of found.entries())
    assert.ok(Math.abs(value - colour[Math.floor(i / 3) * 4 + (i % 3)]!) < 4);
  const grey = decodeImage(greyJpeg(8, 8), 'x');
  assert.deepEqual([grey.channels, ...grey.values], [1, ...new Array(64).fill(128)]);
});

/** Middle grey: one component whose only code is "nothing". */
function greyJpeg(height: number, width: number, scans = 1): Uint8Array {
  const table = (kind: number) => [0xff, 0xc4, 0, 20, kind, 1, ...new Array(15).fill(0), 0];
  const frame = [0xff, 0xc0, 0, 11, 8, height >> 8, height & 255, width >> 8, width & 255, 1, 1, 0x11, 0];
  const scan = [0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x3f];
  const quantiser = [0xff, 0xdb, 0, 67, 0, ...new Array(64).fill(1)];
  const all = Array.from({ length: scans }, () => scan).flat();
  return Uint8Array.of(0xff, 0xd8, ...quantiser, ...frame, ...table(0), ...table(16), ...all, 0xff, 0xd9);
}

test('shrinking averages areas, enlarging interpolates, grey and RGB convert', () => {
  const row = (...given: number[]): Picture => ({
    height: 1,
    width: given.length,
    channels: 1,
    values: Uint8Array.from(given),
    white: 255,
  });
  const widths = (picture: Picture, width: number) => [
    ...fit(picture, { height: 1, width, channels: 1 }, 'bytes'),
  ];
  assert.deepEqual(widths(row(0, 100, 50, 150), 2), [50, 100]);
  assert.deepEqual(widths(row(30, 60, 90), 2), [40, 80]);
  assert.deepEqual(widths(row(0, 100), 4), [0, 25, 75, 100]);
  assert.deepEqual(widths(row(7), 3), [7, 7, 7]);
  const column = { ...row(0, 100, 50, 150), height: 4, width: 1 };
  assert.deepEqual([...fit(column, { height: 2, width: 1, channels: 1 }, 'bytes')], [50, 100]);
  assert.deepEqual([...fit(row(9), { height: 1, width: 1, channels: 3 }, 'bytes')], [9, 9, 9]);
  const rgb: Picture = { height: 1, width: 1, channels: 3, values: Uint8Array.of(200, 100, 50), white: 255 };
  assert.deepEqual([...fit(rgb, { height: 1, width: 1, channels: 1 }, 'bytes')], [124]);
});

test('an even image stays even and shrinking keeps the mean, at any size', async () => {
  const side = fc.integer({ min: 1, max: 20 });
  const sizes = fc.record({ seed: fc.nat(), height: side, width: side, toHeight: side, toWidth: side });
  await property(sizes, 60, async ({ height, width, toHeight, toWidth }, random) => {
    const to = { height: toHeight, width: toWidth, channels: 1 };
    const even = { height, width, channels: 1, values: new Float32Array(height * width).fill(0.7), white: 1 };
    for (const value of fit(even, to, 'floats')) assert.ok(Math.abs(value - 0.7) < 1e-6);
    if (toHeight > height || toWidth > width) return;
    const noise = { ...even, values: random.uniform(height * width) };
    const mean = (some: ArrayLike<number>) => Array.from(some).reduce((a, b) => a + b) / some.length;
    assert.ok(Math.abs(mean(fit(noise, to, 'floats')) - mean(noise.values)) < 1e-5);
  });
});

test('images of more pixels than allowed are refused before they cost memory', async () => {
  const header = Buffer.from(plain(1, 1, 0));
  const huge = pngOfChunks([
    ['IHDR', Uint8Array.of(0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 8, 2, 0, 0, 0)],
    ['IDAT', deflateSync(header)],
    ['IEND', new Uint8Array(0)],
  ]);
  await refuses(decode(huge), 'image-too-large', 'the image', '65535 x 65535', `${MAX_PIXELS / 1e6} million`);
  await refuses(decode(greyJpeg(65535, 65535)), 'image-too-large', 'the image', '65535 x 65535');
  await refuses(decode(greyJpeg(8, 8, 101)), 'image-damaged', 'more than 100 scans');
  await refuses(decode(greyJpeg(0, 8)), 'image-damaged', '8 x 0');
});

test('a PNG that unpacks to more than its pixels, or less, is refused', async () => {
  const ihdr = Uint8Array.of(0, 0, 0, 2, 0, 0, 0, 1, 8, 0, 0, 0, 0);
  for (const raw of [new Uint8Array(2 ** 24), new Uint8Array(2)]) {
    const bytes = pngOfChunks([
      ['IHDR', ihdr],
      ['IDAT', deflateSync(raw)],
      ['IEND', new Uint8Array(0)],
    ]);
    await refuses(decode(bytes), 'image-damaged', 'the image');
  }
  const bomb = pngOfChunks([
    ['IHDR', ihdr],
    ['iCCP', Buffer.concat([Buffer.from('p\0\0'), deflateSync(new Uint8Array(2 ** 24))])],
    ['IDAT', deflateSync(Uint8Array.of(0, 5, 6))],
    ['IEND', new Uint8Array(0)],
  ]);
  assert.deepEqual(values(bomb), [5, 6], 'a colour profile is never unpacked');
});

test('images of other formats, and interlaced ones of few bits, are refused', async () => {
  await refuses(decode(Buffer.from('GIF89a')), 'image-type', 'neither a PNG nor a JPEG');
  await refuses(decode(new Uint8Array(0)), 'image-type');
  const few = png({ height: 1, width: 8, depth: 1, colour: 0, pixels: [0], interlaced: true });
  await refuses(decode(few), 'image-type', 'interlaced');
});

test('a PNG or JPEG cut anywhere is refused', async () => {
  const whole = [
    plain(3, 2, 9, 8, 7),
    greyJpeg(8, 8),
    jpeg.encode({ width: 8, height: 8, data: new Uint8Array(256) }, 50).data,
  ];
  for (const bytes of whole) {
    for (let length = 2; length < bytes.length; length++) {
      assert.equal(await orRefusal(() => decode(bytes.subarray(0, length))), undefined, `${length} bytes`);
    }
  }
});

test('a damaged image decodes to its size or is refused', async () => {
  const noise = Uint8Array.from({ length: 40 * 24 * 4 }, (_, i) => (i * 7919) % 251);
  const files = [
    png({ height: 9, width: 7, depth: 8, colour: 2, pixels: noise.subarray(0, 189) }),
    png({
      height: 8,
      width: 8,
      depth: 2,
      colour: 3,
      pixels: noise.subarray(0, 16),
      palette: [...noise.subarray(0, 12)],
    }),
    png({ height: 4, width: 5, depth: 16, colour: 6, pixels: noise.subarray(0, 160) }),
    greyJpeg(16, 16),
    jpeg.encode({ width: 40, height: 24, data: noise }, 60).data,
  ];
  const cases = fc.record({ seed: fc.constant(0), which: fc.nat(files.length - 1), how: damages() });
  await property(cases, 600, async ({ which, how }) => {
    const picture = await orRefusal(() => decode(damage(files[which]!, how)));
    if (!picture) return;
    assert.ok(picture.channels === 1 || picture.channels === 3);
    assert.equal(picture.values.length, size(picture));
  });
});
