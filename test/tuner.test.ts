import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { diagonalFisher, trainingStep, uploadBatch } from '../algorithms/index.ts';
import type { ImageSet } from '../data/index.ts';
import {
  type Answers,
  conv2d,
  Gpu,
  layersOn,
  linear,
  Random,
  sgd,
  Tape,
  type Tile,
  tune,
} from '../engine/index.ts';
import { planGemm, planWeightGradient } from '../engine/planner.ts';
import { candidates, fits, type Planned, shapeClass, type Tuning } from '../engine/tuning.ts';
import { cnn, Network } from '../models/index.ts';
import { failsWith } from './assertions.ts';
import { gemms, weightGradients } from './planned_shapes.ts';
import { examplesOf, stripes } from './tiny.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'fathom-tuner-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

// The user's own answers are left alone; a driver that is loaded stays where it is.
const first = await Gpu.create({ tuning: false });
after(() => first.dispose());
process.env.XDG_CACHE_HOME = scratch;
const path = await withGpu(async (gpu) => gpu.tuning.path!);

async function withGpu<T>(body: (gpu: Gpu) => Promise<T>, tuning = true): Promise<T> {
  using gpu = await Gpu.create({ tuning });
  return await body(gpu);
}

/** The file as it is saved with no answers. */
const fileOfNone: Tuning = await withGpu(async (gpu) => {
  await gpu.tuning.save({});
  return JSON.parse(readFileSync(path, 'utf8')) as Tuning;
});

const planned: fc.Arbitrary<Planned> = fc
  .oneof(
    gemms.map((facts): Planned => ({ kind: 'product', facts })),
    weightGradients.map((facts): Planned => ({ kind: 'gradient', facts })),
    weightGradients.map((facts): Planned => ({ kind: 'squares', facts })),
  )
  .filter(({ facts }) => facts.family !== 'quad' || facts.subgroupSize >= 4);

/** What may not depend on a tile. */
function sums({ kind, facts }: Planned, tile?: Tile): unknown {
  if (kind === 'product') {
    const { direct, splits } = planGemm(facts, tile);
    return { direct, splits };
  }
  const { direct, lanes } = planWeightGradient(facts, tile);
  return { direct, lanes };
}

test('candidates are the own tile and few others, all of which are plans with the same sums', () => {
  let several = 0;
  fc.assert(
    fc.property(planned, (shape) => {
      const tiles = candidates(shape);
      assert.ok(tiles.length <= 12, `${tiles.length} of them`);
      assert.equal(new Set(tiles.map((tile) => JSON.stringify(tile))).size, tiles.length);
      for (const tile of tiles) assert.deepEqual(sums(shape, tile), sums(shape));
      if (tiles.length > 1) several++;
      if (tiles.length > 0) {
        const { kind, facts } = shape;
        const own = kind === 'product' ? planGemm(facts) : planWeightGradient(facts);
        for (const [name, value] of Object.entries(tiles[0]!)) {
          assert.equal(own[name as keyof typeof own], value, name);
        }
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(several > 200, `only ${several} had a choice`);
});

test('shapes of a class allow the same tiles', () => {
  const members = new Map<string, string>();
  fc.assert(
    fc.property(planned, (shape) => {
      const { software, subgroupSize, family } = shape.facts;
      const allowed = [1, 2, 4].map((tileColumns) => fits(shape, { tileColumns } as Tile));
      const lengths = [4, 7, 8].map((length) => fits(shape, { tileRows: length } as Tile));
      const key = `${shapeClass(shape)} ${software} ${subgroupSize} ${family}`;
      const value = `${allowed} ${lengths}`;
      assert.equal(members.get(key) ?? value, value, key);
      members.set(key, value);
    }),
    { numRuns: 2000 },
  );
});

test('a tile that a shape does not allow is refused', () => {
  const adapter = { software: true, subgroupSize: 0 };
  const product = { ...adapter, rows: 64, columns: 6, steps: 8, pixels: 1 };
  const weights = { ...adapter, steps: 8, outChannels: 6, pixels: 1, size: 192, maxBindingBytes: 2 ** 27 };
  assert.equal(planGemm(product, { tileRows: 4, workgroup: 64 }).workgroups, 1);
  assert.throws(() => planGemm(product, { tileRows: 7 }), failsWith('bad-plan', /tileRows 7/));
  assert.throws(() => planGemm(product, { tileColumns: 4 }), failsWith('bad-plan', /tileColumns 4/));
  assert.throws(() => planGemm(product, { family: 'quad' }), failsWith('bad-plan', /family quad/));
  assert.throws(() => planGemm(product, { tileGroups: 1 }), failsWith('bad-plan', /tileGroups 1/));
  assert.throws(() => planWeightGradient(weights, { tilePixels: 7 }), failsWith('bad-plan', /tilePixels 7/));
  const tiled = { ...product, family: 'tiled' } as const;
  assert.throws(() => planGemm(tiled, { workgroup: 16 }), failsWith('bad-plan', /workgroup 16/));
});

/** Weights after steps of training, and a Fisher, of the small network. */
async function work(gpu: Gpu): Promise<Float32Array[]> {
  const architecture = cnn();
  using network = Network.initialise(gpu, architecture, new Random(3));
  using optimizer = sgd(gpu, [...network.parameters.values()], { learningRate: 0.05 });
  const examples = examplesOf(images(20));
  for (let step = 0; step < 3; step++) {
    gpu.scope(() => {
      const batch = uploadBatch(network, examples, examples.index.subarray(6 * step, 6 * step + 6));
      trainingStep(network, optimizer, batch, new Random(step));
    });
  }
  const fisher = await diagonalFisher(network, examples, { chunk: 7 });
  const state = await network.state();
  return [
    ...[...state.values()].map(({ data }) => Float32Array.from(data)),
    ...[...fisher.entries.values()].map(({ data }) => Float32Array.from(data)),
  ];
}

function images(count: number): ImageSet {
  const pixels = Uint8Array.from(new Random(4).bits(count * 28 * 28), (word) => word % 256);
  return { ...stripes(count, 10), height: 28, width: 28, pixels };
}

/** What `work` plans, one shape of each class. */
async function plannedByWork(): Promise<Map<string, Planned>> {
  const shapes = new Map<string, Planned>();
  const tile = (shape: Planned) => {
    shapes.set(shapeClass(shape), shape);
    return undefined;
  };
  using gpu = await Gpu.create({ tile });
  await work(gpu);
  return shapes;
}

function write(changes: Partial<Tuning>): void {
  writeFileSync(path, JSON.stringify({ ...fileOfNone, ...changes }));
}

test('training steps and Fishers have the same bits whatever the file says', async () => {
  const own = await withGpu(work, false);
  const shapes = await plannedByWork();
  const choices = new Map([...shapes].map(([name, shape]) => [name, candidates(shape)]));
  const most = Math.max(...[...choices.values()].map((tiles) => tiles.length));
  for (let i = 1; i < most; i++) {
    const named = [...choices].flatMap(([name, tiles]) => {
      const tile = tiles[i % tiles.length];
      return tile ? [[name, tile] as const] : [];
    });
    write({ answers: Object.fromEntries(named) });
    await withGpu(async (gpu) => {
      assert.equal(gpu.tuning.classes, named.length);
      for (const [name, tile] of named) assert.deepEqual(gpu.tileOf(shapes.get(name)!), tile);
      assert.deepEqual(await work(gpu), own, `candidates ${i}`);
    });
  }
  write({ kernels: 'of long ago', answers: {} });
  assert.deepEqual(await withGpu(work), own, 'stale');
  writeFileSync(path, '{"version": 1, "answ');
  assert.deepEqual(await withGpu(work), own, 'damaged');
});

test('a file that is damaged or of something else is left aside, and why can be asked', async () => {
  const [name] = (await plannedByWork()).keys();
  const answers: Answers = { [name!]: { workgroup: 64 } };
  const opened = (tuning = true) =>
    withGpu(async (gpu) => ({ classes: gpu.tuning.classes, problem: gpu.tuning.problem }), tuning);
  write({ answers });
  assert.deepEqual(await opened(), { classes: 1, problem: undefined });
  assert.deepEqual(await opened(false), { classes: 0, problem: undefined });
  for (const wrong of [
    { version: 0 },
    { adapter: 'another' },
    { runtime: 'another' },
    { kernels: 'others' },
    { answers: [] as unknown as Answers },
    { answers: { [name!]: { workgroup: 65 } as unknown as Tile } },
    { answers: { [name!]: { lanes: 4 } as Tile } },
  ]) {
    write({ answers, ...wrong });
    const { classes, problem } = await opened();
    assert.equal(classes, 0);
    assert.match(problem!, Object.hasOwn(wrong, 'answers') ? /damaged/ : new RegExp(Object.keys(wrong)[0]!));
  }
  for (const text of ['', 'null', '[', '7']) {
    writeFileSync(path, text);
    assert.equal((await opened()).classes, 0);
    assert.ok((await opened()).problem);
  }
  rmSync(path);
  assert.deepEqual(await opened(), { classes: 0, problem: undefined });
});

test('a tile of the file that a shape does not allow is not taken', async () => {
  const product: Planned = {
    kind: 'product',
    facts: { ...first.facts, rows: 64, columns: 4, steps: 8, pixels: 1 },
  };
  write({ answers: { [shapeClass(product)]: { tileRows: 7 } } });
  await withGpu(async (gpu) => assert.equal(gpu.tileOf(product), undefined));
  rmSync(path);
});

test('what is saved is found again, beside what was known, and leaves no other file', async () => {
  await withGpu((gpu) => gpu.tuning.save({ one: { tileColumns: 1 }, two: {} }));
  await withGpu((gpu) => gpu.tuning.save({ two: { tileRows: 4 }, three: {} }));
  await withGpu(async (gpu) => {
    assert.deepEqual(gpu.tuning.answers, { one: { tileColumns: 1 }, two: { tileRows: 4 }, three: {} });
  });
  assert.deepEqual(
    readdirSync(join(path, '..')).filter((name) => name.startsWith('tuning')),
    [path.slice(path.lastIndexOf('/') + 1)],
  );
  rmSync(path);
});

test('the tuner times each class of the layers that a tape has, once', async () => {
  const layers = first.scope(() => {
    const [w, v] = [first.empty([8, 3, 3, 3], 'f32'), first.empty([4, 8 * 36], 'f32')];
    const tape = new Tape(first).watch([w, v]);
    for (let i = 0; i < 2; i++) conv2d(tape, first.empty([2, 8, 8, 3], 'f32'), w);
    linear(tape, first.empty([2, 8 * 36], 'f32'), v);
    return layersOn(tape);
  });
  assert.deepEqual(
    layers.map(({ op, weights }) => [op, ...weights]),
    [
      ['conv2d', 8, 3, 3, 3],
      ['linear', 4, 288],
    ],
  );
  const classes: string[] = [];
  const found = await tune(first, layers, (progress) => classes.push(progress.class));
  assert.equal(first.liveTensors, 0);
  assert.equal(new Set(classes).size, classes.length);
  for (const { own, chosen, gain, timed, unequal, ...each } of found) {
    assert.ok(classes.includes(each.class));
    assert.deepEqual(Object.keys(chosen).sort(), Object.keys(own).sort());
    assert.ok(timed >= 1 && gain >= 1);
    assert.deepEqual(unequal, []);
  }
  // A GPU's tiled kernels leave no choice.
  if (first.software) assert.equal(found.length, classes.length);
});

test('fathom tune writes the file that later commands read', async () => {
  const cache = join(scratch, 'cli');
  const run = async (...args: string[]) => {
    const runtime =
      'Deno' in globalThis
        ? ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json')]
        : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source'];
    const env = { ...process.env, XDG_CACHE_HOME: cache };
    return new Promise<{ exit: number; stdout: string }>((resolve) => {
      const all = [...runtime, join(ROOT, 'cli/main.ts'), ...args];
      execFile(process.execPath, all, { env }, (error, stdout) =>
        resolve({ exit: error ? Number(error.code) : 0, stdout }),
      );
    });
  };
  writeFileSync(
    join(scratch, 'net.mjs'),
    `import { chain, flattenLayer, linearLayer } from ${JSON.stringify(new URL('../models/index.ts', import.meta.url).href)};
    const module = chain(flattenLayer(), ['fc', linearLayer(64, 20)]);
    export default { name: 'one', input: [8, 8, 1], classes: 20, module, head: [] };`,
  );
  const { exit, stdout } = await run('tune', '--net', join(scratch, 'net.mjs'), '--batch', '8', '--json');
  assert.equal(exit, 0);
  const { file, found } = JSON.parse(stdout);
  const { answers } = JSON.parse(readFileSync(file, 'utf8')) as Tuning;
  assert.deepEqual(
    Object.keys(answers),
    found.map((each: { class: string }) => each.class),
  );
  const doctor = async (...args: string[]) => JSON.parse((await run('doctor', '--json', ...args)).stdout);
  const { tuning } = await doctor();
  assert.deepEqual(tuning, { file, classes: found.length });
  assert.equal((await doctor('--no-tune')).tuning.classes, 0);
  assert.equal((await run('tune', '--net', 'absent')).exit, 1);
});
