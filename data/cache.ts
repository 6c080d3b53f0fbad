import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { FathomError } from '../engine/errors.ts';
import {
  bytesOf,
  type DataSet,
  ImageHash,
  type ImageSet,
  type Pixels,
  type StoredPixels,
} from './dataset.ts';
import { size } from './image.ts';
import { type Decoded, type Part, readFully, type Source, type Values } from './readers/reader.ts';

/** Where decoded data sets are kept. */
export interface StoreOptions {
  /** Folder for decoded sets, made if need be; without it they are decoded every time. */
  cache?: string;
  /** Bytes of pixels up to which a set is held in memory, 1 GiB unless told; others are read from the cache. */
  memory?: number;
  /** Told, in one line, of a cached set that had to be made anew, and of data passed over. */
  warn?(line: string): void;
}

/*
 * A cached set is one file: magic, u32 version, u32 length of the header, sha256 of the header, the header
 * in JSON, then of every part its pixels and its labels, little-endian and unpadded. The hash of each part
 * is its checksum.
 */
const MAGIC = 'FATHOMDS';
const VERSION = 1;
const PREFIX = 8 + 4 + 4 + 32;
const READ_AT_ONCE = 2 ** 22;
const ABANDONED_MS = 24 * 3600e3;

type StoredPart = Omit<Part, 'images' | 'labels'> & { labels: 'u8' | 'u32'; hash: string };

interface Header {
  classNames: string[];
  /** What identifies the files it was decoded from. */
  sources: string;
  parts: StoredPart[];
}

/** Replaceable, so that a full disk can be tested. */
export type Write = (file: number, bytes: Uint8Array, offset: number, length: number) => number;

/**
 * Gives the data set of a source from the cache, or decodes it and, unless that is cheap, keeps it there.
 *
 * @param spec tells sources apart that have the same files
 * @throws FathomError as the reader does; `data-too-large` or `cache-unwritable`
 */
export async function loadSource(
  source: Source,
  spec: unknown,
  options: StoreOptions & { folder: string },
  write: Write = writeSync,
): Promise<DataSet> {
  const { memory = 2 ** 30, warn = () => {}, cache } = options;
  const sources = identify(source.files);
  const path = cache && join(cache, `${entryName(source.name, [spec, options.folder])}.set`);
  const kept = path && readEntry(path, source.name, sources, memory, warn);
  if (kept) return kept;

  const decoded = await source.open();
  for (const part of decoded.parts) checkPart(source.name, part);
  const bytes = decoded.parts.reduce((sum, part) => sum + bytesOfPart(part), 0);
  if (path && (!source.cheap || bytes > memory)) {
    await writeEntry(path, decoded, sources, write);
    const written = readEntry(path, source.name, sources, memory, warn);
    if (written) return written;
  }
  if (bytes > memory) {
    throw new FathomError({
      code: 'data-too-large',
      message: `${source.name} takes ${bytes} bytes, more than the ${memory} held in memory`,
      fix: 'Set a limit or a size, or give a cache folder to read it from',
    });
  }
  const parts: [Part, ImageSet<Pixels>][] = [];
  for (const part of decoded.parts)
    parts.push([part, await toMemory(part, nameOf(source.name, part), decoded)]);
  return dataSet(source.name, decoded.classNames, parts);
}

/** Images of a cached set that memory is not to hold: each is read when it is asked for. */
class StoredImages implements StoredPixels {
  readonly length: number;
  private readonly file: number;
  private readonly start: number;
  private readonly part: StoredPart;

  constructor(file: number, start: number, part: StoredPart) {
    this.file = file;
    this.start = start;
    this.part = part;
    this.length = part.count * size(part);
  }

  image(position: number): Values {
    if (!Number.isInteger(position) || position < 0 || position >= this.part.count) {
      throw new RangeError(`there is no image ${position} of ${this.part.count}`);
    }
    const bytes = bytesOfPart(this.part) / this.part.count;
    const image = readFully(this.file, bytes, this.start + position * bytes);
    if (image.length < bytes) throw new RangeError(`image ${position} is no longer in the cache`);
    return this.part.type === 'bytes' ? image : new Float32Array(image.buffer);
  }
}

function dataSet(
  name: string,
  classNames: string[],
  parts: [Omit<StoredPart, 'labels' | 'hash'>, ImageSet<Pixels>][],
): DataSet {
  const hash = createHash('sha256').update(JSON.stringify(classNames));
  const sets: Record<string, { train: ImageSet<Pixels>; test?: ImageSet<Pixels> }> = {};
  for (const [{ split, domain = '' }, images] of parts) {
    hash.update(JSON.stringify([split, domain, images.hash]));
    sets[domain] = { ...sets[domain], [split]: images } as { train: ImageSet<Pixels> };
  }
  const { '': own, ...targets } = sets;
  return {
    name,
    classNames,
    ...own!,
    ...(Object.keys(targets).length > 0 && { targets: new Map(Object.entries(targets)) }),
    hash: hash.digest('hex'),
  };
}

async function toMemory(part: Part, name: string, { classNames }: Decoded): Promise<ImageSet<Pixels>> {
  const values =
    part.type === 'bytes'
      ? new Uint8Array(part.count * size(part))
      : new Float32Array(part.count * size(part));
  const hash = new ImageHash(part);
  let at = 0;
  for await (const some of part.images()) {
    hash.add(some);
    values.set(some, at);
    at += some.length;
  }
  if (at < values.length) throw fewer(name, at / size(part), part.count);
  return imageSet(part, name, classNames, values, part.labels, hash.digest(part.labels));
}

function imageSet(
  { count, height, width, channels }: Omit<StoredPart, 'labels' | 'hash'>,
  name: string,
  classNames: string[],
  pixels: Pixels,
  labels: Uint8Array | Uint32Array,
  hash: string,
): ImageSet<Pixels> {
  return { name, count, height, width, channels, pixels, labels, classes: classNames.length, hash };
}

/** Writes a set under a name of its own and only then puts it in place, whoever else does the same. */
async function writeEntry(path: string, decoded: Decoded, sources: string, write: Write): Promise<void> {
  const folder = join(path, '..');
  const unfinished = `${path}.${process.pid}-${randomUUID().slice(0, 8)}.part`;
  let file: number | undefined;
  let wasMade = false;
  try {
    mkdirSync(folder, { recursive: true });
    removeAbandoned(folder);
    file = openSync(unfinished, 'wx');
    wasMade = true;
    const header: Header = {
      classNames: decoded.classNames,
      sources,
      parts: decoded.parts.map(({ split, domain, count, height, width, channels, type, labels }) => ({
        ...{ split, domain, count, height, width, channels, type },
        labels: labels instanceof Uint8Array ? 'u8' : 'u32',
        hash: '0'.repeat(64),
      })),
    };
    writeFully(file, encode(header), write);
    for (const [i, part] of decoded.parts.entries()) {
      const hash = new ImageHash(part);
      let values = 0;
      for await (const some of part.images()) {
        hash.add(some);
        writeFully(file, bytesOf(some), write);
        values += some.length;
      }
      if (values !== part.count * size(part)) throw fewer(path, values / size(part), part.count);
      writeFully(file, bytesOf(part.labels), write);
      header.parts[i]!.hash = hash.digest(part.labels);
    }
    writeFully(file, encode(header), (to, bytes, offset, length) =>
      writeSync(to, bytes, offset, length, offset),
    );
    fsyncSync(file);
    closeSync(file);
    file = undefined;
    renameSync(unfinished, path);
  } catch (cause) {
    if (file !== undefined) closeSync(file);
    if (wasMade) rmSync(unfinished, { force: true });
    if (cause instanceof FathomError) throw cause;
    const { code } = cause as { code?: string };
    if (code === undefined) throw cause;
    throw new FathomError({
      code: 'cache-unwritable',
      message: ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)
        ? `There is no room left to keep the decoded data set ${path}`
        : `The decoded data set ${path} cannot be written (${code})`,
      fix: 'Make room or choose another cache folder',
      cause,
    });
  }
}

/** Takes away what processes that were killed a day ago or earlier left unfinished. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.part')) continue;
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found && Date.now() - found.mtimeMs > ABANDONED_MS) rmSync(path, { force: true });
  }
}

/** The set kept at `path`; `undefined` where there is none, where its sources changed, or, with a warning, where it is bad. */
function readEntry(
  path: string,
  name: string,
  sources: string,
  memory: number,
  warn: (line: string) => void,
): DataSet | undefined {
  const again = (why: string) => warn(`The decoded data set ${path} ${why}: it is made anew`);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ENOENT') again('cannot be read');
    return undefined;
  }
  let isStored = false;
  try {
    const found = readHeader(file);
    if (typeof found === 'string') again(found);
    if (typeof found === 'string' || found.header.sources !== sources) return undefined;
    const { classNames, parts } = found.header;
    isStored = parts.reduce((sum, part) => sum + bytesOfPart(part), 0) > memory;
    let at = found.start;
    const sets: [StoredPart, ImageSet<Pixels>][] = [];
    for (const part of parts) {
      const read = readPart(file, at, part, isStored);
      if (!read) {
        again('is damaged');
        isStored = false;
        return undefined;
      }
      sets.push([part, imageSet(part, nameOf(name, part), classNames, read.pixels, read.labels, part.hash)]);
      at += bytesOfPart(part) + bytesOfLabels(part);
    }
    return dataSet(name, classNames, sets);
  } finally {
    if (!isStored) closeSync(file);
  }
}

/** The header of an entry and where its parts start, or what is wrong with it. */
function readHeader(file: number): { header: Header; start: number } | string {
  const bytes = fstatSync(file).size;
  const prefix = readFully(file, PREFIX, 0);
  if (prefix.length < PREFIX || Buffer.from(prefix.subarray(0, 8)).toString('latin1') !== MAGIC)
    return 'is damaged';
  const view = new DataView(prefix.buffer);
  const version = view.getUint32(8, true);
  if (version !== VERSION) return `is of format version ${version}, not ${VERSION}`;
  const length = view.getUint32(12, true);
  if (length > bytes - PREFIX) return 'is damaged';
  const json = readFully(file, length, PREFIX);
  if (Buffer.compare(sha256(json), prefix.subarray(16)) !== 0) return 'is damaged';
  const header = JSON.parse(Buffer.from(json).toString()) as Header;
  const start = PREFIX + length;
  const expected = header.parts.reduce((sum, part) => sum + bytesOfPart(part) + bytesOfLabels(part), start);
  return expected === bytes ? { header, start } : 'is damaged';
}

/** Reads a part whole or, to be stored, only checks it; `undefined` where its checksum is wrong. */
function readPart(
  file: number,
  start: number,
  part: StoredPart,
  isStored: boolean,
): { pixels: Pixels; labels: Uint8Array | Uint32Array } | undefined {
  const bytes = bytesOfPart(part);
  const typed = (raw: Uint8Array): Values =>
    part.type === 'bytes' ? raw : new Float32Array(raw.buffer, 0, raw.length / 4);
  const rawLabels = readFully(file, bytesOfLabels(part), start + bytes);
  const labels = part.labels === 'u8' ? rawLabels : new Uint32Array(rawLabels.buffer);
  const hash = new ImageHash(part);
  let pixels: Pixels;
  if (isStored) {
    for (let at = 0; at < bytes; at += READ_AT_ONCE) {
      hash.add(typed(readFully(file, Math.min(READ_AT_ONCE, bytes - at), start + at)));
    }
    pixels = new StoredImages(file, start, part);
  } else {
    pixels = typed(readFully(file, bytes, start));
    hash.add(pixels);
  }
  return hash.digest(labels) === part.hash ? { pixels, labels } : undefined;
}

function encode(header: Header): Uint8Array {
  const json = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(16);
  prefix.write(MAGIC, 'latin1');
  prefix.writeUInt32LE(VERSION, 8);
  prefix.writeUInt32LE(json.length, 12);
  return Buffer.concat([prefix, sha256(json), json]);
}

function writeFully(file: number, bytes: Uint8Array, write: Write): void {
  for (let at = 0; at < bytes.length; ) at += write(file, bytes, at, bytes.length - at);
}

/** A name for the file of a set: readable, and its own for every spec. */
function entryName(name: string, spec: unknown): string {
  const readable = name.replaceAll(/[^A-Za-z0-9]+/g, '-').slice(0, 40);
  return `${readable}-${Buffer.from(sha256(JSON.stringify(spec)))
    .toString('hex')
    .slice(0, 16)}`;
}

/** sha256 in hex over the paths, sizes and times of change of files. */
function identify(files: string[]): string {
  const hash = createHash('sha256');
  for (const path of files) {
    const found = statSync(path, { throwIfNoEntry: false });
    hash.update(JSON.stringify([path, found?.size, found?.mtimeMs]));
  }
  return hash.digest('hex');
}

function checkPart(name: string, part: Part): void {
  if (part.count > 0 && size(part) > 0) return;
  throw new FathomError({
    code: 'data-empty',
    message: `${nameOf(name, part)} has no images`,
    fix: 'Correct the path, or put images there',
  });
}

function fewer(name: string, found: number, expected: number): FathomError {
  return new FathomError({
    code: 'data-changed',
    message: `${name} gave ${found} images, not the ${expected} it tells of`,
    fix: 'Leave its files alone while they are read, and try again',
  });
}

function nameOf(name: string, { domain, split }: Pick<Part, 'domain' | 'split'>): string {
  return [name, domain, split].filter(Boolean).join(' ');
}

function bytesOfPart(part: Omit<StoredPart, 'labels' | 'hash'>): number {
  return part.count * size(part) * (part.type === 'bytes' ? 1 : 4);
}

function bytesOfLabels(part: StoredPart): number {
  return part.count * (part.labels === 'u8' ? 1 : 4);
}

function sha256(bytes: Uint8Array | string): Uint8Array {
  return createHash('sha256').update(bytes).digest();
}
