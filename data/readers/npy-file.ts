import { closeSync, fstatSync, openSync } from 'node:fs';
import { FathomError } from '../../engine/errors.ts';
import { chunks, missing, readFully, type Values } from './reader.ts';

/** An array as NumPy writes it, its values read as they are asked for. */
export interface NpyArray {
  /** How messages call it. */
  name: string;
  shape: number[];
  /** `u` unsigned, `i` signed, `f` floating, `b` boolean, and bytes a value. */
  type: { kind: 'u' | 'i' | 'f' | 'b'; bytes: number; isBigEndian: boolean };
  /** The values in row-major order, `count` at a time. */
  read(count: number): Iterable<Numbers>;
}

type Numbers =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

const MAX_HEADER = 2 ** 16;
const ARRAYS: Record<string, new (buffer: ArrayBufferLike) => Numbers> = {
  b1: Uint8Array,
  u1: Uint8Array,
  u2: Uint16Array,
  u4: Uint32Array,
  u8: BigUint64Array,
  i1: Int8Array,
  i2: Int16Array,
  i4: Int32Array,
  i8: BigInt64Array,
  f4: Float32Array,
  f8: Float64Array,
};

/** The array in an npy file. @throws FathomError `npy-damaged`, `npy-type`, `data-missing` */
export function openNpy(path: string): NpyArray {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (cause) {
    throw missing(path, 'Correct the path of the npy file', cause);
  }
  try {
    const head = readFully(file, MAX_HEADER, 0);
    return describe(path, head, fstatSync(file).size, (start, bytes) => chunks(path, bytes, start));
  } catch (cause) {
    if (cause instanceof FathomError) throw cause;
    throw missing(path, 'Correct the path of the npy file', cause);
  } finally {
    closeSync(file);
  }
}

/** The array in the bytes of an npy file. @throws FathomError `npy-damaged`, `npy-type` */
export function npyOf(bytes: Uint8Array, name: string): NpyArray {
  return describe(name, bytes.subarray(0, MAX_HEADER), bytes.length, function* (start, some) {
    for (let at = start; at < bytes.length; at += some) yield bytes.slice(at, at + some);
  });
}

function describe(
  name: string,
  head: Uint8Array,
  size: number,
  from: (start: number, bytes: number) => Iterable<Uint8Array>,
): NpyArray {
  const text = Buffer.from(head).toString('latin1');
  if (!text.startsWith('\x93NUMPY') || head.length < 12) throw damaged(name, 'it is no npy file');
  const isFirst = head[6] === 1;
  const view = new DataView(head.buffer, head.byteOffset);
  const start = isFirst ? 10 + view.getUint16(8, true) : 12 + view.getUint32(8, true);
  if (start > head.length) throw damaged(name, 'its header is cut short');
  const header = text.slice(isFirst ? 10 : 12, start);
  const descr = /'descr':\s*'([<>|=])([a-zA-Z])(\d{1,3})'/.exec(header);
  const shape = /'shape':\s*\(([\d\s,]*)\)/.exec(header);
  const order = /'fortran_order':\s*(True|False)/.exec(header);
  if (!shape || !order || !header.includes("'descr'")) throw damaged(name, 'its header cannot be read');
  const kind = `${descr?.[2]}${descr?.[3]}`;
  const lengths = shape[1]!.split(',').filter((length) => length.trim() !== '');
  const dims = lengths.map(Number);
  if (!(kind in ARRAYS) || (order[1] === 'True' && dims.length > 1)) {
    throw new FathomError({
      code: 'npy-type',
      message: `${name} holds ${kind in ARRAYS ? 'columns first' : 'values that are no plain numbers or of an uncommon size'}`,
      fix: 'Save it as unsigned bytes or 32-bit floats in C order',
    });
  }
  const bytes = Number(descr![3]);
  const expected = start + dims.reduce((product, length) => product * length, bytes);
  if (expected !== size) throw damaged(name, `it has ${size} bytes where its header tells of ${expected}`);
  const isBigEndian = descr![1] === '>' && bytes > 1;
  return {
    name,
    shape: dims,
    type: { kind: descr![2] as 'u', bytes, isBigEndian },
    *read(count) {
      for (const raw of from(start, count * bytes)) {
        if (isBigEndian) swap(raw, bytes);
        yield new ARRAYS[kind]!(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length));
      }
    },
  };
}

/** The pixels of an array: bytes where its values are whole numbers, else floats; truth is white. */
export function* pixelsOf(array: NpyArray, image: number): Generator<Values> {
  const atOnce = Math.max(1, Math.floor(2 ** 20 / image)) * image;
  let done = 0;
  for (const values of array.read(atOnce)) {
    if (array.type.kind === 'f') {
      const floats = values instanceof Float32Array ? values : Float32Array.from(values as Float64Array);
      const bad = floats.findIndex((value) => !Number.isFinite(value));
      if (bad >= 0) throw badPixel(array.name, Math.floor((done + bad) / image), floats[bad]!);
      yield floats;
    } else if (array.type.kind === 'b') {
      yield (values as Uint8Array).map((value) => (value ? 255 : 0));
    } else if (values instanceof Uint8Array) {
      yield values;
    } else {
      const numbers = Array.from(values as Int32Array, Number);
      const bad = numbers.findIndex((value) => value < 0 || value > 255);
      if (bad >= 0) throw badPixel(array.name, Math.floor((done + bad) / image), numbers[bad]!);
      yield Uint8Array.from(numbers);
    }
    done += values.length;
  }
}

/** The labels in an array of one number an image. @throws FathomError `npy-labels` */
export function labelsOf(array: NpyArray): number[] {
  const [count, ...rest] = array.shape;
  const labels: number[] = [];
  if (count !== undefined && rest.every((length) => length === 1)) {
    for (const values of array.read(2 ** 20)) {
      for (const value of values) labels.push(Number(value));
    }
    if (labels.every(Number.isSafeInteger)) return labels;
  }
  throw new FathomError({
    code: 'npy-labels',
    message: `${array.name} of shape (${array.shape.join(', ')}) does not hold one whole number an image`,
    fix: 'Save labels as an array of one whole number an image',
  });
}

function swap(bytes: Uint8Array, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (size === 2) buffer.swap16();
  else if (size === 4) buffer.swap32();
  else buffer.swap64();
}

function badPixel(name: string, image: number, value: number): FathomError {
  return new FathomError({
    code: 'npy-pixel',
    message: `${name}, image ${image} has a pixel ${value}`,
    fix: 'Save pixels as whole numbers from 0 to 255 or as finite floats',
  });
}

function damaged(name: string, why: string): FathomError {
  return new FathomError({
    code: 'npy-damaged',
    message: `${name} is damaged: ${why}`,
    fix: 'Save it again with numpy.save',
  });
}
