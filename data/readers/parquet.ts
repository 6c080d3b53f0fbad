import { closeSync, fstatSync, openSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type FileMetaData,
  parquetMetadata,
  parquetReadObjects,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { numberLabels, type RawLabels } from './labels.ts';
import { checkFooter, checkPages, compressors } from './parquet-pages.ts';
import { type Encoded, pictureShape, pictures } from './pictures.ts';
import {
  common,
  firstOfEach,
  missing,
  type Part,
  pathOf,
  type ReaderContext,
  readFully,
  type Source,
} from './reader.ts';

const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

export const parquetSpec = z.strictObject({
  format: z.literal('parquet').describe('Parquet files as Hugging Face has them: encoded images and labels'),
  train: files.describe('File or files to train on; * in a file name stands for any text'),
  test: files.optional().describe('File or files to test on'),
  image: z
    .string()
    .min(1)
    .optional()
    .describe('The column of images, PNG or JPEG bytes; left out, the one of type Image'),
  label: z
    .string()
    .min(1)
    .optional()
    .describe('The column of labels; left out, the one of type ClassLabel, or the one called label'),
  classNames: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe('Names of the classes; left out, those of the ClassLabel'),
  ...common,
});

type Spec = z.infer<typeof parquetSpec>;

interface Shard {
  path: string;
  metadata: FileMetaData;
  schema: SchemaTree;
  /** Rows of each row group. */
  groups: number[];
}

interface Columns {
  image: string;
  label: string;
  classNames?: string[];
}

export async function openParquet(spec: Spec, context: ReaderContext): Promise<Source> {
  const splits: { split: Part['split']; paths: string[] }[] = [
    { split: 'train', paths: await findFiles(spec.train, context) },
  ];
  if (spec.test !== undefined) splits.push({ split: 'test', paths: await findFiles(spec.test, context) });
  return {
    name: spec.name ?? basename(splits[0]!.paths[0]!, '.parquet').replace(/-\d+-of-\d+$/, ''),
    files: splits.flatMap(({ paths }) => paths),
    cheap: false,
    async open() {
      const shards = splits.map(({ paths }) => paths.map(openShard));
      const columns = findColumns(shards[0]![0]!, spec);
      const all = await Promise.all(shards.map((some) => readLabels(some, columns.label)));
      const kept = all.map((labels) => firstOfEach(labels, spec.limit));
      const { classNames, labels } = numberLabels(
        all.map((some, s) => Array.from(kept[s]!, (row) => some[row]!)),
        splits.map(({ paths }) => paths[0]!),
        columns.classNames,
      );
      const shape = await pictureShape(readImages(shards[0]!, columns.image, kept[0]!), spec);
      const parts = splits.map(({ split }, s) =>
        pictures({ ...shape, split, count: kept[s]!.length, labels: labels[s]! }, spec, () =>
          readImages(shards[s]!, columns.image, kept[s]!),
        ),
      );
      return { classNames, parts };
    },
  };
}

/** Paths of the files, those that a * stands for in alphabetical order. */
async function findFiles(given: string | string[], context: ReaderContext): Promise<string[]> {
  const found: string[] = [];
  for (const one of [given].flat()) {
    const path = pathOf(context, one);
    if (!basename(path).includes('*')) {
      found.push(path);
      continue;
    }
    const [start, ...rest] = basename(path).split('*');
    const names = await readdir(dirname(path)).catch((cause) => {
      throw missing(dirname(path), 'Correct the path', cause);
    });
    const matching = names.filter((name) => matches(name, start!, rest)).sort();
    if (matching.length === 0)
      throw missing(path, 'Correct the path: no file has such a name', { code: 'ENOENT' });
    for (const name of matching) found.push(join(dirname(path), name));
  }
  return found;
}

function matches(name: string, start: string, rest: string[]): boolean {
  const end = rest.at(-1)!;
  if (!name.startsWith(start) || !name.endsWith(end)) return false;
  let at = start.length;
  for (const piece of rest.slice(0, -1)) {
    at = name.indexOf(piece, at);
    if (at < 0) return false;
    at += piece.length;
  }
  return at <= name.length - end.length;
}

function openShard(path: string): Shard {
  return withFile(path, (file, bytes) => {
    const tail = readFully(file, 8, Math.max(0, bytes - 8));
    const view = new DataView(tail.buffer, tail.byteOffset, tail.length);
    if (tail.length < 8 || view.getUint32(4, true) !== 0x31524150)
      throw new Error('it does not end as such files do');
    const length = view.getUint32(0, true);
    if (length > bytes - 12) throw new Error('its footer is cut short');
    const footer = readFully(file, length + 8, bytes - 8 - length);
    checkFooter(footer.subarray(0, length));
    const metadata = parquetMetadata(footer, { geoparquet: false });
    const groups = metadata.row_groups.map(({ num_rows }) => Number(num_rows));
    // Each row has an image of at least a byte.
    if (groups.some((rows) => !(rows >= 0)) || groups.reduce((sum, rows) => sum + rows, 0) > bytes) {
      throw new Error('it tells of more rows than it has bytes');
    }
    return { path, metadata, schema: parquetSchema(metadata), groups };
  });
}

function findColumns({ path, metadata, schema }: Shard, spec: Spec): Columns {
  const features = hubFeatures(metadata);
  const names = schema.children.map((child) => child.element.name);
  const ofType = (type: string) => names.filter((name) => features[name]?._type === type);
  const pick = (given: string | undefined, found: string[], field: string, what: string): string => {
    const column = given ?? (found.length === 1 ? found[0] : undefined);
    if (column !== undefined && names.includes(column)) return column;
    throw new FathomError({
      code: 'parquet-column',
      message: `${path} has ${column === undefined ? `no one column of ${what}` : `no column ${JSON.stringify(column)}`}: it has ${names.slice(0, 12).join(', ').slice(0, 200)}`,
      fix: `Set ${field} to the name of the column of ${what}`,
    });
  };
  const images = ofType('Image');
  const isEncoded = (child: SchemaTree) => child.children.some(({ element }) => element.name === 'bytes');
  if (images.length === 0) {
    for (const child of schema.children) if (isEncoded(child)) images.push(child.element.name);
  }
  const labels = ofType('ClassLabel');
  if (labels.length === 0) labels.push('label');
  const label = pick(spec.label, labels, 'label', 'labels');
  const { names: own } = features[label] ?? {};
  const hasNames = Array.isArray(own) && own.length > 0 && own.every((name) => typeof name === 'string');
  const classNames = spec.classNames ?? (hasNames ? (own as string[]) : undefined);
  return { image: pick(spec.image, images, 'image', 'images'), label, classNames };
}

/** What the footer key `huggingface` says of the columns. */
function hubFeatures(
  metadata: FileMetaData,
): Record<string, { _type?: unknown; names?: unknown } | undefined> {
  const text = metadata.key_value_metadata?.find(({ key }) => key === 'huggingface')?.value;
  try {
    const features = JSON.parse(text ?? '{}')?.info?.features;
    return typeof features === 'object' && features !== null ? { ...features } : {};
  } catch {
    return {};
  }
}

async function readLabels(shards: Shard[], column: string): Promise<RawLabels> {
  const labels: RawLabels = [];
  const text = new TextDecoder();
  for (const shard of shards) {
    for (const group of shard.groups.keys()) {
      for (const value of await readColumn(shard, group, column)) {
        labels.push(value instanceof Uint8Array ? text.decode(value) : ((value ?? '') as string | bigint));
      }
    }
  }
  return labels;
}

/** The images of some rows, counted through all shards, row group by row group. */
async function* readImages(shards: Shard[], column: string, kept: Uint32Array): AsyncGenerator<Encoded> {
  let next = 0;
  let start = 0;
  for (const shard of shards) {
    let before = 0;
    for (const [group, rows] of shard.groups.entries()) {
      if (next < kept.length && kept[next]! < start + rows) {
        const values = await readColumn(shard, group, column);
        for (; next < kept.length && kept[next]! < start + rows; next++) {
          const row = kept[next]! - start;
          const name = `${shard.path}, row ${before + row}`;
          yield { name, bytes: encodedImage(values[row], name) };
        }
      }
      start += rows;
      before += rows;
    }
  }
}

function encodedImage(value: unknown, name: string): Uint8Array {
  const bytes =
    value instanceof Uint8Array ? value : (value as { bytes?: unknown } | null | undefined)?.bytes;
  if (bytes instanceof Uint8Array) return bytes;
  throw new FathomError({
    code: 'parquet-image',
    message: `${name} has no image`,
    fix: 'Store the bytes of the images in the file, or name the column that has them',
  });
}

/** The values of one column in one row group. hyparquet is given only what has been checked. */
async function readColumn(
  { path, metadata, schema, groups }: Shard,
  group: number,
  name: string,
): Promise<unknown[]> {
  const rows = groups[group]!;
  if (rows === 0) return [];
  const { bytes, columns } = withFile(path, (file, size) => {
    // As in a file, no column starts at 0, which would mean that it has no dictionary.
    const chunks: Uint8Array[] = [Buffer.from('PAR1')];
    let at = 4;
    const columns = metadata.row_groups[group]!.columns.filter(
      ({ meta_data }) => meta_data?.path_in_schema[0] === name,
    ).map(({ file_path, meta_data: column }) => {
      if (file_path || !column) throw new Error('its columns lie elsewhere');
      const dictionary = Number(column.dictionary_page_offset ?? 0);
      const data = Number(column.data_page_offset);
      const start = dictionary > 0 ? dictionary : data;
      const length = Number(column.total_compressed_size);
      if (!(start >= 0 && start <= data && length >= 0 && start + length <= size)) {
        throw new Error('a column lies outside the file');
      }
      const chunk = readFully(file, length, start);
      checkPages(chunk, { column, rows, maxDefinition: definitionLevels(schema, column.path_in_schema) });
      chunks.push(chunk);
      const moved = {
        ...column,
        data_page_offset: BigInt(at + data - start),
        dictionary_page_offset: dictionary > 0 ? BigInt(at) : undefined,
      };
      at += length;
      return { file_offset: 0n, meta_data: moved };
    });
    if (columns.length === 0) throw new Error(`row group ${group} has no column ${JSON.stringify(name)}`);
    return { bytes: Buffer.concat(chunks), columns };
  });
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const { total_byte_size } = metadata.row_groups[group]!;
  const checked: FileMetaData = {
    ...metadata,
    num_rows: BigInt(rows),
    row_groups: [{ columns, total_byte_size, num_rows: BigInt(rows) }],
  };
  const read = await parquetReadObjects({
    file: { byteLength: buffer.byteLength, slice: (from, to) => buffer.slice(from, to) },
    metadata: checked,
    columns: [name],
    compressors,
    utf8: false,
  }).catch((cause) => {
    throw damaged(path, cause);
  });
  return read.map((row) => row[name]);
}

/** Levels of optional fields down to a column. */
function definitionLevels(schema: SchemaTree, path: string[]): number {
  let tree = schema;
  let levels = 0;
  for (const name of path) {
    const child = tree.children.find(({ element }) => element.name === name);
    if (!child) throw new Error('a column is not in its schema');
    if (child.element.repetition_type === 'REPEATED') throw new Error('a column has lists');
    if (child.element.repetition_type !== 'REQUIRED') levels++;
    tree = child;
  }
  return levels;
}

function withFile<T>(path: string, read: (file: number, bytes: number) => T): T {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw missing(path, 'Correct the path of the parquet file', cause);
  }
  try {
    return read(file, fstatSync(file).size);
  } catch (cause) {
    throw damaged(path, cause);
  } finally {
    closeSync(file);
  }
}

function damaged(path: string, cause: unknown): FathomError {
  const why = String((cause as Error).message)
    .replaceAll(/\s+/g, ' ')
    .slice(0, 200);
  return new FathomError({
    code: 'parquet-damaged',
    message: `${path} is no parquet file that can be read: ${why}`,
    fix: 'Download it again, or write it with snappy, gzip or no compression',
    cause,
  });
}
