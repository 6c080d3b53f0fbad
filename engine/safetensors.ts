import { FathomError } from './errors.ts';

/** The typed array that holds each dtype. BOOL holds a byte a value, 0 or 1. */
interface DataOf {
  F64: Float64Array;
  F32: Float32Array;
  I64: BigInt64Array;
  I32: Int32Array;
  U32: Uint32Array;
  U8: Uint8Array;
  BOOL: Uint8Array;
}

/** A dtype that tensors have in memory. */
export type SafetensorsDtype = keyof DataOf;

/** One tensor in row-major order; `data` has as many values as the shape says, one for the shape []. */
export type SafetensorsTensor = {
  [D in SafetensorsDtype]: { dtype: D; shape: readonly number[]; data: DataOf[D] };
}[SafetensorsDtype];

/** What a safetensors file holds, tensors in the order of its header. */
export interface SafetensorsContent {
  tensors: Map<string, SafetensorsTensor>;
  metadata: Record<string, string>;
}

const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  I64: BigInt64Array,
  I32: Int32Array,
  U32: Uint32Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

/** 16-bit floats exist in files only: reading turns them into F32. */
type FileDtype = SafetensorsDtype | 'F16' | 'BF16';

/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = '__metadata__';

interface Entry {
  tensor: string;
  dtype: FileDtype;
  shape: number[];
  begin: number;
  end: number;
}

/**
 * Reads a safetensors file. F16 and BF16 come back as F32, exactly; all else keeps its bits. The tensors
 * are copies: `bytes` may be thrown away.
 *
 * Nothing in the file is trusted. Whatever is wrong with it is a FathomError `safetensors-invalid` that
 * names `name`, as the reader knows the file, and the tensor.
 */
export function parseSafetensors(bytes: Uint8Array, name: string): SafetensorsContent {
  const { json, dataStart } = readHeader(bytes, name);
  const { entries, metadata } = parseHeader(json, name);
  const payload = bytes.subarray(dataStart);
  checkLayout(entries, payload.length, name);
  const tensors = new Map(entries.map((entry) => [entry.tensor, readTensor(entry, payload)]));
  return { tensors, metadata };
}

/**
 * Writes a safetensors file. The header lists the tensors in the order given; the data lie with the widest
 * dtype first, so that every tensor is aligned and none needs padding.
 *
 * @throws FathomError `safetensors-unwritable` for a tensor whose data do not fit its shape and dtype and
 *   for a name that cannot be used
 */
export function serializeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  for (const key of Object.keys(metadata)) if (key === '__proto__') throw unwritable('metadata', key);
  for (const [tensor, value] of tensors) checkWritable(tensor, value);

  const offsets = new Map<string, number>();
  let size = 0;
  for (const [tensor, { data }] of [...tensors].sort(
    ([, a], [, b]) => itemSize(b.dtype) - itemSize(a.dtype),
  )) {
    offsets.set(tensor, size);
    size += data.byteLength;
  }

  const fields = [...tensors].map(([tensor, { dtype, shape, data }]): [string, unknown] => {
    const begin = offsets.get(tensor)!;
    return [tensor, { dtype, shape, data_offsets: [begin, begin + data.byteLength] }];
  });
  if (Object.keys(metadata).length > 0) fields.unshift([METADATA, metadata]);
  const json = fields.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(',');
  const header = new TextEncoder().encode(`{${json}}`);
  const dataStart = 8 + Math.ceil(header.length / 8) * 8;

  const bytes = new Uint8Array(dataStart + size);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(dataStart - 8), true);
  bytes.fill(0x20, 8, dataStart);
  bytes.set(header, 8);
  for (const [tensor, { data }] of tensors) {
    const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    bytes.set(view, dataStart + offsets.get(tensor)!);
  }
  return bytes;
}

function readHeader(bytes: Uint8Array, name: string): { json: string; dataStart: number } {
  if (bytes.length < 8) throw invalid(name, `has ${bytes.length} bytes, too few for a safetensors file`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getBigUint64(0, true);
  if (size > MAX_HEADER_BYTES) {
    throw invalid(name, `claims a header of ${size} bytes, more than the ${MAX_HEADER_BYTES} allowed`);
  }
  const dataStart = 8 + Number(size);
  if (dataStart > bytes.length) {
    throw invalid(name, `claims a header of ${size} bytes, but ends after ${bytes.length - 8}`);
  }
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    return { json: decoder.decode(bytes.subarray(8, dataStart)), dataStart };
  } catch (cause) {
    throw invalid(name, 'has a header that is not UTF-8 text', cause);
  }
}

function parseHeader(json: string, name: string): { entries: Entry[]; metadata: Record<string, string> } {
  const header = parseObject(json, name);
  const entries: Entry[] = [];
  const metadata: Record<string, string> = {};
  for (const key of topLevelKeys(json, name)) {
    const value = header[key];
    if (!isObject(value)) throw invalid(name, `has no object under ${quote(key)} in its header`);
    if (key === METADATA) {
      for (const [field, text] of Object.entries(value)) {
        if (typeof text !== 'string')
          throw invalid(name, `has metadata ${quote(field)} that is not a string`);
        metadata[field] = text;
      }
    } else {
      entries.push(parseEntry(key, value, name));
    }
  }
  return { entries, metadata };
}

function parseObject(json: string, name: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(json);
  } catch (cause) {
    throw invalid(name, 'has a header that is not JSON', cause);
  }
  if (!isObject(header) || !json.startsWith('{')) {
    throw invalid(name, 'has a header that does not begin as a JSON object');
  }
  return header;
}

/**
 * The keys of the header in file order. JSON.parse keeps only the last of two equal keys and moves
 * number-like ones to the front, so they are read from the text, which is known to be valid JSON.
 */
function topLevelKeys(json: string, name: string): string[] {
  const tensors = new Set<string>();
  let fields = new Set<string>();
  let depth = 0;
  let entry = '';
  let text = '';
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '{' || char === '[') {
      if (++depth > 3) throw invalid(name, `has ${quote(entry)} nested too deeply in its header`);
    } else if (char === '}' || char === ']') depth--;
    else if (char === '"') {
      const begin = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++;
      text = json.slice(begin, i + 1);
    } else if (char === ':' && depth <= 2) {
      const key: string = JSON.parse(text);
      if (depth === 1) {
        entry = key;
        fields = new Set();
      }
      const seen = depth === 1 ? tensors : fields;
      const where = depth === 1 ? 'its header' : quote(entry);
      if (seen.has(key)) throw invalid(name, `holds the name ${quote(key)} twice in ${where}`);
      if (key === '__proto__') throw invalid(name, `holds the forbidden name "__proto__" in ${where}`);
      seen.add(key);
    }
  }
  return [...tensors];
}

function parseEntry(tensor: string, value: Record<string, unknown>, name: string): Entry {
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isFileDtype(dtype)) {
    throw tensorInvalid(name, tensor, `has the unknown or unsupported dtype ${quote(dtype)}`);
  }
  if (!isSizes(shape)) throw tensorInvalid(name, tensor, `has the impossible shape ${quote(shape)}`);
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw tensorInvalid(name, tensor, `has the impossible offsets ${quote(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const size = count(shape) * itemSize(dtype);
  if (!Number.isSafeInteger(size) || end - begin !== size) {
    throw tensorInvalid(
      name,
      tensor,
      `needs ${size} bytes as ${dtype} ${quote(shape)}, not ${begin} to ${end}`,
    );
  }
  if (begin % itemSize(dtype) !== 0) {
    throw tensorInvalid(name, tensor, `begins at byte ${begin}, which is not aligned for ${dtype}`);
  }
  return { tensor, dtype, shape, begin, end };
}

/** The tensors must cover the data from end to end, each byte once. */
function checkLayout(entries: readonly Entry[], available: number, name: string): void {
  let covered = 0;
  for (const { tensor, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (begin < covered) throw tensorInvalid(name, tensor, `overlaps the tensor before it at byte ${begin}`);
    if (begin > covered) throw tensorInvalid(name, tensor, `leaves a hole from byte ${covered} to ${begin}`);
    if (end > available) {
      throw tensorInvalid(name, tensor, `ends at byte ${end}, but the file holds ${available} bytes of data`);
    }
    covered = end;
  }
  if (covered < available) {
    throw invalid(name, `holds ${available - covered} bytes that belong to no tensor`);
  }
}

function readTensor({ dtype, shape, begin, end }: Entry, payload: Uint8Array): SafetensorsTensor {
  const { buffer } = new Uint8Array(payload.subarray(begin, end));
  if (dtype === 'F16') {
    return { dtype: 'F32', shape, data: Float32Array.from(new Uint16Array(buffer), widenHalf) };
  }
  if (dtype === 'BF16') {
    const words = Uint32Array.from(new Uint16Array(buffer), (bits) => bits << 16);
    return { dtype: 'F32', shape, data: new Float32Array(words.buffer) };
  }
  return { dtype, shape, data: new ARRAYS[dtype](buffer) } as SafetensorsTensor;
}

/** The value of an IEEE binary16 number. */
function widenHalf(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

function checkWritable(tensor: string, { dtype, shape, data }: SafetensorsTensor): void {
  if (tensor === METADATA || tensor === '__proto__') throw unwritable('tensor', tensor);
  if (isSizes(shape) && data instanceof ARRAYS[dtype] && data.length === count(shape)) return;
  throw new FathomError({
    code: 'safetensors-unwritable',
    message: `tensor ${quote(tensor)} has ${data.length} values in ${data.constructor.name}, not ${dtype} ${quote(shape)}`,
    fix: 'Give data that match the shape and dtype',
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function isFileDtype(value: unknown): value is FileDtype {
  return typeof value === 'string' && (Object.hasOwn(ARRAYS, value) || value === 'F16' || value === 'BF16');
}

function itemSize(dtype: FileDtype): number {
  return dtype === 'F16' || dtype === 'BF16' ? 2 : ARRAYS[dtype].BYTES_PER_ELEMENT;
}

function count(shape: readonly number[]): number {
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
}

/** A value from the file for a message: JSON, so one line and no control characters, and not too long. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'missing';
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function tensorInvalid(name: string, tensor: string, what: string): FathomError {
  return invalid(name, `is not usable: tensor ${quote(tensor)} ${what}`);
}

function invalid(name: string, what: string, cause?: unknown): FathomError {
  return new FathomError({
    code: 'safetensors-invalid',
    message: `${name} ${what}`,
    fix: 'Copy or download the file again, or write it anew with the safetensors library',
    cause,
  });
}

function unwritable(kind: string, key: string): FathomError {
  return new FathomError({
    code: 'safetensors-unwritable',
    message: `${quote(key)} cannot be the name of a ${kind} entry`,
    fix: 'Choose another name',
  });
}
