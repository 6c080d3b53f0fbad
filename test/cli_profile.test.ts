import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Random, serializeSafetensors, type Trace } from '../engine/index.ts';
import { initialState, mlp } from '../models/index.ts';
import { runCli } from './run_cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'fathom-profile-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const fathom = (...args: string[]) => runCli(scratch, ...args);

function readTrace(name: string): Trace {
  return JSON.parse(readFileSync(join(scratch, name), 'utf8'));
}

test('--profile writes a trace and says where, on stderr alone', async () => {
  const { exit, stdout, stderr } = await fathom('doctor', '--json', '--profile', 'doctor.json');
  assert.equal(exit, 0, stderr);
  const { adapter, features } = JSON.parse(stdout);
  assert.match(stderr, /^Wrote the profile doctor\.json; ui\.perfetto\.dev opens it/m);
  const { traceEvents, otherData } = readTrace('doctor.json');
  const [device] = otherData.devices;
  assert.equal(device!.adapter, adapter.label);
  const count = (category: string) => traceEvents.filter(({ cat }) => cat === category).length;
  assert.ok(count('record') > 0);
  assert.equal(count('record'), device!.dispatches);
  if (features.includes('timestamp-query')) {
    assert.equal(count('kernel'), device!.dispatches);
    assert.match(stderr, /│ kernel +│ calls │ ms on the GPU │ +share │/);
  } else assert.match(stderr, /The adapter has no timestamps/);
});

test('a command that fails is profiled up to there; its own error and exit code stay', async () => {
  const huge = [...initialState(mlp(), new Random(1))].map(([name, { shape, data }]) => {
    return [
      name,
      { dtype: 'F32' as const, shape: [...shape], data: data.map((value) => 1e30 * value) },
    ] as const;
  });
  writeFileSync(join(scratch, 'w'), serializeSafetensors(new Map(huge), {}));
  const data = {
    images: { dtype: 'F32' as const, shape: [2, 1, 28, 28], data: new Float32Array(2 * 784).fill(1) },
    labels: { dtype: 'I64' as const, shape: [2], data: new BigInt64Array(2) },
  };
  writeFileSync(join(scratch, 'd'), serializeSafetensors(new Map(Object.entries(data)), {}));
  const files = ['--net', 'mlp', '--weights', 'w', '--data', 'd', '--out', 'f'];
  const { exit, stdout, stderr } = await fathom('fisher', ...files, '--profile', 'failed.json');
  assert.deepEqual([exit, stdout], [1, ''], stderr);
  assert.match(stderr, /is not finite in /);
  const names = readTrace('failed.json').traceEvents.map(({ name }) => name);
  assert.ok(names.includes('Fisher pass'));
});

test('a profile that cannot be written is said before any work', async () => {
  const { exit, stdout, stderr } = await fathom('doctor', '--profile', 'nowhere/trace.json');
  assert.deepEqual([exit, stdout], [1, '']);
  assert.match(stderr, /^nowhere\/trace\.json cannot be written: its folder does not exist\. [^\n]+\n$/);
});
