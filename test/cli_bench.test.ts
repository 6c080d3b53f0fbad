import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { benchSchema } from '../bench/results.ts';
import { runCli } from './run_cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'fathom-bench-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const bench = (...args: string[]) => runCli(scratch, 'bench', ...args);

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
