import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type ColumnMetaData, type Compressors, snappyUncompress } from 'hyparquet';

/*
 * hyparquet trusts the lengths and run counts in a file: a false one can cost any amount of memory or time.
 * Here the pages of a column are walked beforehand, and what its decoder would go by is checked.
 */

/** What a column's pages are checked against. */
export interface ColumnFacts {
  column: ColumnMetaData;
  /** Rows of its row group. */
  rows: number;
  /** Levels of optional fields down to the column. */
  maxDefinition: number;
}

const MAX_PAGE = 2 ** 30;
const MAX_DEPTH = 16;
/** By the numbers of the format: PLAIN, dictionaries, RLE, two of the deltas. */
const ENCODINGS = new Set([0, 2, 3, 5, 6, 8]);
const PAGE = { data: 0, index: 1, dictionary: 2, dataV2: 3 };

/** Decompressors that give no more than a page's header says, and refuse what its bytes cannot come to. */
export const compressors: Compressors = {
  SNAPPY: (input, size) => {
    requireSize(size, 22 * input.length + 64);
    const output = new Uint8Array(size);
    snappyUncompress(input, output);
    return output;
  },
  GZIP: (input, size) => new Uint8Array(gunzipSync(input, { maxOutputLength: sizeOf(size) })),
  BROTLI: (input, size) => new Uint8Array(brotliDecompressSync(input, { maxOutputLength: sizeOf(size) })),
};

/**
 * Checks all pages of a column chunk.
 *
 * @throws Error that says what is wrong
 */
export function checkPages(chunk: Uint8Array, { column, rows, maxDefinition }: ColumnFacts): void {
  const reader = new ThriftReader(chunk);
  let values = 0;
  while (reader.offset < chunk.length - 1) {
    const header = reader.struct();
    const [type, unpacked, packed] = [int(header, 1), int(header, 2), int(header, 3)];
    if (packed < 0 || packed > chunk.length - reader.offset) throw new Error('a page is cut short');
    const bytes = chunk.subarray(reader.offset, reader.offset + packed);
    reader.offset += packed;
    if (type === PAGE.dictionary) {
      const page = unpack(bytes, unpacked, column.codec);
      requireSize(int(struct(header, 7), 1), page.length * 8);
    } else if (type === PAGE.data || type === PAGE.dataV2) {
      const about = struct(header, type === PAGE.data ? 5 : 8);
      const count = int(about, 1);
      requireSize(count, rows - values);
      values += count;
      if (type === PAGE.data) checkData(unpack(bytes, unpacked, column.codec), about, count, maxDefinition);
      else checkDataV2(bytes, unpacked, about, count, column.codec);
    } else if (type !== PAGE.index) throw new Error(`there is a page of type ${type}`);
  }
  if (values !== rows) throw new Error(`a column has ${values} values for ${rows} rows`);
}

function checkData(page: Uint8Array, about: Thrift, count: number, maxDefinition: number): void {
  let at = 0;
  if (maxDefinition > 0) {
    if (page.length < 4) throw new Error('a page is cut short');
    const length = new DataView(page.buffer, page.byteOffset).getUint32(0, true);
    requireSize(length, page.length - 4);
    at = 4 + length;
    const seen = checkRuns(page, 4, at, 32 - Math.clz32(maxDefinition), count);
    if (seen < count) throw new Error('levels are cut short');
  }
  checkValues(page.subarray(at), int(about, 2), count);
}

function checkDataV2(bytes: Uint8Array, unpacked: number, about: Thrift, count: number, codec: string): void {
  const [nulls, rows, levels, repetitions] = [int(about, 2), int(about, 3), int(about, 5), int(about, 6)];
  requireSize(nulls, count);
  requireSize(rows, count);
  requireSize(levels, bytes.length);
  if (repetitions !== 0) throw new Error('a column has lists');
  if (levels > 0 && checkRuns(bytes, 0, levels, 1, count) < count) throw new Error('levels are cut short');
  const body = bytes.subarray(levels);
  const page = about.get(7) === false ? body : unpack(body, unpacked - levels, codec);
  checkValues(page, int(about, 4), count);
}

function checkValues(values: Uint8Array, encoding: number, count: number): void {
  if (!ENCODINGS.has(encoding)) throw new Error(`encoding ${encoding} is not supported`);
  const isDictionary = encoding === 2 || encoding === 8;
  if (isDictionary && values.length > 0) checkRuns(values, 1, values.length, values[0]!, count);
  if (encoding === 3) checkRuns(values, 4, values.length, 1, count);
}

/** Walks runs as their decoder does, and refuses those longer than what is wanted. */
function checkRuns(bytes: Uint8Array, start: number, end: number, width: number, count: number): number {
  if (width > 32) throw new Error(`values have ${width} bits`);
  const reader = new ThriftReader(bytes.subarray(0, end), start);
  let seen = 0;
  while (seen < count && reader.offset < end) {
    const header = reader.varint();
    const length = header % 2 === 1 ? 8 * Math.floor(header / 2) : header / 2;
    requireSize(length, count + (header % 2 === 1 ? 512 : 0));
    reader.offset += header % 2 === 1 ? (length / 8) * width : Math.ceil(width / 8);
    seen += length;
  }
  return seen;
}

function unpack(bytes: Uint8Array, size: number, codec: string): Uint8Array {
  if (codec === 'UNCOMPRESSED') return bytes;
  const decompress = compressors[codec as keyof Compressors];
  if (!decompress) throw new Error(`compression ${codec} is not supported`);
  const page = decompress(bytes, sizeOf(size));
  if (page.length !== size) throw new Error('a page unpacks to another size than it says');
  return page;
}

function sizeOf(size: number): number {
  requireSize(size, MAX_PAGE);
  return Math.max(1, size);
}

function requireSize(size: number, most: number): void {
  if (!(size >= 0 && size <= most)) throw new Error(`a length of ${size} is out of range`);
}

type Thrift = Map<number, unknown>;

function int(from: Thrift, field: number): number {
  const value = from.get(field);
  if (typeof value !== 'number') throw new Error(`a header has no field ${field}`);
  return value;
}

function struct(from: Thrift, field: number): Thrift {
  const value = from.get(field);
  if (!(value instanceof Map)) throw new Error(`a header has no field ${field}`);
  return value;
}

/** Checks that the lists of a file's footer are no longer than its bytes. */
export function checkFooter(footer: Uint8Array): void {
  new ThriftReader(footer).struct();
}

/** Reads Thrift's compact protocol within the bytes there are. */
class ThriftReader {
  offset: number;
  private readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes;
    this.offset = offset;
  }

  struct(depth = 0): Thrift {
    if (depth > MAX_DEPTH) throw new Error('a header is nested too deep');
    const fields: Thrift = new Map();
    for (let field = 0; ; ) {
      const head = this.byte();
      if ((head & 15) === 0) return fields;
      field = head >> 4 ? field + (head >> 4) : this.zigzag();
      fields.set(field, this.element(head & 15, depth));
    }
  }

  /** An unsigned number of at most 53 bits. */
  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) break;
    }
    if (!Number.isSafeInteger(value)) throw new Error('a number is out of range');
    return value;
  }

  private element(type: number, depth: number): unknown {
    if (type === 1 || type === 2) return type === 1;
    if (type === 3) return this.byte();
    if (type === 4 || type === 5) return this.zigzag();
    if (type === 6) return this.skipVarint();
    if (type === 7) return this.skip(8);
    if (type === 8) return this.skip(this.varint());
    if (type === 12) return this.struct(depth + 1);
    if (type === 9) return this.list(depth);
    throw new Error(`a header has a field of type ${type}`);
  }

  private list(depth: number): void {
    const head = this.byte();
    const length = head >> 4 === 15 ? this.varint() : head >> 4;
    requireSize(length, this.bytes.length - this.offset);
    const type = head & 15;
    for (let i = 0; i < length; i++) this.element(type === 1 || type === 2 ? 3 : type, depth + 1);
  }

  private zigzag(): number {
    const value = this.varint();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }

  private byte(): number {
    const byte = this.bytes[this.offset++];
    if (byte === undefined) throw new Error('a header is cut short');
    return byte;
  }

  private skip(bytes: number): void {
    requireSize(bytes, this.bytes.length - this.offset);
    this.offset += bytes;
  }

  private skipVarint(): void {
    for (let i = 0; this.byte() >= 128; i++) if (i > 10) throw new Error('a number is out of range');
  }
}
