import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { FathomError, parseSafetensors, serializeSafetensors } from '../../engine/index.ts';
import { JOB_VERSIONS, type Job, type JobResult } from './job.ts';
import type { Claim, Store } from './store.ts';

const FORMAT = 'fathom-job';
const FORMAT_VERSION = '1';
const HEARTBEAT_MS = 5_000;
/** A claim of a process on another machine that has not been renewed for so long is nobody's. */
const ABANDONED_MS = 60_000;

export interface FileStoreOptions {
  /** Told, in one line, of a result that has to be made anew. */
  warn?: (line: string) => void;
  /** Writes a file, for tests of a disk that fills up. */
  write?: (path: string, bytes: Uint8Array) => Promise<void>;
}

/**
 * Results in a folder, a safetensors file each, `<kind>/<key>.safetensors`, with the job's inputs, values and a
 * checksum in its metadata. A file appears whole or not at all, whenever the process is killed.
 */
export class FileStore implements Store {
  private readonly warn: (line: string) => void;
  private readonly write: (path: string, bytes: Uint8Array) => Promise<void>;
  private readonly warned = new Set<string>();

  constructor(
    readonly folder: string,
    { warn = () => undefined, write = writeWhole }: FileStoreOptions = {},
  ) {
    this.warn = warn;
    this.write = write;
  }

  /** Where a job's result lies. */
  path(job: Job): string {
    return join(this.folder, job.kind, `${job.key}.safetensors`);
  }

  get(job: Job): Promise<JobResult | undefined> {
    return this.read(job, this.path(job));
  }

  async put(job: Job, result: JobResult): Promise<void> {
    await this.keep(job, this.path(job), result);
    await rm(this.checkpointPath(job), { force: true });
  }

  checkpoint(job: Job): Promise<JobResult | undefined> {
    return this.read(job, this.checkpointPath(job));
  }

  async keepCheckpoint(job: Job, state: JobResult): Promise<void> {
    await this.keep(job, this.checkpointPath(job), state);
  }

  async claim(job: Job): Promise<Claim | undefined> {
    const path = `${this.path(job)}.claim`;
    await mkdir(dirname(path), { recursive: true }).catch((cause) => {
      throw unwritable(path, cause);
    });
    for (let attempt = 0; attempt < 3; attempt++) {
      const own = JSON.stringify({ host: hostname(), pid: process.pid, id: randomUUID() });
      try {
        const file = await open(path, 'wx');
        await file.writeFile(own);
        await file.close();
        return holding(path, own);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw unwritable(path, cause);
      }
      if (!(await takeAbandoned(path))) return undefined;
    }
    return undefined;
  }

  private checkpointPath(job: Job): string {
    return `${this.path(job)}.checkpoint`;
  }

  private async keep(job: Job, path: string, result: JobResult): Promise<void> {
    const temporary = `${path}.${randomUUID()}.part`;
    const values = JSON.stringify(result.values);
    const bytes = serializeSafetensors(result.tensors, {
      format: FORMAT,
      formatVersion: FORMAT_VERSION,
      version: String(JOB_VERSIONS[job.kind]),
      kind: job.kind,
      key: job.key,
      label: job.label,
      inputs: JSON.stringify(job.inputs),
      values,
      checksum: checksumOf(job, values, result.tensors),
    });
    try {
      await mkdir(dirname(path), { recursive: true });
      await this.write(temporary, bytes);
      await rename(temporary, path);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw unwritable(path, cause);
    }
  }

  private async read(job: Job, path: string): Promise<JobResult | undefined> {
    let bytes: Uint8Array;
    try {
      bytes = await readFile(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      return this.refuse(path, `cannot be read (${(cause as NodeJS.ErrnoException).code})`);
    }
    try {
      const { tensors, metadata } = parseSafetensors(bytes, path);
      const { format, formatVersion, version, values = '', checksum } = metadata;
      if (format !== FORMAT || checksum === undefined) return this.refuse(path, 'is damaged');
      if (formatVersion !== FORMAT_VERSION || version !== String(JOB_VERSIONS[job.kind])) {
        return this.refuse(path, 'was made by another version of Fathom');
      }
      if (checksum !== checksumOf(job, values, tensors)) return this.refuse(path, 'is damaged');
      return { values: JSON.parse(values), tensors };
    } catch {
      return this.refuse(path, 'is damaged');
    }
  }

  private refuse(path: string, why: string): undefined {
    if (!this.warned.has(path)) this.warn(`${path} ${why}; it is made anew`);
    this.warned.add(path);
  }
}

/** Until released a claim is renewed, so that others see that its process lives. */
function holding(path: string, own: string): Claim {
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  timer.unref();
  return {
    async release() {
      clearInterval(timer);
      const found = await readFile(path, 'utf8').catch(() => undefined);
      if (found === own) await rm(path, { force: true });
    },
  };
}

/** Takes a claim away whose process is gone; gives whether it is worth while to try and claim again. */
async function takeAbandoned(path: string): Promise<boolean> {
  const found = await contentOf(path);
  if (found === undefined) return true;
  if (!isAbandoned(found.text, found.age)) return false;
  // One process at a time, and only what is still there when its turn comes.
  const turn = `${path}.turn`;
  try {
    await (await open(turn, 'wx')).close();
  } catch {
    const other = await contentOf(turn);
    if (other && other.age > HEARTBEAT_MS) await rm(turn, { force: true });
    return false;
  }
  try {
    if ((await contentOf(path))?.text === found.text) await rm(path, { force: true });
    return true;
  } finally {
    await rm(turn, { force: true });
  }
}

async function contentOf(path: string): Promise<{ text: string; age: number } | undefined> {
  try {
    return { text: await readFile(path, 'utf8'), age: Date.now() - (await stat(path)).mtimeMs };
  } catch {
    return undefined;
  }
}

function isAbandoned(claim: string, age: number): boolean {
  let owner: { host?: unknown; pid?: unknown };
  try {
    owner = JSON.parse(claim);
  } catch {
    // Its process may be about to write it.
    return age > HEARTBEAT_MS;
  }
  if (owner.host !== hostname() || typeof owner.pid !== 'number') return age > ABANDONED_MS;
  try {
    process.kill(owner.pid, 0);
    return age > ABANDONED_MS;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function checksumOf({ key }: Job, values: string, tensors: JobResult['tensors']): string {
  const hash = createHash('sha256').update(`${key}\n${values}\n`);
  for (const [name, { dtype, shape, data }] of tensors) {
    hash.update(JSON.stringify([name, dtype, shape]));
    hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}

/** The bytes are on the disk, not only on their way there, when this is done. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function unwritable(path: string, cause: unknown): FathomError {
  const { code } = cause as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new FathomError({
    code: full ? 'store-full' : 'store-unwritable',
    message: full
      ? `The disk is full: ${path} cannot be written`
      : `${path} cannot be written (${code ?? cause})`,
    fix: full
      ? 'Make room and run the study again; it goes on from here'
      : 'Run the study in a folder that you may write to',
    cause,
  });
}
