import { inflateSync } from 'node:zlib';
import { convertIndexedToRgb, decode as decodePng } from 'fast-png';
import jpeg from 'jpeg-js';
import { FathomError } from '../engine/errors.ts';

export interface Shape {
  height: number;
  width: number;
  channels: number;
}

/** An image of 1 or 3 channels, HWC; `white` is the value of full brightness. */
export interface Picture extends Shape {
  values: Uint8Array | Uint16Array | Float32Array;
  white: number;
}

/** Most pixels that a PNG or JPEG may have: 64 million. */
export const MAX_PIXELS = 64e6;
/** Most scans of a progressive JPEG: each goes over the whole image, however few bytes it has. */
const MAX_SCANS = 100;
const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const PNG_CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const PALETTE = 3;

/**
 * Decodes a PNG or JPEG file. Transparent pixels are laid over white; colour profiles and gamma are not
 * applied. Grey stays one channel; 16 bits stay 16 bits.
 *
 * @param name how messages call the file
 * @throws FathomError `image-type`, `image-too-large` or `image-damaged`
 */
export function decodeImage(bytes: Uint8Array, name: string): Picture {
  try {
    if (PNG_SIGNATURE.every((byte, i) => bytes[i] === byte)) return fromPng(bytes, name);
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return fromJpeg(bytes, name);
  } catch (cause) {
    if (cause instanceof FathomError) throw cause;
    throw damaged(name, 'what it holds cannot be decoded', cause);
  }
  throw new FathomError({
    code: 'image-type',
    message: `${name} is neither a PNG nor a JPEG image`,
    fix: 'Convert it to PNG or JPEG, or take it out',
  });
}

/** Brings an image to a shape, as bytes (255 is white) or floats (1 is white). */
export function fit(picture: Picture, to: Shape, type: 'bytes' | 'floats'): Uint8Array | Float32Array {
  const full = type === 'bytes' ? 255 : 1;
  const same = picture.height === to.height && picture.width === to.width && picture.channels === to.channels;
  const { values: given, white } = picture;
  const isWanted = type === 'bytes' ? given instanceof Uint8Array : given instanceof Float32Array;
  if (same && white === full && isWanted) return given as Uint8Array | Float32Array;
  const grey = picture.channels === 3 && to.channels === 1;
  const [from, channels] = grey ? [toGrey(given), 1] : [given, picture.channels];
  const rows = resizeRows(from, picture.height, picture.width * channels, to.height);
  const values = resizeColumns(rows, to.height, picture.width, channels, to.width);
  const result = type === 'bytes' ? new Uint8ClampedArray(size(to)) : new Float32Array(size(to));
  const repeat = to.channels / channels;
  const scale = full / white;
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    for (let r = 0; r < repeat; r++) result[at++] = values[i]! * scale;
  }
  return result instanceof Float32Array ? result : new Uint8Array(result.buffer);
}

/** The number of values of an image. */
export function size({ height, width, channels }: Shape): number {
  return height * width * channels;
}

function toGrey(rgb: Picture['values']): Float32Array {
  const grey = new Float32Array(rgb.length / 3);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = 0.299 * rgb[3 * i]! + 0.587 * rgb[3 * i + 1]! + 0.114 * rgb[3 * i + 2]!;
  }
  return grey;
}

function resizeRows(from: Picture['values'], height: number, row: number, to: number): Picture['values'] {
  if (height === to) return from;
  const values = new Float32Array(to * row);
  for (const [y, { first, weights }] of filters(height, to).entries()) {
    for (const [k, weight] of weights.entries()) {
      const start = (first + k) * row;
      for (let x = 0; x < row; x++) values[y * row + x]! += weight * from[start + x]!;
    }
  }
  return values;
}

function resizeColumns(
  from: Picture['values'],
  height: number,
  width: number,
  channels: number,
  to: number,
): Picture['values'] {
  if (width === to) return from;
  const values = new Float32Array(height * to * channels);
  const taps = filters(width, to);
  let at = 0;
  for (let y = 0; y < height; y++) {
    for (const { first, weights } of taps) {
      const start = (y * width + first) * channels;
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k]! * from[start + k * channels + c]!;
        values[at++] = sum;
      }
    }
  }
  return values;
}

/** What each of `to` values takes of `from`: the area it covers when shrinking, else the two nearest. */
function filters(from: number, to: number): { first: number; weights: number[] }[] {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (step > 1) {
      const [start, end] = [i * step, Math.min(from, (i + 1) * step)];
      const first = Math.floor(start);
      const count = Math.min(from, Math.ceil(end)) - first;
      return {
        first,
        weights: Array.from(
          { length: count },
          (_, k) => (Math.min(end, first + k + 1) - Math.max(start, first + k)) / (end - start),
        ),
      };
    }
    const centre = Math.min(from - 1, Math.max(0, (i + 0.5) * step - 0.5));
    const first = Math.min(Math.floor(centre), Math.max(0, from - 2));
    return { first, weights: from === 1 ? [1] : [1 - (centre - first), centre - first] };
  });
}

function fromPng(bytes: Uint8Array, name: string): Picture {
  const { critical, idat } = pngChunks(bytes, name);
  const header = new DataView(critical.buffer, critical.byteOffset + 16);
  const [width, height] = [header.getUint32(0), header.getUint32(4)];
  const [depth, colour, interlaced] = [header.getUint8(8), header.getUint8(9), header.getUint8(12) === 1];
  checkPixels(name, width, height);
  const channels = PNG_CHANNELS[colour];
  if (channels === undefined) throw damaged(name, `it has colour type ${colour}`);
  if (interlaced && depth < 8) {
    throw new FathomError({
      code: 'image-type',
      message: `${name} is an interlaced PNG of ${depth} bits a pixel`,
      fix: 'Save it without interlacing',
    });
  }
  checkInflates(name, idat, height, width, depth * channels, interlaced);
  const png = decodePng(critical, { checkCrc: true });
  const shape = { height, width };
  if (colour === PALETTE) {
    if (!png.palette?.length) throw damaged(name, 'it has no palette');
    const values = convertIndexedToRgb({ ...png, palette: png.palette });
    return overWhite(values, { ...shape, channels: png.palette[0]!.length }, 255);
  }
  const values = depth < 8 ? unpackBits(png.data as Uint8Array, shape, depth) : png.data;
  const white = 2 ** depth - 1;
  if (png.transparency) whiten(values as Uint8Array, [...png.transparency], white);
  return overWhite(values as Uint8Array, { ...shape, channels }, white);
}

/** The chunks of a PNG that its pixels depend on: others may unpack to any size. */
function pngChunks(bytes: Uint8Array, name: string): { critical: Uint8Array; idat: Uint8Array[] } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [bytes.subarray(0, 8)];
  const idat: Uint8Array[] = [];
  for (let at = 8, type = ''; type !== 'IEND'; ) {
    if (at + 12 > bytes.length) throw damaged(name, 'it is cut short');
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length) throw damaged(name, 'it is cut short');
    type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if ((at === 8) !== (type === 'IHDR') || (type === 'IHDR' && length !== 13)) {
      throw damaged(name, 'its header is not where it should be');
    }
    if (['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND'].includes(type)) parts.push(bytes.subarray(at, end));
    if (type === 'IDAT') idat.push(bytes.subarray(at + 8, at + 8 + length));
    at = end;
  }
  return { critical: new Uint8Array(Buffer.concat(parts)), idat };
}

function checkInflates(
  name: string,
  idat: Uint8Array[],
  height: number,
  width: number,
  bits: number,
  interlaced: boolean,
): void {
  const passes = interlaced ? ADAM7 : [{ x: 0, y: 0, stepX: 1, stepY: 1 }];
  let expected = 0;
  for (const { x, y, stepX, stepY } of passes) {
    const [columns, rows] = [Math.ceil((width - x) / stepX), Math.ceil((height - y) / stepY)];
    if (columns > 0 && rows > 0) expected += rows * (1 + Math.ceil((columns * bits) / 8));
  }
  const raw = inflateSync(Buffer.concat(idat), { maxOutputLength: expected });
  if (raw.length !== expected) throw damaged(name, `it holds ${raw.length} bytes of pixels, not ${expected}`);
}

const ADAM7 = [
  { x: 0, y: 0, stepX: 8, stepY: 8 },
  { x: 4, y: 0, stepX: 8, stepY: 8 },
  { x: 0, y: 4, stepX: 4, stepY: 8 },
  { x: 2, y: 0, stepX: 4, stepY: 4 },
  { x: 0, y: 2, stepX: 2, stepY: 4 },
  { x: 1, y: 0, stepX: 2, stepY: 2 },
  { x: 0, y: 1, stepX: 1, stepY: 2 },
];

function unpackBits(
  packed: Uint8Array,
  { height, width }: { height: number; width: number },
  depth: number,
): Uint8Array {
  const row = Math.ceil((width * depth) / 8);
  const values = new Uint8Array(height * width);
  for (let i = 0; i < values.length; i++) {
    const bit = (i % width) * depth;
    const byte = packed[Math.floor(i / width) * row + (bit >> 3)]!;
    values[i] = (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
  }
  return values;
}

/** Makes white of all pixels of the one colour that counts as transparent. */
function whiten(values: Uint8Array | Uint16Array, colour: number[], white: number): void {
  for (let i = 0; i < values.length; i += colour.length) {
    if (colour.every((value, c) => values[i + c] === value)) values.fill(white, i, i + colour.length);
  }
}

/** Lays pixels whose last of 2 or 4 channels is opacity over white. */
function overWhite(values: Uint8Array | Uint16Array, shape: Shape, white: number): Picture {
  if (shape.channels % 2 === 1) return { ...shape, values, white };
  const channels = shape.channels - 1;
  const pixels = shape.height * shape.width;
  const flat =
    values instanceof Uint8Array ? new Uint8Array(pixels * channels) : new Uint16Array(pixels * channels);
  for (let i = 0; i < pixels; i++) {
    const opacity = values[i * shape.channels + channels]! / white;
    for (let c = 0; c < channels; c++) {
      flat[i * channels + c] = Math.round(values[i * shape.channels + c]! * opacity + white * (1 - opacity));
    }
  }
  return { ...shape, channels, values: flat, white };
}

function fromJpeg(bytes: Uint8Array, name: string): Picture {
  const { height, width, components } = jpegFrame(bytes, name);
  checkPixels(name, width, height);
  const { data } = jpeg.decode(bytes, {
    useTArray: true,
    formatAsRGBA: false,
    tolerantDecoding: false,
    maxResolutionInMP: MAX_PIXELS / 1e6,
    maxMemoryUsageInMB: 2048,
  });
  const channels = components === 1 ? 1 : 3;
  const values = channels === 1 ? data.filter((_, i) => i % 3 === 0) : data;
  return { height, width, channels, values, white: 255 };
}

/** Walks the markers of a JPEG to its end and gives what its frame header says. */
function jpegFrame(bytes: Uint8Array, name: string): { height: number; width: number; components: number } {
  let frame: { height: number; width: number; components: number } | undefined;
  let scans = 0;
  for (let at = 2; ; ) {
    while (bytes[at] === 0xff && bytes[at + 1] === 0xff) at++;
    if (at + 1 >= bytes.length) throw damaged(name, 'it is cut short');
    if (bytes[at] !== 0xff) throw damaged(name, `there is no marker at byte ${at}`);
    const marker = bytes[at + 1]!;
    if (marker === 0xd9) break;
    if (at + 3 >= bytes.length) throw damaged(name, 'it is cut short');
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (length < 2 || at + 2 + length > bytes.length) throw damaged(name, 'it is cut short');
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (frame || length < 8) throw damaged(name, 'its frame header is wrong');
      const word = (offset: number) => (bytes[at + offset]! << 8) | bytes[at + offset + 1]!;
      frame = { height: word(5), width: word(7), components: bytes[at + 9]! };
      checkPixels(name, frame.width, frame.height);
    }
    at += 2 + length;
    if (marker !== 0xda) continue;
    if (++scans > MAX_SCANS) throw damaged(name, `it has more than ${MAX_SCANS} scans`);
    const isData = (next: number | undefined) =>
      next === 0 || (next !== undefined && next >= 0xd0 && next <= 0xd7);
    while (at < bytes.length && (bytes[at] !== 0xff || isData(bytes[at + 1]))) at++;
  }
  if (!frame || scans === 0) throw damaged(name, 'it has no image');
  return frame;
}

function checkPixels(name: string, width: number, height: number): void {
  if (width < 1 || height < 1) throw damaged(name, `it is ${width} x ${height} pixels`);
  if (width * height <= MAX_PIXELS) return;
  throw new FathomError({
    code: 'image-too-large',
    message: `${name} has ${width} x ${height} pixels, more than ${MAX_PIXELS / 1e6} million`,
    fix: 'Shrink it, or take it out',
  });
}

function damaged(name: string, why: string, cause?: unknown): FathomError {
  return new FathomError({
    code: 'image-damaged',
    message: `${name} is damaged: ${why}`,
    fix: 'Replace the image, or take it out',
    cause,
  });
}
