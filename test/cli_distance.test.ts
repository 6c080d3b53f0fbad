import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type FisherDiagonal, fisherDistance, type LayerContribution } from '../algorithms/index.ts';
import { Random, serializeSafetensors } from '../engine/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'fathom-distance-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** 17 layers of two parameters, and a head. */
function made(seed: number, classes: number): FisherDiagonal {
  const random = new Random(seed);
  const names = Array.from({ length: 34 }, (_, i) => `layer${i >> 1}.conv.${i % 2 ? 'bias' : 'weight'}`);
  const entries: FisherDiagonal['entries'] = new Map();
  for (const name of names) entries.set(name, { shape: [3], data: random.fork(name).uniform(3) });
  entries.set('head.weight', { shape: [classes, 2], data: random.fork('head').uniform(2 * classes) });
  return { entries, samples: 4 };
}

function save(name: string, { entries, samples }: FisherDiagonal): string {
  const tensors = [...entries].map(([key, { shape, data }]) => {
    return [key, { dtype: 'F32' as const, shape: [...shape], data }] as const;
  });
  const about = { format: 'fathom-fisher', net: 'cnn', estimator: 'empirical', adapter: 'none' };
  const path = join(scratch, name);
  writeFileSync(path, serializeSafetensors(new Map(tensors), { ...about, samples: String(samples) }));
  return path;
}

const [source, target] = [made(1, 2), made(2, 3)];
const paths = [save('source.safetensors', source), save('target.safetensors', target)];

function distance(...args: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
  const main = join(ROOT, 'cli/main.ts');
  const runtime =
    'Deno' in globalThis
      ? ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json')]
      : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source'];
  return new Promise((resolve) => {
    const all = [...runtime, main, 'distance', ...paths, ...args];
    execFile(process.execPath, all, { cwd: scratch }, (error, stdout, stderr) => {
      resolve({ exit: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

test('text: the distance asked for by its name, the 15 layers that add most, and how many more', async () => {
  const { exit, stdout, stderr } = await distance('--value', 'd2', '--normalise', 'layer');
  assert.deepEqual([exit, stderr], [0, '']);
  const expected = fisherDistance(source, target, { value: 'd2', normalise: 'layer' });
  assert.match(stdout, new RegExp(`^d\\^2 ${expected.toFixed(6)}  \\(mean over layers`, 'm'));
  assert.doesNotMatch(stdout, /^d /m);
  const rows = [...stdout.matchAll(/│ (?:layer\d+\.conv|head) +│ +(\d\.\d{6}) │ +[\d.]+ % │/g)].map(([, x]) =>
    Number(x),
  );
  assert.equal(rows.length, 15);
  assert.deepEqual(
    rows,
    rows.toSorted((a, b) => b - a),
  );
  assert.match(stdout, /^and 3 more layers$/m);
});

test('JSON: every layer and parameter, contributions that sum to d squared', async () => {
  const { exit, stdout } = await distance('--json', '--normalise', 'none');
  assert.equal(exit, 0);
  const result = JSON.parse(stdout);
  assert.deepEqual([result.normalise, result.head, result.value], ['none', 'zero-pad', 'd']);
  assert.equal(result.distance, fisherDistance(source, target, { normalise: 'none' }));
  assert.equal(result.distanceSquared, result.distance ** 2);
  const layers: LayerContribution[] = result.contributions;
  assert.equal(layers.length, 18);
  const parameters = layers.flatMap((layer) => layer.parameters);
  assert.deepEqual(
    parameters.map(({ name }) => name),
    [...source.entries.keys()],
  );
  for (const items of [layers, parameters]) {
    const sum = items.reduce((total, { contribution }) => total + contribution, 0);
    assert.ok(Math.abs(sum / result.distanceSquared - 1) < 1e-12);
  }
});

test('a head that the files do not name cannot be dropped; unknown choices are wrong usage', async () => {
  const [unnamed, wrong] = await Promise.all([distance('--head', 'drop'), distance('--normalise', 'nope')]);
  assert.deepEqual([unnamed.exit, unnamed.stdout, wrong.exit, wrong.stdout], [1, '', 2, '']);
  assert.match(
    unnamed.stderr,
    /^[^\n]*source\.safetensors \(source\)[^\n]* cannot be left out[^\n]*--head zero-pad[^\n]*\.\n$/,
  );
});
