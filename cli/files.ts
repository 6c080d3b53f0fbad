import { readFile, stat } from 'node:fs/promises';
import { FathomError } from '../engine/index.ts';

export { checkFolder, checkWritable, writeOutput } from '../report/files.ts';

/** Reads a file the user named. @throws FathomError `file-missing` | `file-unreadable` */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code } = cause as { code?: string };
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new FathomError({
      code: missing ? 'file-missing' : 'file-unreadable',
      message: missing ? `There is no file ${path}` : `${path} cannot be read (${code ?? cause})`,
      fix: missing ? 'Check the path' : 'Name a file that you may read',
      cause,
    });
  }
}

/** @throws FathomError `exists` where there is a file at `path` */
export async function refuseExisting(path: string): Promise<void> {
  if (!(await stat(path).catch(() => undefined))) return;
  throw new FathomError({
    code: 'exists',
    message: `There is a file ${path}`,
    fix: 'Move it away, or name another folder with --out',
  });
}
