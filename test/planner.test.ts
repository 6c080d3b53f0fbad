import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  batchRuns,
  type Family,
  type GemmPlan,
  type Line,
  planGemm,
  planLanes,
  planWeightGradient,
} from '../engine/planner.ts';
import { gemms, weightGradients } from './planned_shapes.ts';

/** Tiles a workgroup covers: one an invocation, or one a workgroup. */
function tilesOf({ family, workgroup }: Pick<GemmPlan, 'family' | 'workgroup'>): number {
  return family === 'tiled' ? 1 : workgroup;
}

const MIB = 2 ** 20;

/** Tiles of rows, of which all families but the tiled one take four at a time. */
function wholeQuads(family: Family, tiles: number): number {
  return family === 'tiled' ? Math.ceil(tiles) : 4 * Math.ceil(tiles / 4);
}

/** Lines of the kernel x channels, by fours where they are whole. */
function directRows({ kernelHeight, channels }: Line): number {
  return kernelHeight * (channels % 4 === 0 ? channels / 4 : channels);
}

test('planGemm covers rows and columns with no tile and no workgroup to spare', () => {
  fc.assert(
    fc.property(gemms, (facts) => {
      const { family, tileColumns, tileRows, columnTiles, direct, splits, workgroups, workgroup } =
        planGemm(facts);
      const perGroup = tilesOf({ family, workgroup });
      assert.equal(family, facts.family ?? family);
      const columns4 = Math.ceil(facts.columns / 4);
      assert.ok(columnTiles * tileColumns >= columns4 && (columnTiles - 1) * tileColumns < columns4);
      const { outWidth } = facts.line ?? { outWidth: 1 };
      const rowTiles = direct
        ? (facts.rows / outWidth) * Math.ceil(outWidth / tileRows)
        : Math.ceil(facts.rows / tileRows);
      assert.ok(!direct || rowTiles * tileRows <= 1.2 * facts.rows);
      assert.equal(facts.steps % splits, 0);
      const tiles = splits * wholeQuads(family, rowTiles) * columnTiles;
      const covered = workgroups * perGroup;
      assert.ok(workgroups >= 1 && covered >= tiles && covered - tiles < perGroup);
    }),
  );
});

test('planWeightGradient covers the weights of every lane, and all lanes fit a share of a binding', () => {
  fc.assert(
    fc.property(weightGradients, fc.integer({ min: 1, max: 500 }), (facts, count) => {
      const { family, lanes, columnTiles, tileColumns, tileGroups, direct, workgroups, workgroup } =
        planWeightGradient(facts);
      const perGroup = tilesOf({ family, workgroup });
      if (!direct) assert.equal(family, facts.family ?? family);
      const columns4 = Math.ceil(facts.outChannels / 4);
      assert.ok(columnTiles * tileColumns >= columns4, 'columns covered');
      assert.ok((columnTiles - 1) * tileColumns < columns4, 'no tile of columns empty');
      const rowTiles = direct ? directRows(facts.line!) : facts.steps / tileGroups;
      const quads = !direct || family === 'quad';
      const tiles = (quads ? wholeQuads(family, rowTiles) : rowTiles) * columnTiles * count;
      const covered = workgroups(count) * perGroup;
      assert.ok(covered >= tiles && covered - tiles < perGroup, 'grid covers the tiles');
      assert.ok(lanes === 1 || lanes * facts.size * 4 <= facts.maxBindingBytes / 4);
      assert.ok(Number.isInteger(Math.log2(lanes)) && lanes >= 1 && lanes <= 64);
    }),
  );
});

test('lanes are many where one cannot fill the adapter, and few where memory is short', () => {
  const facts = { software: true, size: 500, maxBindingBytes: 128 * MIB };
  assert.equal(planLanes(4, facts), 64);
  assert.equal(planLanes(100, facts), 8);
  assert.equal(planLanes(4000, facts), 1);
  assert.equal(planLanes(4, { ...facts, maxBindingBytes: 8 * 4 * 500 * 4 }), 8);
  assert.equal(planLanes(16, { ...facts, maxBindingBytes: 256 }), 1);
});

test('software adapters get the register or quad family, GPUs the tiled one unless the shape is tiny', () => {
  fc.assert(
    fc.property(gemms, weightGradients, ({ family: _, ...gemm }, { family: __, ...weights }) => {
      for (const [subgroupSize, family] of [
        [0, 'register'],
        [4, 'quad'],
        [32, 'quad'],
      ] as const) {
        const software = { software: true, subgroupSize };
        assert.equal(planGemm({ ...gemm, ...software }).family, family);
        const plan = planWeightGradient({ ...weights, ...software });
        if (!plan.direct) assert.equal(plan.family, family);
      }
    }),
  );
  const hardware = { software: false, subgroupSize: 32 };
  const large = { steps: 36, outChannels: 32, pixels: 196, size: 4608, maxBindingBytes: 128 * MIB };
  assert.equal(planGemm({ rows: 12544, columns: 32, steps: 36, pixels: 196, ...hardware }).family, 'tiled');
  assert.equal(planWeightGradient({ ...large, ...hardware }).family, 'tiled');
  assert.equal(planGemm({ rows: 12544, columns: 10, steps: 36, pixels: 196, ...hardware }).family, 'quad');
  assert.equal(planWeightGradient({ ...large, pixels: 4, ...hardware, subgroupSize: 0 }).family, 'register');
});

test('batchRuns covers the batch once, in order, within the limit and on aligned offsets', () => {
  const cases = fc.record({
    count: fc.integer({ min: 1, max: 3000 }),
    bytes: fc.array(
      fc.integer({ min: 1, max: 5000 }).map((n) => 4 * n),
      { minLength: 1, maxLength: 3 },
    ),
    limit: fc.integer({ min: 1024, max: MIB }),
  });
  let split = 0;
  fc.assert(
    fc.property(cases, ({ count, bytes, limit }) => {
      const runs = batchRuns(count, bytes, limit);
      let next = 0;
      for (const run of runs) {
        assert.equal(run.start, next);
        assert.ok(run.count >= 1);
        next += run.count;
      }
      assert.equal(next, count);
      if (runs.length === 1) return;
      split++;
      for (const run of runs) {
        for (const size of bytes) {
          assert.ok(run.count * size <= limit);
          assert.equal((run.start * size) % 256, 0);
        }
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(split > 50, `only ${split} cases were split`);
});

test('batchRuns splits only what does not fit, and gives up where not one aligned run fits', () => {
  assert.deepEqual(batchRuns(10, [400, 100], 4000), [{ start: 0, count: 10 }]);
  assert.deepEqual(batchRuns(10, [512, 256], 2048), [
    { start: 0, count: 4 },
    { start: 4, count: 4 },
    { start: 8, count: 2 },
  ]);
  assert.deepEqual(batchRuns(100, [4], 256), [
    { start: 0, count: 64 },
    { start: 64, count: 36 },
  ]);
  assert.deepEqual(batchRuns(100, [20], 1024), [{ start: 0, count: 100 }]);
});
