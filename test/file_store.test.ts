import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { FileStore, type Job, type JobResult, StudyGraph } from '../algorithms/index.ts';
import { failsWith } from './assertions.ts';
import { tinyPlan } from './tiny_study.ts';

const folder = await mkdtemp(join(tmpdir(), 'fathom-store-'));
after(() => rm(folder, { recursive: true }));

const graph = new StudyGraph(tinyPlan());
const job: Job = graph.train(0, 0);
const result: JobResult = {
  values: { loss: 0.25, names: ['a', 'b'], nothing: null },
  tensors: new Map([
    ['weight', { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, -2, 0.5, 3e-40) }],
    ['count', { dtype: 'I64', shape: [], data: BigInt64Array.of(12n) }],
  ]),
};

let folders = 0;
const newStore = (options?: ConstructorParameters<typeof FileStore>[1]) =>
  new FileStore(join(folder, `${folders++}`), options);

test('what is kept comes back, and nothing else', async () => {
  const store = newStore();
  assert.equal(await store.get(job), undefined);
  await store.put(job, result);
  assert.deepEqual(await store.get(job), result);
  assert.equal(await store.get(graph.train(1, 0)), undefined);
});

test('a checkpoint is kept until the result is', async () => {
  const store = newStore();
  await store.keepCheckpoint(job, result);
  assert.deepEqual(await store.checkpoint(job), result);
  assert.equal(await store.get(job), undefined);
  await store.put(job, result);
  assert.equal(await store.checkpoint(job), undefined);
});

test('whatever is changed in a file, it is refused in one line or read as it was', async () => {
  const lines: string[] = [];
  const store = newStore({ warn: (line) => lines.push(line) });
  await store.put(job, result);
  const path = store.path(job);
  const bytes = await readFile(path);
  const change = fc.record({ at: fc.nat(bytes.length - 1), to: fc.nat(255), cut: fc.nat(bytes.length) });
  await fc.assert(
    fc.asyncProperty(change, fc.boolean(), async ({ at, to, cut }, isCut) => {
      const changed = Uint8Array.from(isCut ? bytes.subarray(0, cut) : bytes);
      if (!isCut) changed[at] = to;
      await writeFile(path, changed);
      const found = await new FileStore(store.folder, { warn: (line) => lines.push(line) }).get(job);
      // Label and inputs are there for readers; they decide nothing.
      if (found) assert.deepEqual(found, result);
    }),
    { seed: 20220, numRuns: 300 },
  );
  assert.ok(lines.length > 200);
  for (const line of lines)
    assert.match(line, /^[^\n]+(is damaged|another version of Fathom); it is made anew$/);
});

test('a full disk is said in one line and leaves nothing behind', async () => {
  const store = newStore({
    async write(path, bytes) {
      await writeFile(path, bytes.subarray(0, 10));
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    },
  });
  await assert.rejects(store.put(job, result), failsWith('store-full', /disk is full/));
  assert.deepEqual(await readdir(dirname(store.path(job))), []);
});

test('a claim keeps others off until it is released', async () => {
  const store = newStore();
  const claim = await store.claim(job);
  assert.ok(claim);
  assert.equal(await store.claim(job), undefined);
  assert.ok(await store.claim(graph.train(1, 0)), 'another job is free');
  await claim.release();
  const next = await store.claim(job);
  assert.ok(next);
  await next.release();
});

test('a claim of a process that is gone is taken over, one of a process elsewhere only when it is old', async () => {
  const store = newStore();
  await (await store.claim(job))!.release();
  const path = `${store.path(job)}.claim`;
  const { pid } = spawnSync(process.execPath, ['--version']);
  await writeFile(path, JSON.stringify({ host: hostname(), pid, id: 'gone' }));
  const taken = await store.claim(job);
  assert.ok(taken, 'that process is gone');
  await taken.release();
  await writeFile(path, JSON.stringify({ host: 'elsewhere', pid: 1, id: 'far' }));
  assert.equal(await store.claim(job), undefined);
  const long = new Date(Date.now() - 120_000);
  await utimes(path, long, long);
  assert.ok(await store.claim(job));
});

test('of many that take over an abandoned claim at a time one has it', async () => {
  const store = newStore();
  await (await store.claim(job))!.release();
  const { pid } = spawnSync(process.execPath, ['--version']);
  await writeFile(`${store.path(job)}.claim`, JSON.stringify({ host: hostname(), pid, id: 'gone' }));
  const claims = await Promise.all(Array.from({ length: 8 }, () => new FileStore(store.folder).claim(job)));
  assert.equal(claims.filter((claim) => claim !== undefined).length, 1);
});
