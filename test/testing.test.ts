import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { diagonalFisher, type FisherDiagonal, fisherDistance, trace, train } from '../algorithms/index.ts';
import {
  type AxiomName,
  architectures,
  directedPair,
  distanceAxioms,
  type FisherMeasure,
  fisherDiagonals,
  fisherPair,
  fisherTriple,
  labelledExamples,
  type Property,
  type SampleAxiomName,
  type SampleMeasure,
  sampleAxioms,
  tasks,
} from '../algorithms/testing.ts';
import { type Examples, gatherImages, gatherLabels, type Task } from '../data/index.ts';
import { Gpu, Random } from '../engine/index.ts';
import { Network } from '../models/index.ts';
import { tinyNet } from './tiny.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const SEED = 1;

/** Fails unless exactly the `broken` properties fail, each with a message that matches its pattern. */
async function assertBroken<Name extends string>(
  properties: Record<Name, Property>,
  broken: Partial<Record<Name, RegExp>>,
): Promise<void> {
  for (const [name, property] of Object.entries(properties) as [Name, Property][]) {
    const outcome = await fc.check(property, { seed: SEED });
    const pattern = broken[name];
    assert.equal(outcome.failed, pattern !== undefined, `${name}: ${fc.defaultReportMessage(outcome)}`);
    if (pattern) assert.match(String(outcome.errorInstance), pattern);
  }
}

/** All entries at unit trace. */
function shares(fisher: FisherDiagonal): number[] {
  const total = trace(fisher);
  return [...fisher.entries.values()].flatMap(({ data }) => Array.from(data, (value) => value / total));
}

function summed(f: number[], g: number[], term: (a: number, b: number, i: number) => number): number {
  return f.reduce((sum, value, i) => sum + term(value, g[i]!, i), 0);
}

const planted: Record<string, { measure: FisherMeasure; broken: Partial<Record<AxiomName, RegExp>> }> = {
  'a negative distance': {
    measure: (f, g) => -fisherDistance(f, g),
    broken: {
      nonNegativity: /the distance is -[\d.]+, not a finite number of at least 0/,
      range: /outside \[0, 1\]/,
      triangle: /d\(f, h\) = -/,
    },
  },
  'a distance that is not a number where entries are zero': {
    measure: (f, g) => {
      const d = summed(shares(f), shares(g), (a, b) => (a === b ? 0 : a * Math.log(a / b)));
      return Number.isFinite(d) ? fisherDistance(f, g) : Number.NaN;
    },
    broken: {
      nonNegativity: /the distance is NaN/,
      range: /the distance is NaN/,
      triangle: /NaN/,
      scaleInvariance: /from NaN to NaN/,
      orderInvariance: /from NaN to NaN/,
    },
  },
  'one that takes only the very same object for the same': {
    measure: (f, g) => (f === g ? 0 : 0.5 + fisherDistance(f, g) / 2),
    broken: { identity: /to an equal copy is 0\.5, not exactly 0/ },
  },
  'one that is only nearly 0 between equals': {
    measure: (f, g) => Math.max(1e-13, fisherDistance(f, g)),
    broken: { identity: /to itself is 1e-13, not exactly 0/ },
  },
  'an unnormalised one': {
    measure: (f, g) => fisherDistance(f, g, { normalise: 'none' }),
    broken: {
      range: /the distance is [\d.e+]+, outside/,
      scaleInvariance: /Scaling the (source|target) by [\d.e-]+ changes the distance from/,
    },
  },
  'one that depends on the scale of the target': {
    measure: (f, g) => (fisherDistance(f, g) > 0 ? (trace(g) > 1 ? 0.8 : 0.7) : 0),
    broken: {
      scaleInvariance: /Scaling the target by [\d.e-]+ changes the distance from 0\.[78] to 0\.[78]/,
    },
  },
  'the squared Hellinger distance': {
    measure: (f, g) => fisherDistance(f, g, { value: 'd2' }),
    broken: { triangle: /the triangle inequality fails: d\(f, h\) = .* > d\(f, g\) \+ d\(g, h\) = / },
  },
  'the squared Euclidean distance': {
    measure: (f, g) => summed(shares(f), shares(g), (a, b) => (a - b) ** 2) / 2,
    broken: { triangle: /the triangle inequality fails/ },
  },
  'one that depends on the order of entries': {
    measure: (f, g) => summed(shares(f), shares(g), (a, b, i) => Math.abs(a - b) / (2 + i)),
    broken: { orderInvariance: /Reordering both Fishers alike changes the distance/ },
  },
};

for (const [name, { measure, broken }] of Object.entries(planted)) {
  test(`${name} breaks ${Object.keys(broken).join(', ')} and nothing else`, async () => {
    const options = { range: [0, 1], tolerance: 1e-12 } as const;
    await assertBroken(distanceAxioms(measure, options), broken);
    const later: FisherMeasure = async (f, g) => measure(f, g);
    await assertBroken(distanceAxioms(later, options), broken);
  });
}

test('the Fisher task distance breaks none, with equal and unequal heads, also when it is awaited', async () => {
  for (const heads of ['equal', 'unequal'] as const) {
    const options = { range: [0, 1], tolerance: 1e-12, heads } as const;
    await assertBroken(distanceAxioms(fisherDistance, options), {});
    await assertBroken(
      distanceAxioms(async (f, g) => fisherDistance(f, g), options),
      {},
    );
  }
});

test('a measure that throws fails its properties, with its own message', async () => {
  const measure = () => {
    throw new Error('out of order');
  };
  const axioms = distanceAxioms(measure, { range: [0, 1], tolerance: 0 });
  const all = Object.keys(axioms).map((name) => [name, /out of order/]);
  await assertBroken(axioms, Object.fromEntries(all));
});

test('Fishers of one network: names, shapes, entries as described', () => {
  const seen = new Set<string>();
  for (const fishers of fc.sample(fisherDiagonals(3, { heads: 'unequal' }), { numRuns: 300, seed: SEED })) {
    const [first] = fishers as [FisherDiagonal];
    assert.equal(fishers.length, 3);
    for (const { entries } of fishers) {
      assert.deepEqual([...entries.keys()], [...first.entries.keys()]);
      let body = 0;
      for (const [name, { shape, data }] of entries) {
        const other = first.entries.get(name)!.shape;
        assert.deepEqual(shape.slice(1), other.slice(1));
        if (shape[0] !== other[0]) seen.add('unequal heads');
        if (!name.startsWith('head.')) {
          assert.equal(shape[0], other[0]);
          body += data.reduce((a, b) => a + b, 0);
        }
        assert.equal(
          data.length,
          shape.reduce((a, b) => a * b, 1),
        );
        for (const value of data) {
          assert.ok(value === 0 || (value >= 2 ** -100 && value <= 2 ** 100), `${value}`);
          seen.add(value === 0 ? 'zero' : value < 2 ** -60 ? 'tiny' : value > 2 ** 60 ? 'huge' : 'ordinary');
        }
      }
      assert.ok(body > 0);
    }
  }
  assert.deepEqual([...seen].sort(), ['huge', 'ordinary', 'tiny', 'unequal heads', 'zero']);
  const [pair] = fc.sample(fisherPair(), 1);
  const [triple] = fc.sample(fisherTriple(), 1);
  assert.deepEqual([pair!.length, triple!.length], [2, 3]);
});

// Measures of samples. The gradient of a sample is made up from its pixels and label.

const CASE = { input: [2, 2, 1], classes: 3 } as const;

function gradients(examples: Examples): number[][] {
  const positions = Uint32Array.from(examples.index.keys());
  const pixels = gatherImages(examples, positions);
  return Array.from(gatherLabels(examples, positions), (label, n) =>
    Array.from(pixels.subarray(4 * n, 4 * n + 4), (pixel, i) => (pixel - 0.5) * (1 + ((label + i) % 3))),
  );
}

/** One entry a pixel: what `reduce` makes of the samples' gradients by it. */
const perPixel = (examples: Examples, reduce: (gradients: number[]) => number): FisherDiagonal => {
  const rows = gradients(examples);
  const data = Float32Array.from({ length: 4 }, (_, i) => reduce(rows.map((row) => row[i]!)));
  return { entries: new Map([['w', { shape: [4], data }]]), samples: rows.length };
};
const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
const meanSquare = (values: number[]) => mean(values.map((value) => value ** 2));

const plantedSums: Record<
  string,
  { measure: SampleMeasure; broken: Partial<Record<SampleAxiomName, RegExp>> }
> = {
  'the mean of squares': { measure: (examples) => perPixel(examples, meanSquare), broken: {} },
  'squared batch means': {
    measure: (examples, batch) =>
      perPixel(examples, (values) => {
        const passes = Array.from({ length: Math.ceil(values.length / batch) }, (_, i) =>
          values.slice(i * batch, (i + 1) * batch),
        );
        return passes.reduce((sum, pass) => sum + mean(pass) ** 2 * pass.length, 0) / values.length;
      }),
    broken: {
      batchSize: /passes of \d+ instead of \d+: w\[\d\] is .*, not .*, off by .* of the largest entry/,
      union: /the weighted mean of parts of \d+ and \d+: w/,
    },
  },
  'the sum of squares': {
    measure: (examples) => perPixel(examples, (values) => meanSquare(values) * values.length),
    broken: { union: /the weighted mean/ },
  },
  'a mean that leans on the last sample': {
    measure: (examples) => perPixel(examples, (values) => meanSquare([...values, values.at(-1)!])),
    broken: { sampleOrder: /another order of samples: w/, union: /the weighted mean/ },
  },
};

for (const [name, { measure, broken }] of Object.entries(plantedSums)) {
  const names = Object.keys(broken).join(', ');
  test(`${name} breaks ${names || 'no axiom of samples'}${names && ' and nothing else'}`, async () => {
    await assertBroken(sampleAxioms(measure, { examples: labelledExamples(CASE), tolerance: 2e-6 }), broken);
  });
}

test('the Fisher of random networks obeys the axioms of samples, to the bit for the chunk; batch means do not', async () => {
  const few = { seed: SEED, numRuns: 2, endOnFailure: true };
  for (const architecture of fc.sample(architectures(), { numRuns: 2, seed: SEED })) {
    using network = Network.initialise(gpu, architecture, new Random(SEED));
    const examples = labelledExamples(architecture);
    const fisher: SampleMeasure = (all, chunk) => diagonalFisher(network, all, { chunk });
    const { sampleOrder, union } = sampleAxioms(fisher, { examples, tolerance: 2e-6 });
    const { batchSize } = sampleAxioms(fisher, { examples, tolerance: 0 });
    for (const axiom of [sampleOrder, union, batchSize]) await fc.assert(axiom, few);
    const means: SampleMeasure = (all, size) =>
      diagonalFisher(network, all, { estimator: { name: 'batch', size } });
    const outcome = await fc.check(sampleAxioms(means, { examples, tolerance: 0.01 }).batchSize, few);
    assert.match(String(outcome.errorInstance), /passes of \d+ instead of/);
  }
});

// Measures of tasks.

async function taskDistance(source: Task, target: Task): Promise<number> {
  const labelSpace = Math.max(source.classes, target.classes);
  const fishers: FisherDiagonal[] = [];
  for (const task of [source, target]) {
    using network = Network.initialise(gpu, tinyNet(task.classes), new Random(SEED));
    await train(network, task, { epochs: 1, batch: 8, learningRate: 1e-2, random: new Random(SEED) });
    fishers.push(await diagonalFisher(network, target.test, { labelSpace }));
  }
  return fisherDistance(fishers[0]!, fishers[1]!);
}

test('the Fisher task distance is directed: a witness is found', async () => {
  const found = await directedPair(taskDistance, tasks([8, 8, 1]), { tolerance: 1e-3, pairs: 5, seed: SEED });
  assert.ok(Math.abs(found.there - found.back) > 1e-3);
});

test('a symmetric measure of tasks is caught', async () => {
  const symmetric = (a: Task, b: Task) => Math.abs(a.classes - b.classes) / 4;
  await assert.rejects(
    directedPair(symmetric, tasks([2, 2, 1]), { tolerance: 0, pairs: 50 }),
    /the distance looks symmetric: of 50 pairs of tasks none differs by more than 0 /,
  );
  const nearly = (a: Task, b: Task) => symmetric(a, b) + (a.classes > b.classes ? 1e-9 : 0);
  await assert.rejects(directedPair(nearly, tasks([2, 2, 1]), { tolerance: 1e-6 }), /looks symmetric/);
});

test('tasks: every class in every split, no image in two', () => {
  for (const task of fc.sample(tasks([4, 4, 2]), 20)) {
    const splits = [task.train, task.validation, task.test];
    for (const { labels } of splits) assert.equal(new Set(labels).size, task.classes);
    const index = splits.flatMap((split) => [...split.index]);
    assert.equal(new Set(index).size, index.length);
    assert.equal(task.train.images.pixels.length, task.train.images.count * 32);
  }
});

test('the example of docs/distance.md runs as printed', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const page = await readFile(`${root}docs/distance.md`, 'utf8');
  const [, example] = page.match(/```ts\n(import \{ test[\s\S]*?)```/)!;
  const file = `${root}example-${process.pid}.test.ts`;
  const flags =
    'Deno' in globalThis
      ? ['test', '-A', '--no-check']
      : ['--import', 'tsx', '--conditions=fathom-source', '--test-reporter=tap'];
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  await writeFile(file, example!);
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, file], { cwd: root, env });
    for (const name of Object.keys(distanceAxioms(fisherDistance, { range: [0, 1], tolerance: 0 }))) {
      assert.match(stdout, new RegExp(`ok \\d+ - ${name}\\n|${name} \\.\\.\\. .*ok`));
    }
  } finally {
    await rm(file);
  }
});
