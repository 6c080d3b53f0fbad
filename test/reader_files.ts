import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import type { DataSet } from '../data/dataset.ts';
import { type DataOptions, dataSpec, openData } from '../data/sources.ts';
import { FathomError } from '../engine/errors.ts';
import { SHARED } from './cifar.ts';

/** The folder of real data, and the reason to skip where a file is missing. */
export const DATA = `${SHARED}/data`;
export function missing(...names: string[]): string | false {
  const absent = names.find((name) => !existsSync(join(DATA, name)));
  return absent !== undefined && `${absent} is not beside this checkout`;
}

/** A folder of a test's own, with some files, taken away afterwards. */
export async function inFolder(
  files: Record<string, Uint8Array | string>,
  check: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'fathom-readers-'));
  try {
    for (const [name, content] of Object.entries(files)) await put(join(folder, name), content);
    await check(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function put(path: string, content: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

/** Opens what a spec as in a study's file describes. */
export async function open(spec: object, options: DataOptions): Promise<DataSet> {
  return await openData(dataSpec.parse(spec), options);
}

/** Opening ends in a FathomError of one line, of this code, with these parts in its message. */
export async function refuses(opening: Promise<unknown>, code: string, ...parts: string[]): Promise<void> {
  await assert.rejects(opening, (error) => {
    assert.ok(error instanceof FathomError, String((error as Error).stack));
    assert.equal(error.code, code, error.message);
    assert.ok(!error.toLine().includes('\n'), error.toLine());
    for (const part of parts) assert.ok(error.message.includes(part), `"${error.message}" lacks "${part}"`);
    return true;
  });
}

/** Gives what `action` gives, or nothing where it throws a FathomError of one line; any other error fails. */
export async function orRefusal<T>(action: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    assert.ok(error instanceof FathomError, String((error as Error).stack));
    assert.ok(!error.toLine().includes('\n'), error.toLine());
    return undefined;
  }
}

/** How a file is damaged: some bytes replaced, then cut. */
export interface Damage {
  bytes: { at: number; value: number }[];
  keep: number;
}

/** Damage anywhere, `at` and `keep` as shares of the length. */
export function damages(most = 4): fc.Arbitrary<Damage & { seed: number }> {
  const share = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
  const value = fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.integer({ min: 0, max: 255 }));
  return fc.record({
    seed: fc.constant(0),
    bytes: fc.array(fc.record({ at: share, value }), { maxLength: most }),
    keep: fc.oneof(fc.constant(1), fc.constant(1), share),
  });
}

/** A damaged copy. `window` gives the part of the file in which bytes are replaced, as shares. */
export function damage(file: Uint8Array, { bytes, keep }: Damage, window = [0, 1]): Uint8Array {
  const copy = Uint8Array.from(file);
  const [start, end] = window.map((share) => Math.floor(share * file.length)) as [number, number];
  for (const { at, value } of bytes) copy[start + Math.floor(at * (end - start))] = value;
  return copy.subarray(0, Math.ceil(keep * copy.length));
}

export function tally(labels: ArrayLike<number>, classes: number): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (let i = 0; i < labels.length; i++) counts[labels[i]!]!++;
  return counts;
}

interface PngParts {
  height: number;
  width: number;
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey and opacity, 6 RGBA. */
  colour: number;
  /** Bytes of all rows without their filters. */
  pixels: ArrayLike<number>;
  palette?: number[];
  transparency?: number[];
  interlaced?: boolean;
}

/** A PNG of any kind, unfiltered. */
export function png(parts: PngParts): Uint8Array {
  const { height, width, depth, colour, pixels, palette, transparency, interlaced = false } = parts;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colour, 0, 0, Number(interlaced)], 8);
  const row = pixels.length / height;
  const rows: number[] = [];
  for (let i = 0; i < pixels.length; i++) {
    if (i % row === 0) rows.push(0);
    rows.push(pixels[i]!);
  }
  return pngOfChunks([
    ['IHDR', header],
    ...(palette ? [['PLTE', Uint8Array.from(palette)] as const] : []),
    ...(transparency ? [['tRNS', Uint8Array.from(transparency)] as const] : []),
    ['IDAT', deflateSync(Uint8Array.from(rows))],
    ['IEND', new Uint8Array(0)],
  ]);
}

export function pngOfChunks(chunks: (readonly [string, Uint8Array])[]): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)];
  for (const [type, data] of chunks) {
    const chunk = Buffer.alloc(12 + data.length);
    chunk.writeUInt32BE(data.length, 0);
    chunk.write(type, 4, 'latin1');
    chunk.set(data, 8);
    chunk.writeUInt32BE(crc(chunk.subarray(4, 8 + data.length)), 8 + data.length);
    parts.push(chunk);
  }
  return new Uint8Array(Buffer.concat(parts));
}

function crc(bytes: Uint8Array): number {
  let remainder = 0xffffffff;
  for (const byte of bytes) {
    remainder ^= byte;
    for (let bit = 0; bit < 8; bit++) remainder = (remainder >>> 1) ^ (remainder & 1 ? 0xedb88320 : 0);
  }
  return (remainder ^ 0xffffffff) >>> 0;
}

/** A grey or RGB PNG of one colour. */
export function plain(height: number, width: number, ...colour: number[]): Uint8Array {
  const pixels = Array.from({ length: height * width }, () => colour).flat();
  return png({ height, width, depth: 8, colour: colour.length === 3 ? 2 : 0, pixels });
}

/** An npy file. */
export function npy(descr: string, shape: number[], data: ArrayBufferView, order = 'False'): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const header = Buffer.from(`${text.padEnd(117)}\n`);
  const start = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length, 0]);
  return new Uint8Array(
    Buffer.concat([start, header, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)]),
  );
}
