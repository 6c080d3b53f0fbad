import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { mkdir, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadSource } from '../data/cache.ts';
import { type DataSet, gatherImages, hashImages, imageAt } from '../data/dataset.ts';
import { openFolder } from '../data/readers/folder.ts';
import type { Source } from '../data/readers/reader.ts';
import { property } from './property.ts';
import { damage, damages, inFolder, open, plain, put, refuses } from './reader_files.ts';

const files: Record<string, Uint8Array> = {};
for (let n = 0; n < 12; n++) files[`set/${n % 2 ? 'odd' : 'even'}/${n}.png`] = plain(3, 2, 20 * n, n, 0);
const spec = { format: 'folder', path: 'set' };

/** Opens the set through the cache, and gives what it was told. */
async function openCached(folder: string, memory?: number): Promise<{ data: DataSet; lines: string[] }> {
  const lines: string[] = [];
  const options = { folder, cache: join(folder, 'cache'), memory, warn: (line: string) => lines.push(line) };
  return { data: await open(spec, options), lines };
}

const entries = (folder: string) => readdirSync(join(folder, 'cache'));
const entryOf = (folder: string) => join(folder, 'cache', entries(folder)[0]!);

test('a set is decoded once, and decoded anew when its files change', async () => {
  await inFolder(files, async (folder) => {
    const plainly = await open(spec, { folder });
    const { data } = await openCached(folder);
    assert.equal(data.hash, plainly.hash);
    assert.deepEqual([data.train.pixels, data.train.labels], [plainly.train.pixels, plainly.train.labels]);
    const written = readFileSync(entryOf(folder));
    const again = await openCached(folder);
    assert.deepEqual([again.data, again.lines], [data, []]);
    assert.deepEqual(readFileSync(entryOf(folder)), written);

    await put(join(folder, 'set/even/0.png'), plain(3, 2, 255, 255, 255));
    const changed = await openCached(folder);
    assert.notEqual(changed.data.hash, data.hash);
    assert.deepEqual([changed.lines, entries(folder).length], [[], 1]);
    await utimes(join(folder, 'set/even/0.png'), 1, 1);
    assert.equal((await openCached(folder)).data.hash, changed.data.hash);
  });
});

test('a set above the bound of memory is read from the cache, image by image', async () => {
  await inFolder(files, async (folder) => {
    const { data } = await openCached(folder);
    const { data: stored } = await openCached(folder, 100);
    const { pixels } = stored.train;
    assert.ok('image' in pixels);
    assert.equal(pixels.length, 12 * 18);
    assert.deepEqual([stored.hash, hashImages(stored.train)], [data.hash, data.train.hash]);
    for (let n = 0; n < 12; n++) assert.deepEqual(imageAt(stored.train, n), imageAt(data.train, n));
    assert.throws(() => pixels.image(12), RangeError);
    const at = (set: DataSet) => ({
      images: set.train,
      index: Uint32Array.of(11, 3),
      labels: Uint32Array.of(1, 1),
    });
    assert.deepEqual(
      gatherImages(at(stored), Uint32Array.of(1, 0)),
      gatherImages(at(data), Uint32Array.of(1, 0)),
    );
    await refuses(open(spec, { folder, memory: 100 }), 'data-too-large', '216 bytes', 'the 100 held');
    // Sets that are cheap to decode come to the cache only when memory does not hold them.
    const cheap = { format: 'mnist', limit: 1 };
    const cache = join(folder, 'cheap');
    const whole = await open(cheap, { folder, cache });
    assert.throws(() => readdirSync(cache));
    const kept = await open(cheap, { folder, cache, memory: 100 });
    assert.ok('image' in kept.train.pixels);
    assert.equal(kept.hash, whole.hash);
  });
});

/** A source of images to predict, in floats, with many classes. */
const floats: Source = {
  name: 'floats',
  files: [],
  cheap: false,
  open: async () => {
    const shape = { height: 1, width: 2, channels: 1, count: 2 };
    const labels = Uint32Array.of(299, 0);
    const part = { ...shape, labels, split: 'train' as const };
    return {
      classNames: Array.from({ length: 300 }, (_, i) => `${i}`),
      parts: [
        { ...part, type: 'bytes' as const, images: () => [Uint8Array.of(1, 2), Uint8Array.of(3, 4)] },
        {
          ...part,
          domain: 'depth',
          type: 'floats' as const,
          images: () => [Float32Array.of(0.5, 0.25, 0, 1)],
        },
        {
          ...part,
          split: 'test' as const,
          type: 'bytes' as const,
          images: () => [Uint8Array.of(5, 6, 7, 8)],
        },
      ],
    };
  },
};

test('floats, many classes and images to predict come back as they were', async () => {
  await inFolder({}, async (folder) => {
    const decoded = await loadSource(floats, {}, { folder });
    for (const memory of [1000, 1000, 1, 1]) {
      const data = await loadSource(floats, {}, { folder, cache: folder, memory });
      const depth = data.targets!.get('depth')!;
      assert.equal(data.hash, decoded.hash);
      assert.deepEqual([...data.train.labels], [299, 0]);
      assert.deepEqual(imageAt(depth.train, 1), Float32Array.of(0, 1));
      assert.deepEqual(imageAt(data.test!, 1), Uint8Array.of(7, 8));
      assert.equal(depth.test, undefined);
      assert.equal('image' in depth.train.pixels, memory === 1);
    }
  });
});

test('a damaged set is told of in one line and made anew, wherever the damage', async () => {
  await inFolder(files, async (folder) => {
    const { data } = await openCached(folder);
    const path = entryOf(folder);
    const whole = readFileSync(path);
    await property(damages(2), 60, async (how) => {
      const bad = damage(whole, how);
      writeFileSync(path, bad);
      const { data: found, lines } = await openCached(folder, how.keep < 0.5 ? 100 : undefined);
      assert.equal(found.hash, data.hash);
      assert.equal(lines.length, Buffer.compare(whole, bad) === 0 ? 0 : 1, lines.join());
      for (const line of lines) {
        assert.match(line, /^The decoded data set .+\.set is .+: it is made anew$/);
        assert.ok(!line.includes('\n'));
      }
      assert.deepEqual(readFileSync(path), whole);
    });
  });
});

test('a set of another version of the format is told of and made anew', async () => {
  await inFolder(files, async (folder) => {
    const { data } = await openCached(folder);
    const path = entryOf(folder);
    const older = readFileSync(path);
    older.writeUInt32LE(0, 8);
    writeFileSync(path, older);
    const { data: found, lines } = await openCached(folder);
    assert.deepEqual(lines, [`The decoded data set ${path} is of format version 0, not 1: it is made anew`]);
    assert.equal(found.hash, data.hash);
    assert.deepEqual((await openCached(folder)).lines, []);
  });
});

test('a full disk ends in one line and leaves nothing behind', async () => {
  await inFolder(files, async (folder) => {
    const cache = join(folder, 'cache');
    const source = await openFolder({ format: 'folder', path: 'set' }, { folder, warn: assert.fail });
    await openCached(folder);
    const { length } = readFileSync(entryOf(folder));
    await rm(cache, { recursive: true });
    for (const room of [0, 100, length - 1]) {
      let left = room;
      const write = (file: number, bytes: Uint8Array, offset: number, length: number) => {
        if (left === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        const written = writeSync(file, bytes, offset, Math.min(left, length));
        left -= written;
        return written;
      };
      const loading = loadSource(source, spec, { folder, cache }, write);
      await refuses(loading, 'cache-unwritable', 'no room left', cache);
      assert.deepEqual(readdirSync(cache), []);
    }
    const slow = (file: number, bytes: Uint8Array, offset: number) => writeSync(file, bytes, offset, 1);
    const data = await loadSource(source, spec, { folder, cache }, slow);
    assert.equal(data.hash, (await open(spec, { folder })).hash);
    await put(join(folder, 'file'), '');
    await refuses(open(spec, { folder, cache: join(folder, 'file') }), 'cache-unwritable', 'file');
  });
});

test('a set that cannot be decoded leaves nothing behind, nor do processes long gone', async () => {
  await inFolder({ ...files, 'set/odd/99.png': plain(3, 2, 1, 1, 1).subarray(0, 40) }, async (folder) => {
    const abandoned = join(folder, 'cache', 'x.set.1-a.part');
    await put(abandoned, 'half');
    await utimes(abandoned, 1, 1);
    await put(join(folder, 'cache', 'x.set.2-b.part'), 'at work');
    await refuses(openCached(folder), 'image-damaged', '99.png');
    assert.deepEqual(entries(folder), ['x.set.2-b.part']);
  });
});

test('two processes may decode the same set at once', async () => {
  await inFolder(files, async (folder) => {
    await mkdir(join(folder, 'cache'));
    const script = `
      import { openData } from ${JSON.stringify(new URL('../data/sources.ts', import.meta.url).href)};
      const [folder] = process.argv.slice(-1);
      const data = await openData({ format: 'folder', path: 'set' }, { folder, cache: folder + '/cache', warn: console.log });
      console.log(data.hash);`;
    await put(join(folder, 'open.mts'), `import process from 'node:process';${script}`);
    const isDeno = 'Deno' in globalThis;
    const flags = isDeno ? ['run', '-A', '--no-check', '--config', 'deno.json'] : ['--import', 'tsx'];
    const cwd = fileURLToPath(new URL('..', import.meta.url));
    const run = () =>
      promisify(execFile)(process.execPath, [...flags, join(folder, 'open.mts'), folder], { cwd });
    const outputs = await Promise.all([run(), run(), run()]);
    const { data, lines } = await openCached(folder);
    for (const { stdout } of outputs) assert.equal(stdout.trim(), data.hash);
    assert.deepEqual([lines, entries(folder).length], [[], 1]);
  });
});

test('the hash of a set is that of its shape, pixels and labels', () => {
  const set = { name: 'x', count: 2, height: 1, width: 2, channels: 1, classes: 2 };
  const [pixels, labels] = [Uint8Array.of(1, 2, 3, 4), Uint8Array.of(0, 1)];
  const expected = createHash('sha256')
    .update('2 1 2 1\nbytes\n')
    .update(pixels)
    .update(Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0))
    .digest('hex');
  assert.equal(hashImages({ ...set, pixels, labels }), expected);
  assert.equal(hashImages({ ...set, pixels, labels: Uint32Array.of(0, 1) }), expected);
  assert.notEqual(hashImages({ ...set, pixels, labels: Uint8Array.of(1, 1) }), expected);
  assert.notEqual(hashImages({ ...set, pixels: Float32Array.of(1, 2, 3, 4), labels }), expected);
});
