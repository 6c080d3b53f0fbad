import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { benchSchema } from '../bench/results.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'fathom-bench-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

function bench(...args: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
  const runtime =
    'Deno' in globalThis
      ? ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json')]
      : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source'];
  const env = { ...process.env, XDG_RUNTIME_DIR: scratch };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...runtime, join(ROOT, 'cli/main.ts'), 'bench', ...args],
      { cwd: scratch, env },
      (error, stdout, stderr) => {
        const own = stderr.replaceAll(/^Warning: max\w+ artificially reduced.*\n/gm, '');
        resolve({ exit: error ? Number(error.code) : 0, stdout, stderr: own });
      },
    );
  });
}

test('bench writes its figures and shows them as tables', async () => {
  const { exit, stdout, stderr } = await bench('--quick', '--only', 'matmul', '--out', 'mine.json');
  assert.equal(exit, 0, stderr);
  assert.match(stdout, /^peaks: \d+\.\d GFLOP\/s of multiply-adds, \d+\.\d GB\/s of a copy$/m);
  assert.match(stdout, /│ linear 512 x 512 to 512, weight gradient │/);
  assert.match(stdout, /^Wrote mine\.json$/m);
  const figures = benchSchema.parse(JSON.parse(readFileSync(join(scratch, 'mine.json'), 'utf8')));
  assert.equal(figures.quick, true);
  assert.deepEqual(
    figures.cases.map(({ family, rounds }) => [family, rounds.length]),
    Array(3).fill(['matmul', 1]),
  );
});

test('what bench does not know is refused before anything is measured', async () => {
  for (const args of [
    ['--only', 'matmul,lunch'],
    ['--rivals', 'marathon'],
  ]) {
    const { exit, stderr } = await bench(...args);
    assert.equal(exit, 2);
    assert.match(stderr, /There is no (lunch|marathon); give some of/);
  }
  const { exit, stderr } = await bench('--out', 'absent/mine.json');
  assert.equal(exit, 1);
  assert.match(stderr, /^absent\/mine\.json cannot be written: its folder does not exist/);
});
