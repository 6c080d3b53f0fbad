import { type ChildProcess, execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

type Ended = { exit: number; stdout: string; stderr: string };

/** Runs the command line in a folder; what drivers of the system write to stderr on their own is left out. */
export function runCli(folder: string, ...args: string[]): Promise<Ended> {
  return startCli(folder, ...args).ended;
}

/** The same, with the process at hand. */
export function startCli(folder: string, ...args: string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const runtime =
    'Deno' in globalThis
      ? ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json')]
      : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source'];
  const all = [...runtime, join(ROOT, 'cli/main.ts'), ...args];
  const env = { ...process.env, XDG_RUNTIME_DIR: folder };
  let child!: ChildProcess;
  const ended = new Promise<Ended>((resolve) => {
    child = execFile(process.execPath, all, { cwd: folder, env }, (error, stdout, stderr) => {
      const own = stderr.replaceAll(/^Warning: max\w+ artificially reduced.*\n/gm, '');
      resolve({ exit: error ? Number(error.code) : 0, stdout, stderr: own });
    });
  });
  return { child, ended };
}
