import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FathomError } from '../engine/index.ts';

/** Checks, before any work, that a file can be made at `path`. @throws FathomError `unwritable` */
export async function checkWritable(path: string): Promise<void> {
  try {
    const found = await stat(path).catch(() => undefined);
    if (found?.isDirectory()) throw Object.assign(new Error('a folder'), { code: 'EISDIR' });
    const probe = temporaryName(path);
    await (await open(probe, 'wx')).close();
    await rm(probe);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** Makes a folder where there is none, and checks that files of these names can be made in it. */
export async function checkFolder(folder: string, names: readonly string[]): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw unwritable(folder, cause);
  }
  for (const name of names) await checkWritable(join(folder, name));
}

/** Writes a file under another name beside it first, so that `path` never holds part of it. */
export async function writeOutput(path: string, content: Uint8Array | string): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await writeFile(temporary, content, { flag: 'wx' });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw unwritable(path, cause);
  }
}

function temporaryName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}.part`);
}

const REASONS: Record<string, string> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'a part of its path is a file',
  EEXIST: 'a file has its name',
  EISDIR: 'it is a folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
};

function unwritable(path: string, cause: unknown): FathomError {
  const { code = String(cause) } = cause as { code?: string };
  return new FathomError({
    code: 'unwritable',
    message: `${path} cannot be written: ${REASONS[code] ?? code}`,
    fix: 'Name a place that exists, may be written to and has room',
    cause,
  });
}
