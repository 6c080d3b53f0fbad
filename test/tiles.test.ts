import assert from 'node:assert/strict';
import process from 'node:process';
import { after, test } from 'node:test';
import {
  type Conv2dOptions,
  conv2d,
  Gpu,
  type GpuOptions,
  linear,
  Random,
  SampleSums,
  type Shape,
  Tape,
  type Tile,
  type TileChoice,
} from '../engine/index.ts';
import { planGemm, planWeightGradient } from '../engine/planner.ts';
import { reference } from '../engine/reference.ts';
import { fits, type Planned } from '../engine/tuning.ts';
import { type Case, checkInMidGraph, checkPerSample, gaussian, upload } from './op_checks.ts';

let forced: TileChoice | undefined;

async function open(options: GpuOptions): Promise<Gpu> {
  const gpu = await Gpu.create({ ...options, tile: (shape) => forced?.(shape) });
  after(() => gpu.dispose());
  return gpu;
}

const register = await open({ family: 'register' });
const bases: Record<string, Gpu> = { register };
// Where registers are wide, direct kernels stand aside for the others.
if (register.facts.subgroupSize >= 8) bases.quad = await open({ family: 'quad' });

/** Every length with every count of columns, and each with both families and workgroups. */
const variants: Tile[] = [
  { tileRows: 4, tileGroups: 1, tilePixels: 4 } as const,
  { tileRows: 7, tileGroups: 2, tilePixels: 7 } as const,
  { tileRows: 8, tileGroups: 2, tilePixels: 4 } as const,
].flatMap((length, i) =>
  ([1, 2, 4] as const).map((tileColumns, j): Tile => {
    const family = (i + (j === 2 ? 1 : 0)) % 2 === 0 ? 'quad' : 'register';
    return { ...length, tileColumns, family, workgroup: j === 1 ? 64 : 16 };
  }),
);

/** Mesa compiles each of them for half a second, so that by default every other is left out: no value of any choice. */
const thorough = Boolean(process.env.FATHOM_THOROUGH) || register.opened.driver === 'embedded';
const taken = variants.filter((_, i) => thorough || i % 2 === 0);

/** What a shape allows of a tile. */
function allowed(shape: Planned, tile: Tile): Tile {
  return Object.fromEntries(
    Object.entries(tile).filter(([name, value]) => fits(shape, { [name]: value } as Tile)),
  );
}

/** The kernel that a plan takes, with one of the plan's choices. */
function* choicesOf({ kind, facts }: Planned, tile: Tile): Generator<string> {
  const product = kind === 'product';
  const { direct, family, tileColumns, workgroup, ...plan } = product
    ? planGemm(facts, tile)
    : planWeightGradient(facts, tile);
  const length =
    'tileRows' in plan
      ? `${plan.tileRows} rows`
      : direct
        ? `${plan.tilePixels} pixels`
        : `${plan.tileGroups} groups`;
  for (const choice of [family, length, `${tileColumns} columns`, `groups of ${workgroup}`]) {
    yield `${direct ? 'direct ' : ''}${kind}: ${choice}`;
  }
}

function conv(x: Shape, w: Shape, options: Conv2dOptions): (random: Random) => Case {
  return (random) => ({
    expected: reference.conv2d(options),
    apply: (tape, a, b) => conv2d(tape, a!, b!, options),
    inputs: [gaussian(random, x), gaussian(random, w)],
  });
}

const cases: Record<string, (random: Random) => Case> = {
  'three taps, channels by fours': conv([2, 5, 14, 8], [20, 8, 3, 3], { padding: 1 }),
  'five taps, single channels': conv([3, 6, 14, 3], [17, 3, 5, 5], { padding: 2 }),
  'at a stride': conv([2, 7, 6, 16], [18, 16, 3, 3], { stride: 2, padding: 1 }),
  linear: (random) => ({
    expected: reference.linear(),
    apply: (tape, a, b) => linear(tape, a!, b!),
    inputs: [gaussian(random, [37, 136]), gaussian(random, [20, 136])],
  }),
};

/** Output, both gradients, and squared gradients. */
async function everything(gpu: Gpu, { apply, inputs }: Case): Promise<Float32Array[]> {
  const reads = gpu.scope(() => {
    const [x, w] = inputs.map((input) => upload(gpu, input));
    const tape = new Tape(gpu).watch([x!, w!]);
    const y = apply(tape, x!, w!);
    using sums = new SampleSums(gpu, [w!], 'square');
    tape.accumulate(y, sums);
    return [y, ...tape.gradients(y, [x!, w!]), ...sums.totals()].map((tensor) => tensor.read());
  });
  return Promise.all(reads);
}

const seen = new Set<string>();

for (const [base, gpu] of Object.entries(bases)) {
  for (const [name, make] of Object.entries(cases)) {
    if (base === 'register' && bases.quad && !/taps/.test(name)) continue;
    test(`${base}: every tile forced is right, and has the same bits as the planner's own: ${name}`, async () => {
      forced = undefined;
      const own = await everything(gpu, make(new Random(7)));
      for (const variant of taken) {
        forced = (shape) => {
          const tile = allowed(shape, variant);
          for (const choice of choicesOf(shape, tile)) seen.add(choice);
          return tile;
        };
        const label = JSON.stringify(variant);
        const forcedResults = await everything(gpu, make(new Random(7)));
        for (const [i, values] of own.entries()) {
          assert.deepEqual(forcedResults[i], values, `result ${i} of ${label}`);
        }
        await checkInMidGraph(gpu, make(new Random(7)), new Random(8));
        await checkPerSample(gpu, make(new Random(7)), new Random(9));
      }
    });
  }
}

test('all choices of all kernels were among them', () => {
  const lengths: Record<string, string[]> = {
    product: ['4 rows', '8 rows'],
    'direct product': ['4 rows', '7 rows', '8 rows'],
    gradient: ['1 groups', '2 groups'],
    squares: ['1 groups', '2 groups'],
    'direct gradient': ['4 pixels', '7 pixels'],
    'direct squares': ['4 pixels', '7 pixels'],
  };
  const families = register.facts.subgroupSize >= 4 ? ['register', 'quad'] : ['register'];
  const common = [...families, '1 columns', '2 columns', '4 columns', 'groups of 16', 'groups of 64'];
  const missing = Object.entries(lengths).flatMap(([kernel, own]) =>
    [...own, ...common].map((choice) => `${kernel}: ${choice}`).filter((choice) => !seen.has(choice)),
  );
  assert.deepEqual(missing, []);
});
