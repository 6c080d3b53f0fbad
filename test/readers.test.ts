import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { unzipSync, zipSync } from 'fflate';
import jpeg from 'jpeg-js';
import { z } from 'zod';
import { type DataSet, hashImages, type ImageSet, imageAt, type Pixels } from '../data/dataset.ts';
import { openParquet, parquetSpec } from '../data/readers/parquet.ts';
import type { Decoded } from '../data/readers/reader.ts';
import { dataSpec } from '../data/sources.ts';
import { parquet } from './parquet_file.ts';
import { DATA, inFolder, missing, npy, open, plain, png, put, refuses, tally } from './reader_files.ts';

const shapeOf = ({ count, height, width, channels, classes }: ImageSet<Pixels>) => [
  count,
  height,
  width,
  channels,
  classes,
];

function checkHashes(data: DataSet): void {
  for (const set of [data.train, data.test]) if (set) assert.equal(set.hash, hashImages(set));
  assert.match(data.hash, /^[0-9a-f]{64}$/);
}

test('MNIST opens from its package, at any size', async () => {
  const data = await open({ format: 'mnist' }, { folder: '.' });
  assert.deepEqual(shapeOf(data.train), [60000, 28, 28, 1, 10]);
  assert.deepEqual(shapeOf(data.test!), [10000, 28, 28, 1, 10]);
  assert.deepEqual(
    tally(data.train.labels, 10),
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
  );
  assert.equal(data.name, 'MNIST');
  checkHashes(data);
  const small = await open({ format: 'mnist', size: 14, channels: 3, limit: 2 }, { folder: '.' });
  assert.deepEqual(shapeOf(small.train), [20, 14, 14, 3, 10]);
  assert.deepEqual(tally(small.train.labels, 10), new Array(10).fill(2));
  const [whole, shrunk] = [imageAt(data.train, 0), imageAt(small.train, 0)];
  for (let y = 0; y < 14; y++) {
    for (let x = 0; x < 14; x++) {
      const at = 56 * y + 2 * x;
      const mean = (whole[at]! + whole[at + 1]! + whole[at + 28]! + whole[at + 29]!) / 4;
      for (let c = 0; c < 3; c++) assert.ok(Math.abs(shrunk[(14 * y + x) * 3 + c]! - mean) <= 0.5);
    }
  }
});

test('CIFAR-10 and CIFAR-100 open from their binary files', async () => {
  const pixels = (n: number) => Uint8Array.from({ length: 3072 }, (_, i) => (i >> 10) * 80 + n + (i & 31));
  const record = (labels: number[], n: number) => Buffer.concat([Uint8Array.from(labels), pixels(n)]);
  const files: Record<string, Uint8Array | string> = {
    'ten/batches.meta.txt': 'airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n',
    'ten/test_batch.bin': Buffer.concat([record([9], 5), record([3], 6)]),
    'hundred/train.bin': record([19, 98], 1),
    'hundred/test.bin': record([4, 0], 2),
    'hundred/fine_label_names.txt': Array.from({ length: 100 }, (_, i) => `fine${i}`).join('\n'),
    'hundred/coarse_label_names.txt': Array.from({ length: 20 }, (_, i) => `coarse${i}`).join('\r\n'),
  };
  for (let batch = 1; batch <= 5; batch++) files[`ten/data_batch_${batch}.bin`] = record([batch], batch);
  await inFolder(files, async (folder) => {
    const ten = await open({ format: 'cifar10', path: 'ten' }, { folder });
    assert.deepEqual([ten.classNames[0], ten.classNames[9]], ['airplane', 'truck']);
    assert.deepEqual(
      [shapeOf(ten.train), shapeOf(ten.test!)],
      [
        [5, 32, 32, 3, 10],
        [2, 32, 32, 3, 10],
      ],
    );
    assert.deepEqual(
      [[...ten.train.labels], [...ten.test!.labels]],
      [
        [1, 2, 3, 4, 5],
        [9, 3],
      ],
    );
    const image = imageAt(ten.test!, 1);
    assert.deepEqual([...image.subarray(0, 6)], [6, 86, 166, 7, 87, 167]);
    checkHashes(ten);

    const fine = await open({ format: 'cifar100', path: 'hundred' }, { folder });
    const coarse = await open({ format: 'cifar100', path: 'hundred', labels: 'coarse' }, { folder });
    assert.deepEqual([fine.classNames[98], fine.train.labels[0], fine.test!.labels[0]], ['fine98', 98, 0]);
    assert.deepEqual([coarse.classNames.length, coarse.train.labels[0], coarse.test!.labels[0]], [20, 19, 4]);
    assert.notEqual(fine.hash, coarse.hash);

    await put(join(folder, 'ten/data_batch_3.bin'), record([3], 3).subarray(1));
    await refuses(
      open({ format: 'cifar10', path: 'ten' }, { folder }),
      'cifar-size',
      'data_batch_3.bin',
      '3072',
    );
    await put(join(folder, 'hundred/test.bin'), record([4, 100], 2));
    await refuses(
      open({ format: 'cifar100', path: 'hundred' }, { folder }),
      'label-outside-head',
      'test.bin',
    );
    await refuses(
      open({ format: 'cifar10', path: 'hundred' }, { folder }),
      'data-missing',
      'batches.meta.txt',
    );
  });
});

/** The sizes, names and labels in parquet files, read without decoding their images. */
async function facts(train: string, test: string): Promise<Decoded> {
  const spec = parquetSpec.parse({ format: 'parquet', train, test });
  return await (await openParquet(spec, { folder: DATA, warn: assert.fail })).open();
}

test('CIFAR-10 opens from parquet', {
  skip: missing('cifar10-jpeg-train.parquet', 'cifar10-jpeg-test.parquet'),
}, async () => {
  const [train, testing] = ['cifar10-jpeg-train.parquet', 'cifar10-jpeg-test.parquet'];
  const { classNames, parts } = await facts(train, testing);
  const names = 'airplane automobile bird cat deer dog frog horse ship truck';
  assert.equal(classNames.join(' '), names);
  assert.deepEqual(
    parts.map((part) => [part.count, part.height, part.width, part.channels, part.type]),
    [
      [50000, 32, 32, 3, 'bytes'],
      [10000, 32, 32, 3, 'bytes'],
    ],
  );
  assert.deepEqual(tally(parts[0]!.labels, 10), new Array(10).fill(5000));
  assert.deepEqual(tally(parts[1]!.labels, 10), new Array(10).fill(1000));

  const data = await open({ format: 'parquet', train, test: testing, limit: 100 }, { folder: DATA });
  assert.deepEqual([data.train.count, data.test!.count], [1000, 1000]);
  // The means of the training images that everyone normalises by.
  const means = [0, 0, 0];
  for (let n = 0; n < 1000; n++) {
    const image = imageAt(data.train, n);
    for (let i = 0; i < image.length; i++) means[i % 3]! += image[i]! / (255 * 1024 * 1000);
  }
  for (const [c, mean] of [0.4914, 0.4822, 0.4465].entries()) {
    assert.ok(Math.abs(means[c]! - mean) < 0.02, `${means}`);
  }
  checkHashes(data);
});

test('Tiny ImageNet opens from parquet shards, limited and resized', {
  skip: missing('tin40-train-150pc.parquet', 'tin40-test-50pc.parquet'),
}, async () => {
  const { classNames, parts } = await facts('tin40-train-*.parquet', 'tin40-test-50pc.parquet');
  assert.deepEqual(
    parts.map((part) => [part.count, part.height, part.width, part.channels]),
    [
      [6000, 64, 64, 3],
      [2000, 64, 64, 3],
    ],
  );
  assert.deepEqual(tally(parts[0]!.labels, 40), new Array(40).fill(150));
  assert.deepEqual(tally(parts[1]!.labels, 40), new Array(40).fill(50));
  assert.ok(classNames.includes('school bus'));

  const two = ['tin40-test-50pc.parquet', 'tin40-test-50pc.parquet'];
  const spec = { format: 'parquet', train: two, size: [16, 32], channels: 1, limit: 51 };
  const { train, test } = await open(spec, { folder: DATA });
  assert.deepEqual([shapeOf(train), test], [[2040, 16, 32, 1, 40], undefined]);
  assert.deepEqual(tally(train.labels, 40), new Array(40).fill(51));
  const first = train.labels.indexOf(train.labels[2000]!);
  assert.deepEqual(
    imageAt(train, 2000),
    imageAt(train, first),
    'the second shard goes on where the first ends',
  );
});

test('parquet columns can be named, and those that lack are told', {
  skip: missing('tin40-test-50pc.parquet'),
}, async () => {
  const train = 'tin40-test-50pc.parquet';
  const given = { format: 'parquet', train, limit: 1 };
  const data = await open({ ...given, image: 'image', label: 'label' }, { folder: DATA });
  assert.equal(data.train.count, 40);
  const names = Array.from({ length: 40 }, (_, i) => `${40 - i}`);
  assert.deepEqual(
    (await open({ ...given, classNames: names }, { folder: DATA })).train.labels,
    data.train.labels,
  );
  await refuses(
    open({ ...given, label: 'fine' }, { folder: DATA }),
    'parquet-column',
    train,
    '"fine"',
    'image, label',
  );
  await refuses(open({ ...given, image: 'label' }, { folder: DATA }), 'parquet-image', train, 'row 0');
  await refuses(open({ ...given, classNames: ['a'] }, { folder: DATA }), 'label-unknown', train);
  await refuses(open({ ...given, train: 'no-*.parquet' }, { folder: DATA }), 'data-missing', 'no-*.parquet');
});

test('parquet files open with every compression and page that is supported, and others are named', async () => {
  const images = [plain(1, 2, 1), plain(1, 2, 2), plain(1, 2, 3, 3, 3)];
  const kinds = (['none', 'gzip', 'brotli'] as const).flatMap((codec) => [
    { codec, isV2: false },
    { codec, isV2: true },
  ]);
  await inFolder({}, async (folder) => {
    const spec = { format: 'parquet', train: 'x.parquet', channels: 1 };
    for (const kind of kinds) {
      await put(join(folder, 'x.parquet'), parquet({ images, labels: [7, 3, 7], ...kind }));
      const numbered = await open(spec, { folder });
      assert.deepEqual(
        [numbered.classNames, [...numbered.train.labels]],
        [
          ['3', '7'],
          [1, 0, 1],
        ],
      );
      assert.deepEqual([...(numbered.train.pixels as Uint8Array)], [1, 1, 2, 2, 3, 3]);
      await put(join(folder, 'x.parquet'), parquet({ images, labels: ['b', 'a', 'b'], ...kind }));
      assert.deepEqual((await open(spec, { folder })).classNames, ['a', 'b']);
      await put(
        join(folder, 'x.parquet'),
        parquet({ images, labels: [0, 1, 0], classNames: ['1', '0'], ...kind }),
      );
      const named = await open(spec, { folder });
      assert.deepEqual(
        [named.classNames, [...named.train.labels]],
        [
          ['1', '0'],
          [0, 1, 0],
        ],
      );
    }
    await refuses(
      open({ ...spec, channels: undefined }, { folder }),
      'image-shape',
      'x.parquet, row 2',
      'colours',
    );
    await put(join(folder, 'x.parquet'), parquet({ images, labels: [0, 1, 0], codec: 'zstd' }));
    await refuses(
      open(spec, { folder }),
      'parquet-damaged',
      'x.parquet',
      'compression ZSTD is not supported',
    );
    await put(join(folder, 'x.parquet'), parquet({ images, labels: [0, 2, 0], classNames: ['1', '0'] }));
    await refuses(open(spec, { folder }), 'label-unknown', 'x.parquet', '"2"');
  });
});

test('Omniglot opens from folders', { skip: missing('omniglot-background-small1.zip') }, async () => {
  const files = unzipSync(await readFile(join(DATA, 'omniglot-background-small1.zip')));
  const drawings = Object.entries(files).filter(([name]) => name.endsWith('.png'));
  await inFolder(Object.fromEntries(drawings), async (folder) => {
    const path = drawings.find(([name]) => !name.startsWith('__'))![0].split('/')[0]!;
    const data = await open({ format: 'folder', path, size: 28, limit: 20 }, { folder });
    assert.deepEqual(data.classNames, ['Balinese', 'Early_Aramaic', 'Greek', 'Korean', 'Latin']);
    assert.deepEqual(shapeOf(data.train), [100, 28, 28, 1, 5]);
    const mean = (data.train.pixels as Uint8Array).reduce((a, b) => a + b) / data.train.pixels.length;
    assert.ok(mean > 200 && mean < 254, 'black ink on white');
    checkHashes(data);
  });
});

test('folders of images give classes by name, in any of their layouts', async () => {
  const photo = jpeg.encode({ width: 4, height: 4, data: new Uint8Array(64).fill(200) }, 90).data;
  const files = {
    'set/train/b/2.PNG': plain(2, 2, 20, 20, 20),
    'set/train/b/1.png': plain(2, 2, 10, 10, 10),
    'set/train/a/deeper/x.jpeg': photo,
    'set/train/.hidden/x.png': 'nothing',
    'set/test/b/3.png': plain(2, 2, 30),
    'bare/one/a.png': plain(1, 1, 5),
    'bare/two/a.png': plain(1, 1, 6),
    'bare/two/notes.txt': 'not an image',
  };
  await inFolder(files, async (folder) => {
    const data = await open({ format: 'folder', path: 'set', size: 2 }, { folder });
    assert.deepEqual([data.name, data.classNames], ['set', ['a', 'b']]);
    assert.deepEqual([[...data.train.labels], [...data.test!.labels]], [[0, 1, 1], [1]]);
    assert.deepEqual(
      [...imageAt(data.train, 1), ...imageAt(data.test!, 0)],
      [...new Array(12).fill(10), ...new Array(12).fill(30)],
    );
    const split = { format: 'folder', train: 'set/train', test: join(folder, 'set/test'), size: 2 };
    assert.equal((await open(split, { folder })).hash, data.hash);
    await refuses(
      open({ format: 'folder', path: 'set' }, { folder }),
      'image-shape',
      '1.png',
      '2 x 2',
      '4 x 4',
    );

    const lines: string[] = [];
    const bare = await open({ format: 'folder', path: 'bare' }, { folder, warn: (line) => lines.push(line) });
    assert.deepEqual(
      [shapeOf(bare.train), bare.test, [...imageAt(bare.train, 1)]],
      [[2, 1, 1, 1, 2], undefined, [6]],
    );
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /bare that are no PNG or JPEG are passed over: 1, such as .*notes\.txt$/);

    await put(join(folder, 'set/test/c/1.png'), plain(2, 2, 0));
    await refuses(
      open({ format: 'folder', path: 'set', size: 2 }, { folder }),
      'label-unknown',
      join('test', 'c'),
    );
    await put(join(folder, 'bare/one/b.png'), plain(1, 1, 1, 2, 3));
    await refuses(open({ format: 'folder', path: 'bare' }, { folder }), 'image-shape', 'b.png has colours');
    await put(join(folder, 'bare/one/b.png'), plain(1, 1, 1).subarray(0, 50));
    await refuses(
      open({ format: 'folder', path: 'bare' }, { folder }),
      'image-damaged',
      join('one', 'b.png'),
    );
    await mkdir(join(folder, 'bare/three'));
    await refuses(open({ format: 'folder', path: 'bare' }, { folder }), 'empty-class', 'three');
    await refuses(open({ format: 'folder', path: 'none' }, { folder }), 'data-missing', 'none');
    await refuses(open({ format: 'folder' }, { folder }), 'bad-spec');
  });
});

test('links and paths that lead out of a data folder are refused', async () => {
  const files = { 'secret/a.png': plain(1, 1, 1), 'set/a/1.png': plain(1, 1, 2), 'set/list.csv': '' };
  await inFolder(files, async (folder) => {
    const list = (path: string) => put(join(folder, 'set/list.csv'), `image,label\n${path},x\n`);
    const spec = { format: 'csv', train: 'set/list.csv', image: 'image' };
    await list('a/1.png');
    assert.equal((await open(spec, { folder })).train.count, 1);
    for (const path of [
      '../secret/a.png',
      join(folder, 'secret/a.png'),
      'a/../../secret/a.png',
      'C:\\a.png',
      '..\\a.png',
    ]) {
      await list(path);
      await refuses(open(spec, { folder }), 'path-outside', 'list.csv, line 2', path);
    }
    await list('a/none.png');
    await refuses(open(spec, { folder }), 'data-missing', 'none.png');

    await symlink(join(folder, 'set/a/1.png'), join(folder, 'set/a/2.png'));
    assert.equal((await open({ format: 'folder', path: 'set' }, { folder })).train.count, 2);
    await symlink(join(folder, 'secret'), join(folder, 'set/b'));
    await refuses(open({ format: 'folder', path: 'set' }, { folder }), 'path-outside', 'set', 'b');
    await list('b/a.png');
    await refuses(open(spec, { folder }), 'path-outside', 'b/a.png');
    await symlink('..', join(folder, 'set/a/round'));
    await refuses(open({ format: 'folder', path: 'set/a' }, { folder }), 'path-outside', 'round');
  });
});

test('CSV files of paths and of pixels open, with labels that are names or numbers', async () => {
  const digits = 'p0,label,p1,p2,p3\n0,7,1,2,255\n9,-3,8,7,6\n5,7,5,5,5\n';
  const files = {
    'paths.csv': '\uFEFFname,kind\r\nimg/a.png,"a cat, black"\r\n"img/b.png",dog\r\n',
    'img/a.png': plain(1, 2, 1, 2, 3),
    'img/b.png': plain(1, 2, 7),
    'digits.csv.gz': gzipSync(digits),
    'test.csv': 'label,a,b,c,d\n-3,1,1,1,1\n',
    'floats.csv': 'label,a,b\nx,0.5,1\ny,0,0.25\n',
  };
  await inFolder(files, async (folder) => {
    const paths = await open({ format: 'csv', train: 'paths.csv', image: 'name', label: 'kind' }, { folder });
    assert.deepEqual(paths.classNames, ['a cat, black', 'dog']);
    assert.deepEqual(
      [...imageAt(paths.train, 0), ...imageAt(paths.train, 1)],
      [1, 2, 3, 1, 2, 3, 7, 7, 7, 7, 7, 7],
    );

    const pixels = await open({ format: 'csv', train: 'digits.csv.gz', test: 'test.csv' }, { folder });
    assert.deepEqual(
      [pixels.classNames, [...pixels.train.labels]],
      [
        ['-3', '7'],
        [1, 0, 1],
      ],
    );
    assert.deepEqual(
      [shapeOf(pixels.train), [...imageAt(pixels.train, 0)]],
      [
        [3, 2, 2, 1, 2],
        [0, 1, 2, 255],
      ],
    );
    assert.deepEqual([...pixels.test!.labels], [0]);
    checkHashes(pixels);
    const one = await open(
      { format: 'csv', train: 'digits.csv.gz', limit: 1, shape: [1, 4, 1], size: [1, 2] },
      { folder },
    );
    assert.deepEqual(
      [shapeOf(one.train), [...imageAt(one.train, 1)]],
      [
        [2, 1, 2, 1, 2],
        [8, 6],
      ],
    );

    const floats = await open({ format: 'csv', train: 'floats.csv', white: 2, shape: [1, 2, 1] }, { folder });
    assert.deepEqual(floats.train.pixels, Float32Array.of(0.25, 0.5, 0, 0.125));
    await refuses(
      open({ format: 'csv', train: 'floats.csv', shape: [1, 2, 1] }, { folder }),
      'csv-pixel',
      'line 2, column 2',
      '0.5',
    );
    await refuses(open({ format: 'csv', train: 'floats.csv' }, { folder }), 'csv-shape', '2 columns');
    await refuses(
      open({ format: 'csv', train: 'test.csv', label: 'kind' }, { folder }),
      'csv-column',
      'kind',
      'label, a, b',
    );
    await refuses(open({ format: 'csv', train: 'none.csv' }, { folder }), 'data-missing', 'none.csv');
    await put(join(folder, 'ragged.csv'), 'label,a\n1,2\n1,2,3\n');
    await refuses(
      open({ format: 'csv', train: 'ragged.csv' }, { folder }),
      'csv-damaged',
      'ragged.csv',
      'line 3',
    );
    await put(join(folder, 'cut.csv.gz'), gzipSync(digits).subarray(0, 30));
    await refuses(open({ format: 'csv', train: 'cut.csv.gz' }, { folder }), 'csv-damaged', 'cut.csv.gz');
    await put(join(folder, 'empty.csv'), 'label,a\n');
    await refuses(open({ format: 'csv', train: 'empty.csv' }, { folder }), 'data-empty', 'empty train');
    await put(join(folder, 'unlabelled.csv'), 'label,a\n1,2\n,2\n');
    await refuses(open({ format: 'csv', train: 'unlabelled.csv' }, { folder }), 'label-missing', 'image 1');
  });
});

test('NumPy arrays open, one a file or zipped, of all common types', async () => {
  const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
  const big = Buffer.alloc(48);
  for (let i = 0; i < 24; i++) big.writeInt16BE(i, 2 * i);
  const labels = npy('<i8', [2, 1], BigInt64Array.of(1n, 0n));
  const images: Record<string, Uint8Array> = {
    u1: npy('|u1', [2, 2, 2, 3], bytes),
    u4: npy('<u4', [2, 2, 2, 3], Uint32Array.from(bytes)),
    i8: npy('<i8', [2, 2, 2, 3], BigInt64Array.from([...bytes].map(BigInt))),
    swapped: npy('>i2', [2, 2, 2, 3], big),
  };
  const floats = {
    f4: npy(
      '<f4',
      [2, 2, 6],
      Float32Array.from(bytes, (v) => v / 24),
    ),
    f8: npy(
      '<f8',
      [2, 2, 6],
      Float64Array.from(bytes, (v) => v / 24),
    ),
  };
  const files: Record<string, Uint8Array> = {
    'labels.npy': labels,
    'b1.npy': npy('|b1', [2, 4], Uint8Array.of(0, 1, 1, 0, 1, 0, 0, 1)),
  };
  for (const [name, file] of Object.entries({ ...images, ...floats })) files[`${name}.npy`] = file;
  files['all.npz'] = zipSync({
    'x_train.npy': images.u1!,
    'y_train.npy': labels,
    'x_test.npy': images.u4!,
    'y_test.npy': [labels, { level: 0 }],
    '../evil.npy': labels,
  });
  await inFolder(files, async (folder) => {
    const pair = (images: string) => ({ format: 'npy', train: { images, labels: 'labels.npy' } });
    const whole = await open(pair('u1.npy'), { folder });
    assert.deepEqual(
      [shapeOf(whole.train), [...whole.train.labels], whole.classNames],
      [
        [2, 2, 2, 3, 2],
        [1, 0],
        ['0', '1'],
      ],
    );
    assert.deepEqual(whole.train.pixels, bytes);
    for (const name of Object.keys(images)) {
      assert.equal((await open({ ...pair(`${name}.npy`), name: 'n' }, { folder })).hash, whole.hash, name);
    }
    for (const name of Object.keys(floats)) {
      const { train } = await open(pair(`${name}.npy`), { folder });
      assert.deepEqual(
        [shapeOf(train), train.pixels],
        [[2, 2, 6, 1, 2], Float32Array.from(bytes, (v) => v / 24)],
      );
    }
    assert.deepEqual([...imageAt((await open(pair('b1.npy'), { folder })).train, 0)], [0, 255, 255, 0]);
    const wide = await open({ ...pair('b1.npy'), shape: [1, 4, 1] }, { folder });
    assert.deepEqual(shapeOf(wide.train), [2, 1, 4, 1, 2]);

    const zipped = await open({ format: 'npz', path: 'all.npz' }, { folder });
    assert.equal(zipped.train.hash, whole.train.hash);
    assert.equal(zipped.test!.hash, whole.train.hash);
    const named = { images: 'x_test', labels: 'y_test' };
    assert.equal((await open({ format: 'npz', path: 'all.npz', train: named }, { folder })).test, undefined);
    const lacking = { images: 'pictures', labels: 'y_test' };
    await refuses(
      open({ format: 'npz', path: 'all.npz', train: lacking }, { folder }),
      'npz-name',
      'pictures',
      'x_train',
    );

    await refuses(open({ ...pair('b1.npy'), shape: [2, 4, 1] }, { folder }), 'npy-shape', 'b1.npy', '(2, 4)');
    const bad: [string, Uint8Array, string, string][] = [
      ['long.npy', npy('|u1', [3, 2, 2], new Uint8Array(12)), 'count-mismatch', 'labels.npy'],
      ['large.npy', npy('<i4', [2, 1, 1], Int32Array.of(0, 256)), 'npy-pixel', 'image 1 has a pixel 256'],
      [
        'nan.npy',
        npy('<f4', [2, 1, 1], Float32Array.of(0, Number.NaN)),
        'npy-pixel',
        'image 1 has a pixel NaN',
      ],
      ['columns.npy', npy('|u1', [2, 2, 2], new Uint8Array(8), 'True'), 'npy-type', 'columns first'],
      ['half.npy', npy('<f2', [2, 1, 1], new Uint16Array(2)), 'npy-type', 'half.npy'],
      ['objects.npy', npy('|O8', [2, 1, 1], new Uint8Array(16)), 'npy-type', 'objects.npy'],
      ['cut.npy', npy('|u1', [2, 2, 2], new Uint8Array(7)), 'npy-damaged', 'cut.npy'],
      ['text.npy', Buffer.from('not an array at all'), 'npy-damaged', 'it is no npy file'],
    ];
    for (const [name, file, code, part] of bad) {
      await put(join(folder, name), file);
      await refuses(open(pair(name), { folder }), code, name, part);
    }
    const wrong = { format: 'npy', train: { images: 'u1.npy', labels: 'nan.npy' } };
    await refuses(open(wrong, { folder }), 'npy-labels', 'nan.npy');
    await put(
      join(folder, 'bomb.npz'),
      tellsOfMore(zipSync({ 'images.npy': images.u1!, 'labels.npy': labels })),
    );
    await refuses(
      open({ format: 'npz', path: 'bomb.npz' }, { folder }),
      'npz-too-large',
      'bomb.npz',
      'images.npy',
    );
  });
});

/** A zip whose directory says that its first file unpacks to 1 GiB. */
function tellsOfMore(zip: Uint8Array): Uint8Array {
  const copy = Buffer.from(zip);
  copy.writeUInt32LE(2 ** 30, copy.indexOf('PK\x01\x02') + 24);
  return copy;
}

test('Quick, Draw! bitmaps open from arrays and raw bytes', {
  skip: missing('quickdraw-bowtie-1000.npy', 'quickdraw-cat-1000.u8'),
}, async () => {
  await inFolder({ 'notes.txt': '' }, async (folder) => {
    await copyFile(join(DATA, 'quickdraw-bowtie-1000.npy'), join(folder, 'full_numpy_bitmap_bowtie.npy'));
    await copyFile(join(DATA, 'quickdraw-cat-1000.u8'), join(folder, 'cat.u8'));
    const data = await open({ format: 'quickdraw', path: folder, limit: 600 }, { folder });
    assert.deepEqual(
      [data.classNames, shapeOf(data.train)],
      [
        ['bowtie', 'cat'],
        [1200, 28, 28, 1, 2],
      ],
    );
    assert.deepEqual(tally(data.train.labels, 2), [600, 600]);
    const raw = await readFile(join(folder, 'cat.u8'));
    assert.deepEqual(imageAt(data.train, 600), Uint8Array.from(raw.subarray(0, 784)));
    checkHashes(data);
    const cats = await open({ format: 'quickdraw', path: folder, classes: ['cat'] }, { folder });
    assert.deepEqual([cats.classNames, cats.train.count], [['cat'], 1000]);
    await refuses(
      open({ format: 'quickdraw', path: folder, classes: ['dog'] }, { folder }),
      'data-missing',
      'dog.npy',
    );
    await put(join(folder, 'cat.u8'), raw.subarray(0, 783));
    await refuses(open({ format: 'quickdraw', path: folder }, { folder }), 'quickdraw-damaged', 'cat.u8');
  });
});

test("Taskonomy's folders give images and the domains to predict", async () => {
  const view = (domain: string, point: number, building = '') =>
    `tasks/${domain}/${building}point_${point}_view_0_domain_${domain}.png`;
  const deep = (value: number) =>
    png({
      height: 2,
      width: 2,
      depth: 16,
      colour: 0,
      pixels: new Array(4).fill([value >> 8, value & 255]).flat(),
    });
  const files: Record<string, Uint8Array> = {};
  for (const point of [0, 1, 2]) {
    files[view('rgb', point, 'house/')] = plain(4, 4, 10 * point, 0, 0);
    files[view('normal', point, 'house/')] = plain(4, 4, 127, 127, 10 * point);
    if (point < 2) files[view('depth_zbuffer', point, 'house/')] = deep(point === 0 ? 511 : 65535);
    files[view('edge_texture', point, 'house/')] = deep(13107);
  }
  await inFolder(files, async (folder) => {
    const lines: string[] = [];
    const spec = {
      format: 'taskonomy',
      path: 'tasks',
      domains: ['depth_zbuffer', 'normal', 'edge_texture'],
      size: 2,
    };
    const data = await open(spec, { folder, warn: (line) => lines.push(line) });
    assert.deepEqual(
      [shapeOf(data.train), data.classNames, [...data.train.labels]],
      [[2, 2, 2, 3, 0], [], [0, 0]],
    );
    assert.deepEqual([...data.targets!.keys()], spec.domains);
    const target = (domain: string) => data.targets!.get(domain)!.train;
    assert.deepEqual(
      target('depth_zbuffer').pixels,
      Float32Array.of(9 / 16, 9 / 16, 9 / 16, 9 / 16, 1, 1, 1, 1),
    );
    assert.deepEqual([...imageAt(target('normal'), 1).subarray(0, 3)], [127, 127, 10]);
    assert.ok((target('edge_texture').pixels as Float32Array).every((value) => Math.abs(value - 0.2) < 1e-6));
    assert.match(lines.join(), /tasks that lack a domain are passed over: 1$/);
    const one = await open({ ...spec, domains: ['normal'], limit: 1, channels: 1 }, { folder });
    assert.deepEqual(
      [one.train.count, one.train.channels, one.targets!.get('normal')!.train.channels],
      [1, 1, 3],
    );
    const three = await open({ ...spec, channels: 3 }, { folder });
    assert.deepEqual(
      [...three.targets!.values()].map(({ train }) => train.channels),
      [3, 3, 3],
    );
    assert.ok(imageAt(three.targets!.get('depth_zbuffer')!.train, 0).every((value) => value === 9 / 16));
    await refuses(open({ ...spec, domains: ['reshading'] }, { folder }), 'data-missing', 'reshading');
    await refuses(open({ ...spec, domains: ['../tasks/normal'] }, { folder }), 'data-empty');
    await put(join(folder, view('edge_texture', 1, 'house/')), plain(2, 2, 4));
    await refuses(open(spec, { folder }), 'image-shape', 'point_1_view_0_domain_edge_texture.png');
  });
});

test('a spec says what each field is, for editors', () => {
  const schema = z.toJSONSchema(dataSpec, { io: 'input' }) as { oneOf?: object[]; anyOf?: object[] };
  const formats = (schema.oneOf ?? schema.anyOf)! as {
    properties: Record<string, { description?: string }>;
    additionalProperties: boolean;
  }[];
  assert.ok(formats.length >= 10);
  for (const { properties, additionalProperties } of formats) {
    assert.equal(additionalProperties, false);
    for (const [name, { description }] of Object.entries(properties)) assert.ok(description, name);
  }
  assert.throws(() => dataSpec.parse({ format: 'mnist', colour: true }), /colour/);
});

test('Fashion-MNIST opens as idx, with names of its classes', async () => {
  const folder = dirname((await import('../data/mnist.ts')).packagedFolder());
  const names = Array.from({ length: 10 }, (_, i) => `class ${i}`);
  const data = await open({ format: 'idx', path: 'data', classNames: names, limit: 1 }, { folder });
  assert.deepEqual([data.name, data.classNames, data.train.count], ['data', names, 10]);
});
