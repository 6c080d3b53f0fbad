import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fill, Gpu } from '../engine/index.ts';
import { failsWith } from './assertions.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** A submission that every implementation must reject: a dispatch without a pipeline. */
function submitNonsense(device: GPUDevice): void {
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.dispatchWorkgroups(1);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

test('what the device reports is thrown at the next await, once, and the device goes on', async () => {
  using x = fill(gpu, [3], 4);
  submitNonsense(gpu.device);
  await assert.rejects(gpu.finish(), failsWith('device-error'));
  await gpu.finish();
  submitNonsense(gpu.device);
  await assert.rejects(x.read(), failsWith('device-error'));
  assert.deepEqual([...(await x.read())], [4, 4, 4]);
});

test('a lost device rejects the reads that wait for it, and everything after', async () => {
  // Lost before the copy is submitted, and while it is being mapped.
  for (const turns of [0, 3]) {
    const doomed = await Gpu.create();
    const x = fill(doomed, [3], 1);
    const pending = [x.read(), doomed.finish(), x.read()].map((work) =>
      assert.rejects(work, failsWith('device-lost')),
    );
    for (let turn = 0; turn < turns; turn++) await undefined;
    doomed.device.destroy();
    await Promise.all(pending);
    assert.throws(() => fill(doomed, [3], 1), failsWith('device-lost'));
    await assert.rejects(x.read(), failsWith('device-lost'));
    await assert.rejects(doomed.finish(), failsWith('device-lost'));
    doomed.dispose();
  }
});

test('nothing of either goes to stdout, and the process ends by itself', async () => {
  const code = `
    import { fill, Gpu } from '${new URL('../engine/index.ts', import.meta.url).href}';
    const gpu = await Gpu.create();
    const codes = [];
    const note = (error) => codes.push(error.code);
    ${submitNonsense}
    submitNonsense(gpu.device);
    await gpu.finish().catch(note);
    const read = fill(gpu, [3], 1).read();
    gpu.device.destroy();
    await read.catch(note);
    console.log(codes.join(' '));
  `;
  const { exit, stdout } = await runModule(code);
  assert.equal(stdout, 'device-error device-lost\n');
  assert.equal(exit, 0);
});

/** Runs a module in a fresh process of this runtime; one that hangs is killed and has no exit code. */
function runModule(code: string): Promise<{ exit: number | null; stdout: string }> {
  const args =
    'Deno' in globalThis
      ? ['eval', '--no-check', '--ext=ts', code]
      : ['--import', 'tsx', '--input-type=module', '-e', code];
  const child = spawn(process.execPath, args, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 60_000,
  });
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => resolve({ exit, stdout }));
  });
}
