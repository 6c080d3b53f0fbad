import { createReadStream } from 'node:fs';
import { basename, dirname } from 'node:path';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import type { Shape } from '../image.ts';
import { numberLabels } from './labels.ts';
import { pictureShape, pictures, readPictures } from './pictures.ts';
import {
  adapt,
  common,
  fileSize,
  firstOfEach,
  missing,
  type Part,
  pathOf,
  type ReaderContext,
  type Source,
  type Values,
  within,
} from './reader.ts';

export const csvSpec = z.strictObject({
  format: z.literal('csv').describe('A CSV file with a header, one image a row: a path, or its pixels'),
  train: z.string().min(1).describe('The CSV file to train on; .gz if need be'),
  test: z.string().min(1).optional().describe('The CSV file to test on'),
  label: z.string().min(1).default('label').describe('The column of labels, names or whole numbers'),
  image: z
    .string()
    .min(1)
    .optional()
    .describe(
      'The column of paths of PNG or JPEG images, relative to the CSV file and within its folder; left out, all columns but the label are pixels, row by row, channels together',
    ),
  shape: z
    .tuple([z.int().min(1).max(4096), z.int().min(1).max(4096), z.union([z.literal(1), z.literal(3)])])
    .optional()
    .describe('Of pixels in columns: [height, width, channels]; left out, square grey images'),
  white: z
    .number()
    .positive()
    .default(255)
    .describe('Of pixels in columns: the value of full brightness. 255 stands for whole numbers'),
  classNames: z.array(z.string().min(1)).min(1).optional().describe('Names of the classes, by label'),
  ...common,
});

type Spec = z.infer<typeof csvSpec>;

/** Most characters of one row. */
const MAX_ROW = 2 ** 24;
/** Most rows of a file: a small packed one may hold any number. */
const MAX_ROWS = 2 ** 25;

interface Table {
  split: Part['split'];
  path: string;
}

export async function openCsv(spec: Spec, context: ReaderContext): Promise<Source> {
  const tables: Table[] = [{ split: 'train', path: pathOf(context, spec.train) }];
  if (spec.test !== undefined) tables.push({ split: 'test', path: pathOf(context, spec.test) });
  for (const { path } of tables) {
    if ((await fileSize(path)) === undefined) {
      throw missing(path, 'Correct the path of the CSV file', { code: 'ENOENT' });
    }
  }
  const name = spec.name ?? basename(tables[0]!.path).replace(/\.csv(\.gz)?$/i, '');
  const files = tables.map(({ path }) => path);
  return spec.image === undefined
    ? { name, files, cheap: false, open: () => openPixels(spec, tables) }
    : await openPaths(spec, tables, spec.image, name);
}

async function openPaths(spec: Spec, tables: Table[], column: string, name: string): Promise<Source> {
  const rows = await Promise.all(
    tables.map(async ({ path }) => {
      const labels: string[] = [];
      const images: string[] = [];
      for await (const { line, cells, at } of readRows(path)) {
        labels.push(cells[at(spec.label)]!);
        images.push(await within(dirname(path), cells[at(column)]!, `${path}, line ${line},`));
      }
      const kept = firstOfEach(labels, spec.limit);
      return { labels: Array.from(kept, (i) => labels[i]!), images: Array.from(kept, (i) => images[i]!) };
    }),
  );
  const paths = tables.map(({ path }) => path);
  return {
    name,
    files: [...paths, ...rows.flatMap(({ images }) => images)],
    cheap: false,
    async open() {
      const { classNames, labels } = numberLabels(
        rows.map((table) => table.labels),
        paths,
        spec.classNames,
      );
      const shape = await pictureShape(readPictures(rows[0]!.images), spec);
      const parts = tables.map(({ split }, t) => {
        const about = { ...shape, split, count: rows[t]!.images.length, labels: labels[t]! };
        return pictures(about, spec, () => readPictures(rows[t]!.images));
      });
      return { classNames, parts };
    },
  };
}

async function openPixels(spec: Spec, tables: Table[]): Promise<{ classNames: string[]; parts: Part[] }> {
  const found: { labels: string[]; columns: number }[] = [];
  for (const { path } of tables) {
    const labels: string[] = [];
    let columns = 0;
    for await (const { cells, at } of readRows(path)) {
      labels.push(cells[at(spec.label)]!);
      columns = cells.length - 1;
    }
    found.push({ labels, columns });
  }
  const { classNames, labels } = numberLabels(
    found.map((table) => table.labels),
    tables.map(({ path }) => path),
    spec.classNames,
  );
  const parts = tables.map(({ split, path }, t): Part => {
    const shape = pixelShape(spec, found[t]!.columns, path);
    const part: Part = {
      ...shape,
      split,
      count: found[t]!.labels.length,
      type: spec.white === 255 ? 'bytes' : 'floats',
      labels: labels[t]!,
      images: () => readPixels(spec, path),
    };
    return adapt(part, spec);
  });
  return { classNames, parts };
}

async function* readPixels(spec: Spec, path: string): AsyncGenerator<Values> {
  const isBytes = spec.white === 255;
  for await (const { line, cells, at } of readRows(path)) {
    const label = at(spec.label);
    const values = isBytes ? new Uint8Array(cells.length - 1) : new Float32Array(cells.length - 1);
    let to = 0;
    for (const [i, cell] of cells.entries()) {
      if (i === label) continue;
      const value = cell.trim() === '' ? Number.NaN : Number(cell);
      if (!(value >= 0 && value <= spec.white && (!isBytes || Number.isInteger(value)))) {
        throw new FathomError({
          code: 'csv-pixel',
          message: `${path}, line ${line}, column ${i + 1} has ${JSON.stringify(cell.slice(0, 40))} where ${isBytes ? 'a whole number' : 'a number'} from 0 to ${spec.white} is due`,
          fix: 'Correct the value, set white, or name the column of labels or of paths',
        });
      }
      values[to++] = isBytes ? value : value / spec.white;
    }
    yield values;
  }
}

function pixelShape(spec: Spec, columns: number, path: string): Shape {
  const side = Math.round(Math.sqrt(columns));
  const [height, width, channels] = spec.shape ?? [side, side, 1];
  if (height * width * channels === columns) return { height, width, channels };
  throw new FathomError({
    code: 'csv-shape',
    message: `${path} has ${columns} columns of pixels, not those of images of ${height} x ${width} x ${channels}`,
    fix: 'Set shape to [height, width, channels], or name the column of labels or of paths',
  });
}

interface Row {
  line: number;
  cells: string[];
  /** The position of a column. */
  at(column: string): number;
}

/** The rows of a CSV file below its header, as they are read. */
async function* readRows(path: string): AsyncGenerator<Row> {
  const parser = parse({ bom: true, skip_empty_lines: true, max_record_size: MAX_ROW, info: true });
  const file = createReadStream(path);
  const ignoreFailure = () => {};
  if (path.endsWith('.gz')) pipeline(file, createGunzip(), parser, ignoreFailure);
  else pipeline(file, parser, ignoreFailure);
  let header: string[] | undefined;
  let rows = 0;
  const at = (column: string): number => {
    const position = header!.indexOf(column);
    if (position >= 0) return position;
    throw new FathomError({
      code: 'csv-column',
      message: `${path} has no column ${JSON.stringify(column)}: it has ${header!.slice(0, 8).join(', ').slice(0, 200)}`,
      fix: 'Give the file a header, and name its columns',
    });
  };
  try {
    for await (const { record, info } of parser as AsyncIterable<{
      record: string[];
      info: { lines: number };
    }>) {
      if (header === undefined) header = record.map((cell) => cell.trim());
      else if (++rows <= MAX_ROWS) yield { line: info.lines, cells: record, at };
      else throw new Error(`it has more than ${MAX_ROWS} rows`);
    }
  } catch (cause) {
    if (cause instanceof FathomError) throw cause;
    throw new FathomError({
      code: 'csv-damaged',
      message: `${path} is no CSV file that can be read: ${String((cause as Error).message)
        .replaceAll(/\s+/g, ' ')
        .slice(0, 200)}`,
      fix: 'Correct the file',
      cause,
    });
  }
}
