import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import {
  channelScale,
  checkLabels,
  gatherImages,
  gatherLabels,
  type ImageSet,
  imageSetFromIdx,
  loadMnist,
  mnistTasks,
  parseIdx,
} from '../data/index.ts';
import { FathomError } from '../engine/errors.ts';

/** An idx file of unsigned bytes 0, 1, 2, ... */
function idx(shape: number[], data?: ArrayLike<number>): Uint8Array {
  const size = shape.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(4 + 4 * shape.length + size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0x0800 + shape.length);
  shape.forEach((dim, axis) => {
    view.setUint32(4 + 4 * axis, dim);
  });
  bytes.set(data ?? Uint8Array.from({ length: size }, (_, i) => i), 4 + 4 * shape.length);
  return bytes;
}

function refuses(action: () => unknown, code: string, ...parts: string[]): void {
  assert.throws(action, (error) => isRefusal(error, code, ...parts));
}

function isRefusal(error: unknown, code: string, ...parts: string[]): boolean {
  assert.ok(error instanceof FathomError, String(error));
  assert.equal(error.code, code);
  for (const part of parts)
    assert.ok(error.message.includes(part), `"${error.message}" should include "${part}"`);
  assert.ok(error.fix.length > 0 && !error.toLine().includes('\n'));
  return true;
}

test('an idx file reads the same raw, gzip and from the middle of a buffer', () => {
  const raw = idx([2, 3, 1]);
  const expected = { shape: [2, 3, 1], data: Uint8Array.of(0, 1, 2, 3, 4, 5) };
  const within = new Uint8Array(raw.length + 5);
  within.set(raw, 5);
  for (const bytes of [raw, gzipSync(raw), within.subarray(5)]) {
    const { shape, data } = parseIdx(bytes, 'x');
    assert.deepEqual({ shape, data: Uint8Array.from(data) }, expected);
  }
});

test('a truncated idx file is refused, wherever it ends', () => {
  const whole = idx([2, 2, 2]);
  for (let length = 0; length < whole.length; length++) {
    refuses(
      () => parseIdx(whole.subarray(0, length), 'cut-idx3'),
      'idx-truncated',
      'cut-idx3',
      `${length} bytes`,
    );
  }
  refuses(() => parseIdx(gzipSync(whole).subarray(0, 20), 'cut.gz'), 'idx-gzip', 'cut.gz', 'damaged');
});

test('an idx header that claims more than any file holds is refused before it costs memory', () => {
  const bytes = new Uint8Array(4 + 4 * 255).fill(0xff);
  bytes.set([0, 0, 8, 255]);
  refuses(() => parseIdx(bytes, 'huge'), 'idx-truncated', 'huge');
  bytes.fill(0, bytes.length - 4);
  assert.equal(parseIdx(bytes, 'empty').data.length, 0);
});

test('an idx file with trailing bytes is refused', () => {
  refuses(() => parseIdx(Uint8Array.of(...idx([3]), 0), 'long'), 'idx-trailing', 'long', '12 bytes', '11');
});

test('a wrong magic number is refused', () => {
  const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0, 0, 0);
  refuses(() => parseIdx(png, 'digits.png'), 'idx-magic', 'digits.png', '0x89504e47');
  refuses(() => parseIdx(Uint8Array.of(0, 0, 8, 0), 'rank0'), 'idx-magic', 'rank0');
  refuses(() => parseIdx(Uint8Array.of(0, 0, 10, 1), 'type10'), 'idx-magic', 'type10');
});

test('an idx file of another type is refused', () => {
  refuses(
    () => parseIdx(Uint8Array.of(0, 0, 0x0d, 1, 0, 0, 0, 0), 'floats'),
    'idx-type',
    'floats',
    '32-bit floats',
  );
});

test('a mislabelled idx file is refused', () => {
  const [images, labels] = [idx([2, 2, 2]), idx([2])];
  const about = { name: 'set', classes: 10 };
  refuses(
    () => imageSetFromIdx(images, 'i', images, 'l', about),
    'idx-kind',
    'l should hold labels',
    'images',
  );
  refuses(
    () => imageSetFromIdx(labels, 'i', labels, 'l', about),
    'idx-kind',
    'i should hold images',
    'labels',
  );
});

test('a gzip file that unpacks beyond the limit is refused', () => {
  const bomb = gzipSync(idx([1000]));
  assert.equal(parseIdx(bomb, 'bomb', 'labels', 1008).data.length, 1000);
  refuses(() => parseIdx(bomb, 'bomb', 'labels', 1007), 'idx-gzip', 'bomb', '1007');
});

test('any bytes after an idx magic either parse or are refused with a FathomError', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 24 }),
      fc.constantFrom([0, 0, 8, 1], [0, 0, 8, 3], [0x1f, 0x8b], []),
      (tail, head) => {
        try {
          parseIdx(Uint8Array.of(...head, ...tail), 'x');
        } catch (error) {
          assert.ok(error instanceof FathomError, String(error));
        }
      },
    ),
  );
});

test('images and labels of unequal length are refused', () => {
  refuses(
    () => imageSetFromIdx(idx([3, 2, 2]), 'the-images', idx([2]), 'the-labels', { name: 'set', classes: 10 }),
    'count-mismatch',
    'the-images holds 3',
    'the-labels holds 2',
  );
});

test('a label outside the head is refused', () => {
  refuses(
    () =>
      imageSetFromIdx(idx([3, 1, 1]), 'i', idx([3], [9, 0, 10]), 'the-labels', { name: 'set', classes: 10 }),
    'label-outside-head',
    'the-labels has label 10 at position 2',
  );
  checkLabels('fine', Uint32Array.of(0, 9), 10);
  refuses(() => checkLabels('set', [0, -1], 10), 'label-outside-head', 'set has label -1 at position 1');
  refuses(() => checkLabels('set', [0.5], 10), 'label-outside-head', 'label 0.5');
});

const tally = (labels: Uint32Array, classes: number) =>
  Array.from({ length: classes }, (_, label) => labels.filter((other) => other === label).length);

test('gathering gives NHWC pixels over 255 and the labels of the same examples', () => {
  const images: ImageSet = {
    ...{ name: 's', count: 300, height: 1, width: 2, channels: 1, labels: new Uint8Array(300), classes: 1 },
    pixels: Uint8Array.from({ length: 600 }, (_, i) => (i % 2 ? (i >> 1) & 255 : i >> 9)),
  };
  const examples = { images, index: Uint32Array.of(299, 7, 0), labels: Uint32Array.of(2, 1, 0) };
  const positions = Uint32Array.of(1, 0, 0);
  const expected = [0, 7, 1, 43, 1, 43].map((pixel) => pixel / 255);
  assert.deepEqual(gatherImages(examples, positions), Float32Array.from(expected));
  assert.deepEqual(gatherLabels(examples, positions), Uint32Array.of(1, 2, 2));
  assert.throws(() => gatherImages(examples, Uint32Array.of(3)), RangeError);
  assert.throws(() => gatherLabels(examples, Uint32Array.of(3)), RangeError);
});

test('the packaged MNIST is the original', async () => {
  const { train, test } = await loadMnist();
  const sizesOf = ({ count, height, width, channels, classes }: ImageSet) => [
    count,
    height,
    width,
    channels,
    classes,
  ];
  assert.deepEqual(sizesOf(train), [60000, 28, 28, 1, 10]);
  assert.deepEqual(sizesOf(test), [10000, 28, 28, 1, 10]);
  assert.deepEqual(
    tally(Uint32Array.from(train.labels), 10),
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  );
  assert.deepEqual(
    tally(Uint32Array.from(test.labels), 10),
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
  );
  assert.equal((train.pixels.reduce((a, b) => a + b) / train.pixels.length / 255).toFixed(4), '0.1307');

  const tasks = mnistTasks({ train, test }, { seed: 0 });
  assert.equal(tasks[3]!.train.index.length, 4000);
  assert.equal(tasks[3]!.validation.index.length, 1000);
  assert.equal(tasks[3]!.test.index.length, 2000);
});

test('MNIST loads from a folder, raw or gzip, and names what is missing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fathom-mnist-'));
  try {
    await writeFile(join(folder, 'train-images-idx3-ubyte'), idx([2, 1, 1]));
    await writeFile(join(folder, 'train-labels-idx1-ubyte.gz'), gzipSync(idx([2])));
    await writeFile(join(folder, 't10k-images-idx3-ubyte.gz'), gzipSync(idx([1, 1, 1])));
    const missing = join(folder, 't10k-labels-idx1-ubyte');
    await assert.rejects(loadMnist({ folder }), (error) => isRefusal(error, 'data-missing', missing));
    await writeFile(missing, idx([1]));
    const { train, test } = await loadMnist({ folder });
    assert.deepEqual([train.count, test.count], [2, 1]);

    await writeFile(missing, idx([2]));
    await assert.rejects(loadMnist({ folder }), (error) => isRefusal(error, 'count-mismatch', missing));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a data file that cannot be read is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fathom-mnist-'));
  try {
    const path = join(folder, 'train-images-idx3-ubyte');
    await mkdir(path);
    await assert.rejects(loadMnist({ folder }), (error) => isRefusal(error, 'data-unreadable', path));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a scale brings every channel to mean 0 and deviation 1, a flat one to 0', () => {
  const pixels = Float32Array.from({ length: 40 * 12 }, (_, i) =>
    i % 3 === 2 ? 0.5 : (i % 7) * (1 + (i % 3)),
  );
  const set: ImageSet<Float32Array> = {
    ...{ name: 'made', count: 40, height: 2, width: 2, channels: 3, pixels, classes: 1 },
    labels: new Uint32Array(40),
  };
  const scale = channelScale(set);
  const positions = Uint32Array.from({ length: 40 }, (_, i) => i);
  const seen = gatherImages(
    { images: { ...set, scale }, index: positions, labels: set.labels as Uint32Array },
    positions,
  );
  for (let channel = 0; channel < 3; channel++) {
    const values = Array.from(seen).filter((_, i) => i % 3 === channel);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    assert.ok(Math.abs(mean) < 1e-6);
    assert.ok(Math.abs(variance - (channel === 2 ? 0 : 1)) < 1e-6);
  }
  const bytes = { ...set, pixels: Uint8Array.from(pixels, (value) => value * 10) };
  assert.ok(Math.abs(channelScale(bytes).mean[2]! - 5 / 255) < 1e-12);
});
