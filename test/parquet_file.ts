import { brotliCompressSync, gzipSync } from 'node:zlib';

/** A field of a struct in Thrift's compact protocol: its number and value. */
type Field = [number, Value];
type Value =
  | { i32: number }
  | { i64: number }
  | { text: string }
  | { flag: boolean }
  | { list: Value[] }
  | { struct: Field[] };

const i32 = (value: number): Value => ({ i32: value });
const i64 = (value: number): Value => ({ i64: value });
const text = (value: string): Value => ({ text: value });
const list = (...values: Value[]): Value => ({ list: values });
const struct = (...fields: Field[]): Value => ({ struct: fields });

/** A small parquet file: PNG or JPEG bytes in a struct column `image` and labels in `label`. */
export function parquet(about: {
  images: Uint8Array[];
  /** Whole numbers go into a dictionary, names stand plainly. */
  labels: number[] | string[];
  /** Names in the footer, as Hugging Face writes them. */
  classNames?: string[];
  codec?: 'none' | 'gzip' | 'brotli' | 'zstd';
  /** Pages of the second version, in which levels are not compressed. */
  isV2?: boolean;
}): Uint8Array {
  const { images, labels, classNames, codec = 'none', isV2 = false } = about;
  const count = images.length;
  const compress = { none: (b: Uint8Array) => b, gzip: gzipSync, brotli: brotliCompressSync, zstd: gzipSync }[
    codec
  ];
  const codecId = { none: 0, gzip: 2, brotli: 4, zstd: 6 }[codec];
  const parts: Uint8Array[] = [Buffer.from('PAR1')];
  const end = () => parts.reduce((sum, part) => sum + part.length, 0);
  const page = (type: number, body: Uint8Array, levels: Uint8Array, header: Field): void => {
    const packed = compress(body);
    const sizes: Field[] = [
      [2, i32(body.length + levels.length)],
      [3, i32(packed.length + levels.length)],
    ];
    parts.push(thrift(struct([1, i32(type)], ...sizes, header)), levels, packed);
  };
  const data = (encoding: number, levels: Uint8Array, values: Uint8Array): void => {
    if (isV2) {
      const lengths: Field[] = [
        [5, i32(levels.length)],
        [6, i32(0)],
        [7, { flag: true }],
      ];
      page(3, values, levels, [
        8,
        struct([1, i32(count)], [2, i32(0)], [3, i32(count)], [4, i32(encoding)], ...lengths),
      ]);
      return;
    }
    const length = Buffer.alloc(levels.length > 0 ? 4 : 0);
    if (levels.length > 0) length.writeUInt32LE(levels.length);
    const header = struct([1, i32(count)], [2, i32(encoding)], [3, i32(3)], [4, i32(3)]);
    page(0, Buffer.concat([length, levels, values]), new Uint8Array(0), [5, header]);
  };
  const chunk = (type: number, path: string[], start: number, dataStart: number): Value => {
    const sizes: Field[] = [
      [5, i64(count)],
      [6, i64(end() - start)],
      [7, i64(end() - start)],
      [9, i64(dataStart)],
    ];
    const dictionary: Field[] = dataStart > start ? [[11, i64(start)]] : [];
    const names = list(...path.map(text));
    return struct(
      [2, i64(start)],
      [3, struct([1, i32(type)], [2, list(i32(0))], [3, names], [4, i32(codecId)], ...sizes, ...dictionary)],
    );
  };

  const columns: Value[] = [];
  const imageStart = end();
  data(0, Uint8Array.of(...varint(count << 1), 2), byteArrays(images));
  columns.push(chunk(6, ['image', 'bytes'], imageStart, imageStart));
  const labelStart = end();
  let labelType = 6;
  if (typeof labels[0] === 'number') {
    labelType = 2;
    const distinct = [...new Set(labels as number[])];
    const values = Buffer.from(BigInt64Array.from(distinct.map(BigInt)).buffer);
    page(2, values, new Uint8Array(0), [7, struct([1, i32(distinct.length)], [2, i32(0)])]);
    const dataStart = end();
    const indices = (labels as number[]).map((label) => distinct.indexOf(label));
    while (indices.length % 8 !== 0) indices.push(0);
    data(8, new Uint8Array(0), Uint8Array.of(8, ...varint(((indices.length / 8) << 1) | 1), ...indices));
    columns.push(chunk(2, ['label'], labelStart, dataStart));
  } else {
    data(0, new Uint8Array(0), byteArrays((labels as string[]).map((label) => Buffer.from(label))));
    columns.push(chunk(6, ['label'], labelStart, labelStart));
  }

  const [required, optional] = [0, 1];
  const schema = list(
    struct([4, text('schema')], [5, i32(2)]),
    struct([3, i32(optional)], [4, text('image')], [5, i32(1)]),
    struct([1, i32(6)], [3, i32(optional)], [4, text('bytes')]),
    struct(
      [1, i32(labelType)],
      [3, i32(required)],
      [4, text('label')],
      ...(labelType === 6 ? [[6, i32(0)] as Field] : []),
    ),
  );
  const features = { image: { _type: 'Image' }, label: { _type: 'ClassLabel', names: classNames } };
  const hub = struct([1, text('huggingface')], [2, text(JSON.stringify({ info: { features } }))]);
  const group = struct([1, list(...columns)], [2, i64(end())], [3, i64(count)]);
  const footer = thrift(
    struct(
      [1, i32(1)],
      [2, schema],
      [3, i64(count)],
      [4, list(group)],
      ...(classNames ? [[5, list(hub)] as Field] : []),
    ),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return new Uint8Array(Buffer.concat([...parts, footer, length, Buffer.from('PAR1')]));
}

function byteArrays(values: Uint8Array[]): Uint8Array {
  return Buffer.concat(
    values.flatMap((value) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(value.length);
      return [length, value];
    }),
  );
}

function thrift(value: Value): Uint8Array {
  return Uint8Array.from(encode(value));
}

function typeOf(value: Value): number {
  if ('i32' in value) return 5;
  if ('i64' in value) return 6;
  if ('text' in value) return 8;
  if ('list' in value) return 9;
  if ('flag' in value) return value.flag ? 1 : 2;
  return 12;
}

function encode(value: Value): number[] {
  if ('i32' in value) return varint(2 * value.i32);
  if ('i64' in value) return varint(2 * value.i64);
  if ('text' in value) return [...varint(Buffer.byteLength(value.text)), ...Buffer.from(value.text)];
  if ('flag' in value) return [];
  if ('list' in value) {
    const { list } = value;
    const head =
      list.length < 15
        ? [(list.length << 4) | typeOf(list[0]!)]
        : [0xf0 | typeOf(list[0]!), ...varint(list.length)];
    return [...head, ...list.flatMap(encode)];
  }
  const bytes: number[] = [];
  let before = 0;
  for (const [number, field] of value.struct) {
    bytes.push(((number - before) << 4) | typeOf(field), ...encode(field));
    before = number;
  }
  return [...bytes, 0];
}

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}
