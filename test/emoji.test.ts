import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildTask, type DataSet, dataSpec, openData, taskSpec } from '../data/index.ts';
import { findEmoji } from '../data/readers/emoji.ts';
import { failsWith } from './assertions.ts';

const STYLES = ['noto', 'twemoji', 'openmoji', 'fluent-emoji-flat', 'fluent-emoji-high-contrast'];
/** Of the emoji that all five packages have; `package` cannot be drawn, and flags are left out. */
const COUNTS = {
  Activities: 85,
  Animals: 158,
  Food: 130,
  Objects: 261,
  People: 342,
  Smileys: 168,
  Symbols: 223,
  Travel: 218,
};

const open = (style: string, more: object = {}, cache?: string): Promise<DataSet> =>
  openData(dataSpec.parse({ format: 'emoji', style, ...more }), { folder: '.', cache });

test('the five styles draw the same emoji of eight categories, each in its own way', async () => {
  const sets: DataSet[] = [];
  for (const style of STYLES) sets.push(await open(style));
  const labels = [...sets[0]!.train.labels];
  for (const { train, test: none, classNames } of sets) {
    assert.equal(none, undefined);
    assert.deepEqual([train.count, train.height, train.width, train.channels], [1585, 32, 32, 3]);
    assert.deepEqual(classNames, Object.keys(COUNTS));
    assert.deepEqual(
      classNames.map((_, label) => labels.filter((other) => other === label).length),
      Object.values(COUNTS),
    );
    assert.deepEqual([...train.labels], labels);
    const pixels = train.pixels as Uint8Array;
    for (let i = 0; i < train.count; i++) {
      const image = pixels.subarray(i * 3072, (i + 1) * 3072);
      assert.ok(
        image.some((value) => value < 240),
        `picture ${i} is empty`,
      );
    }
    // A corner of nearly every picture is background.
    const white = Array.from({ length: train.count }, (_, i) => pixels[i * 3072]!).filter(
      (value) => value === 255,
    );
    assert.ok(white.length > 0.8 * train.count);
  }
  assert.equal(new Set(sets.map(({ hash }) => hash)).size, STYLES.length);

  const task = taskSpec.parse({ name: 'emoji', data: 'emoji' });
  const drawn = sets.map((set) =>
    buildTask(set, task, { train: 1000, validation: 250, test: 335, per: 'set', seed: 3 }),
  );
  for (const { train, validation, test: last } of drawn) {
    assert.deepEqual(
      [train.index, validation.index, last.index],
      [drawn[0]!.train.index, drawn[0]!.validation.index, drawn[0]!.test.index],
    );
    assert.equal(new Set([...train.index, ...validation.index, ...last.index]).size, 1585);
  }
});

test('emoji are drawn once: again they come from the cache, in any size', async () => {
  const cache = await mkdtemp(join(tmpdir(), 'fathom-emoji-'));
  try {
    const small = { size: 16, channels: 1, limit: 10 };
    const first = await open('twemoji', small, cache);
    assert.deepEqual(
      [first.train.count, first.train.height, first.train.width, first.train.channels],
      [80, 16, 16, 1],
    );
    const again = await open('twemoji', small, cache);
    assert.deepEqual(again, first);
  } finally {
    await rm(cache, { recursive: true });
  }
});

test('packages that are not installed are named, with the way to install them', () => {
  assert.throws(
    () => findEmoji([join(tmpdir(), 'study.yaml')]),
    (error: { fix?: string }) =>
      failsWith('data-missing', /@iconify-json\/noto, .*fluent-emoji-high-contrast, which are not/)(error) &&
      /^Run npm install @iconify-json\/noto @iconify-json\/twemoji/.test(error.fix ?? ''),
  );
});
