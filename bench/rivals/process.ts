import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Side } from './contests.ts';

interface Answer {
  device?: string;
  times?: number[];
  values?: number[];
  failure?: string;
}

const PACKAGES: Readonly<Record<Exclude<Side, 'ours' | 'torch'>, string>> = {
  tfjs: '@tensorflow/tfjs-backend-webgpu',
  jax: '@jax-js/jax',
  gpujs: 'gpu.js',
  'gpujs-cpu': 'gpu.js',
};

/** Longest wait for one answer. */
const PATIENCE_MS = 240_000;

/** The command that runs Python with PyTorch, if there is one. */
let python: string | undefined | null = null;

function pythonWithTorch(): string | undefined {
  if (python !== null) return python;
  python = ['python3', '/usr/bin/python3'].find((command) => {
    try {
      execFileSync(command, ['-c', 'import torch'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
  return python;
}

/** Version of a side's library, or undefined where it is not installed. */
export function installedVersion(side: Exclude<Side, 'ours'>): string | undefined {
  if (side === 'torch') {
    const command = pythonWithTorch();
    const print = 'import torch; print(torch.__version__)';
    return command && execFileSync(command, ['-c', print], { encoding: 'utf8' }).trim();
  }
  const places = createRequire(import.meta.url).resolve.paths(PACKAGES[side]) ?? [];
  const manifest = places.map((place) => join(place, PACKAGES[side], 'package.json')).find(existsSync);
  return manifest && (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

/** One side of a contest in a fresh process, with empty caches of compiled shaders. */
export class SideProcess implements Disposable {
  private readonly answers: AsyncIterator<string>;

  private constructor(
    private readonly child: ChildProcess,
    /** Where it computes, as it says. */
    public device: string,
  ) {
    const lines = createInterface({ input: child.stdio[3] as Readable });
    this.answers = lines[Symbol.asyncIterator]();
  }

  /** @param inputs a safetensors file of the contest's inputs, which PyTorch reads */
  static async start(side: Side, contest: string, inputs: string): Promise<SideProcess> {
    const here = new URL('.', import.meta.url);
    const script = import.meta.url.endsWith('.ts') ? 'child.ts' : 'child.js';
    const [command, args] =
      side === 'torch'
        ? [pythonWithTorch()!, [fileURLToPath(new URL('pytorch.py', here)), contest, inputs]]
        : [process.execPath, [...process.execArgv, fileURLToPath(new URL(script, here)), side, contest]];
    const child = spawn(command, args, {
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
      env: { ...process.env, MESA_SHADER_CACHE_DISABLE: 'true' },
    });
    const started = new SideProcess(child, '');
    started.device = (await started.answer()).device!;
    return started;
  }

  /** Milliseconds of one step after another until so many have passed; at least one. */
  async times(milliseconds: number): Promise<number[]> {
    this.child.stdin!.write(`${JSON.stringify({ command: 'time', milliseconds })}\n`);
    return (await this.answer()).times!;
  }

  /** What its step computes, to be held against the other sides'. */
  async values(): Promise<number[]> {
    this.child.stdin!.write(`${JSON.stringify({ command: 'check' })}\n`);
    return (await this.answer()).values!;
  }

  private async answer(): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
    });
    try {
      const { value, done } = await Promise.race([this.answers.next(), late]);
      if (done) throw new Error('the process ended');
      const answer = JSON.parse(value) as Answer;
      if (answer.failure !== undefined) throw new Error(answer.failure.split('\n', 1)[0]);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
  }
}
