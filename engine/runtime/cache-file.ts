import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FathomError } from '../errors.ts';
import { type CacheFile, oneLine } from './runtime.ts';

/** A file of a folder on disk, for Node and Deno. */
export function cacheFileIn(folder: string, name: string): CacheFile {
  const path = join(folder, name);
  return {
    path,
    async read() {
      try {
        return await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    },
    async write(text) {
      const temporary = `${path}.${randomUUID()}`;
      try {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(temporary, text, { flag: 'wx' });
        await rename(temporary, path);
      } catch (cause) {
        await rm(temporary, { force: true }).catch(() => undefined);
        throw new FathomError({
          code: 'cache-unusable',
          message: `${path} cannot be written (${oneLine(cause)})`,
          fix: 'Set XDG_CACHE_HOME to a folder that can be written',
          cause,
        });
      }
    },
  };
}
