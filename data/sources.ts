import { z } from 'zod';
import type { Gpu } from '../engine/index.ts';
import { loadSource, type StoreOptions } from './cache.ts';
import type { DataSet } from './dataset.ts';
import { cifar10Spec, cifar100Spec, openCifar } from './readers/cifar.ts';
import { csvSpec, openCsv } from './readers/csv.ts';
import { emojiSpec, openEmoji } from './readers/emoji.ts';
import { folderSpec, openFolder } from './readers/folder.ts';
import { idxSpec, mnistSpec, openIdx } from './readers/idx.ts';
import { npySpec, npzSpec, openNpyPair, openNpz } from './readers/npy.ts';
import { openParquet, parquetSpec } from './readers/parquet.ts';
import { openQuickdraw, quickdrawSpec } from './readers/quickdraw.ts';
import type { ReaderContext, Source } from './readers/reader.ts';
import { openScenes, scenesSpec } from './readers/scenes.ts';
import { openTaskonomy, taskonomySpec } from './readers/taskonomy.ts';

/** What a study says of a data set. Relative paths are relative to the study's file. */
export const dataSpec = z.discriminatedUnion('format', [
  mnistSpec,
  idxSpec,
  cifar10Spec,
  cifar100Spec,
  parquetSpec,
  folderSpec,
  csvSpec,
  npySpec,
  npzSpec,
  quickdrawSpec,
  taskonomySpec,
  emojiSpec,
  scenesSpec,
]);

export type DataSpec = z.infer<typeof dataSpec>;

/** How a data set is opened. */
export interface DataOptions extends StoreOptions {
  /** What relative paths of the spec are relative to. */
  folder: string;
  /** Where scenes are rendered; asked for nothing else. */
  gpu?(): Promise<Gpu>;
}

/**
 * Opens a data set: reads and decodes its files, or takes what was decoded before from the cache.
 *
 * @param spec what {@link dataSpec} gives
 * @throws FathomError that names the file, and the image or row, which cannot be read
 */
export async function openData(spec: DataSpec, options: DataOptions): Promise<DataSet> {
  const warn = options.warn ?? (() => {});
  if (spec.format === 'scenes') return await openScenes(spec, options.gpu);
  const source = await openSource(spec, { folder: options.folder, warn });
  return await loadSource(source, spec, options);
}

async function openSource(
  spec: Exclude<DataSpec, { format: 'scenes' }>,
  context: ReaderContext,
): Promise<Source> {
  switch (spec.format) {
    case 'mnist':
    case 'idx':
      return await openIdx(spec, context);
    case 'cifar10':
    case 'cifar100':
      return await openCifar(spec, context);
    case 'parquet':
      return await openParquet(spec, context);
    case 'folder':
      return await openFolder(spec, context);
    case 'csv':
      return await openCsv(spec, context);
    case 'npy':
      return await openNpyPair(spec, context);
    case 'npz':
      return await openNpz(spec, context);
    case 'quickdraw':
      return await openQuickdraw(spec, context);
    case 'taskonomy':
      return await openTaskonomy(spec, context);
    case 'emoji':
      return await openEmoji(spec, context);
  }
}
