import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EigenvalueDecomposition, inverse, Matrix } from 'ml-matrix';
import { probeAccuracy, stratifiedFolds } from '../algorithms/comparators/classifiers.ts';
import { diagonalise } from '../algorithms/comparators/spectrum.ts';
import {
  hScore,
  type LabelledRows,
  leep,
  logMe,
  negativeConditionalEntropy,
  neighbourAccuracy,
  probabilities,
  regularisedHScore,
  type Score,
  transRate,
} from '../algorithms/index.ts';
import type { Random } from '../engine/index.ts';
import { assertClose } from './assertions.ts';
import { property } from './property.ts';

const shapes = fc.record({
  samples: fc.integer({ min: 8, max: 40 }),
  width: fc.integer({ min: 1, max: 60 }),
  classes: fc.integer({ min: 2, max: 5 }),
  /** As rectified features have them. */
  rectified: fc.boolean(),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never;

/** Classes of any sizes, each with a centre of its own. */
function drawn({ samples, width, classes, rectified }: Shape, random: Random): LabelledRows {
  const centres = random.fork('centres').normal(classes * width);
  const noise = random.fork('noise').normal(samples * width);
  const labels = Uint32Array.from(random.fork('labels').uniform(samples), (u, n) => {
    return n < classes ? n : Math.floor(u * classes);
  });
  const values = Float64Array.from(noise, (value, k) => {
    const x = value + centres[labels[Math.floor(k / width)]! * width + (k % width)]!;
    return rectified ? Math.max(0, x) : x;
  });
  return { values, width, labels };
}

const each: Record<string, (rows: LabelledRows) => Score> = {
  'LogME jmlr': (rows) => logMe(rows),
  'LogME icml': (rows) => logMe(rows, 'icml'),
  'H-score': hScore,
  'regularised H-score': regularisedHScore,
  TransRate: (rows) => transRate(rows),
  LEEP: (rows) => leep(probabilities(rows)),
  NCE: negativeConditionalEntropy,
  neighbours: (rows) => neighbourAccuracy(rows, 3),
};

function same(a: Score, b: Score, what: string, tolerance = 1e-7): void {
  if (a.value === null || b.value === null) assert.deepEqual(a, b, what);
  else {
    const apart = Math.abs(a.value - b.value);
    assert.ok(apart <= tolerance * Math.max(1, Math.abs(a.value)), `${what}: ${a.value} and ${b.value}`);
  }
}

const mapped = (rows: LabelledRows, row: (values: number[]) => number[]): LabelledRows => {
  const { values, width, labels } = rows;
  const turned = Array.from(labels, (_, n) => row([...values.subarray(n * width, (n + 1) * width)]));
  return { values: Float64Array.from(turned.flat()), width: turned[0]!.length, labels };
};

test('the order of samples and the numbering of classes say nothing', async () => {
  await property(shapes, 60, async (shape, random) => {
    const rows = drawn(shape, random);
    const order = random.fork('order').permutation(shape.samples);
    const shuffled = {
      ...rows,
      values: Float64Array.from({ length: rows.values.length }, (_, k) => {
        return rows.values[order[Math.floor(k / rows.width)]! * rows.width + (k % rows.width)]!;
      }),
      labels: order.map((n) => rows.labels[n]!),
    };
    const numbers = random.fork('numbers').permutation(shape.classes);
    const renumbered = { ...rows, labels: rows.labels.map((label) => 3 * numbers[label]!) };
    for (const [name, score] of Object.entries(each)) {
      // Rectified samples may be at equal distances, where the first counts as nearer.
      if (name === 'neighbours' && shape.rectified) continue;
      same(score(rows), score(shuffled), `${name}, shuffled`);
      same(score(rows), score(renumbered), `${name}, renumbered`);
    }
    const accuracy = probeAccuracy(rows);
    same(accuracy, probeAccuracy({ ...rows, labels: rows.labels.map((label) => label + 7) }), 'probe');
  });
});

test('mirrored features score alike, as do features beside others that are always 0', async () => {
  await property(shapes, 60, async (shape, random) => {
    const rows = drawn(shape, random);
    const normal = random.fork('mirror').normal(shape.width);
    const square = normal.reduce((sum, x) => sum + x * x, 0);
    const mirrored = mapped(rows, (row) => {
      const along = row.reduce((sum, x, j) => sum + x * normal[j]!, 0) / square;
      return row.map((x, j) => x - 2 * along * normal[j]!);
    });
    const widened = mapped(rows, (row) => [...row, 0, 0, 0]);
    for (const name of ['LogME jmlr', 'LogME icml', 'regularised H-score', 'TransRate', 'neighbours']) {
      same(each[name]!(rows), each[name]!(mirrored), `${name}, mirrored`);
      // Shrinkage goes by the mean variance of all features, of none too.
      if (name !== 'regularised H-score') same(each[name]!(rows), each[name]!(widened), `${name}, widened`);
    }
    const wide = hScore(widened);
    if (wide.value !== null) same(hScore(rows), wide, 'H-score, widened');
  });
});

test('the H-score does not change with scales, shifts and shears, and lies between 0 and classes - 1', async () => {
  await property(shapes, 60, async (shape, random) => {
    const rows = drawn(shape, random);
    const [factors, shifts] = ['factors', 'shifts'].map((name) => random.fork(name).normal(shape.width));
    const changed = mapped(rows, (row) => {
      return row.map((x, j) => Math.exp(3 * factors![j]!) * (x + 0.5 * (row[j - 1] ?? 0)) + shifts![j]!);
    });
    const score = hScore(rows);
    same(score, hScore(changed), 'changed', 1e-6);
    if (score.value === null) return;
    assert.ok(score.value >= 0 && score.value <= shape.classes - 1 + 1e-9);
    const shifted = mapped(rows, (row) => row.map((x, j) => 4 * x + shifts![j]!));
    same(regularisedHScore(rows), regularisedHScore(shifted), 'regularised, shifted and scaled');
    same(
      transRate(rows),
      transRate(mapped(rows, (row) => row.map((x, j) => x + shifts![j]!))),
      'TransRate, shifted',
    );
  });
});

test('LEEP and NCE lie between minus the entropy of the labels and 0, NCE at least at LEEP of sure predictions', async () => {
  await property(shapes, 100, async (shape, random) => {
    const rows = drawn(shape, random);
    const share = (label: number) => rows.labels.filter((each) => each === label).length / shape.samples;
    const entropy = -[...new Set(rows.labels)].reduce((sum, c) => sum + share(c) * Math.log(share(c)), 0);
    const [soft, sure] = [leep(probabilities(rows)).value!, negativeConditionalEntropy(rows).value!];
    assert.ok(soft <= 0 && soft >= Math.log(Number.MIN_VALUE));
    assert.ok(sure <= 0 && sure >= -entropy - 1e-12);
    const flat = mapped(rows, (row) => row.map(() => 1));
    same(leep(probabilities(flat)), { value: -entropy }, 'LEEP of predictions that say nothing');
    same(negativeConditionalEntropy(flat), { value: -entropy }, 'NCE of predictions that say nothing');
    const oneHot = mapped(rows, (row) => row.map((x) => (x === Math.max(...row) ? 1 : 0)));
    if (!shape.rectified) same(leep(oneHot), { value: sure }, 'LEEP of sure predictions is NCE', 1e-12);
  });
});

test('features that name the class score as high as there is', async () => {
  await property(shapes, 30, async (shape, random) => {
    const { classes } = shape;
    const samples = 10 * classes;
    const rows = drawn({ ...shape, samples, width: classes }, random);
    const labels = rows.labels.map((_, n) => n % classes);
    const naming = {
      width: classes,
      labels,
      values: Float64Array.from({ length: samples * classes }, (_, k) => {
        return +(labels[Math.floor(k / classes)] === k % classes);
      }),
    };
    same(hScore(naming), { value: classes - 1 }, 'H-score');
    same(leep(naming), { value: 0 }, 'LEEP');
    same(negativeConditionalEntropy(naming), { value: 0 }, 'NCE');
    same(probeAccuracy(naming), { value: 1 }, 'probe');
    same(neighbourAccuracy(naming), { value: 1 }, 'neighbours');
    const noise = { ...naming, values: Float64Array.from(random.fork('other').normal(samples * classes)) };
    assert.ok(logMe(naming).value! > logMe(noise).value!);
    assert.ok(regularisedHScore(naming).value! > regularisedHScore(noise).value!);
  });
});

test('LogME is the evidence by its definition, with more features than samples too', async () => {
  await property(shapes, 40, async (shape, random) => {
    const rows = drawn(shape, random);
    same(logMe(rows), { value: evidenceByDefinition(rows) }, 'LogME', 1e-6);
  });
});

/** LogME by its fixed point with every matrix written out. */
function evidenceByDefinition({ values, width, labels }: LabelledRows): number {
  const samples = labels.length;
  const x = Matrix.from1DArray(samples, width, values);
  const products = x.transpose().mmul(x);
  const present = [...new Set(labels)];
  const each = present.map((label) => {
    const y = Matrix.columnVector(Array.from(labels, (own) => +(own === label)));
    let [alpha, beta] = [1, 1];
    for (let step = 1; ; step++) {
      const ratio = alpha / beta;
      const precision = Matrix.eye(width).mul(alpha).add(Matrix.mul(products, beta));
      const covariance = inverse(precision);
      const m = covariance.mmul(x.transpose()).mmul(y).mul(beta);
      const gamma = width - alpha * covariance.trace();
      const weights = m.dot(m);
      const left = Matrix.sub(y, x.mmul(m));
      const errors = left.dot(left);
      alpha = gamma / (weights + 1e-5);
      beta = (samples - gamma) / (errors + 1e-5);
      if (step < 11 && Math.abs(alpha / beta - ratio) / ratio > 1e-3) continue;
      const last = Matrix.eye(width).mul(alpha).add(Matrix.mul(products, beta));
      const { realEigenvalues } = new EigenvalueDecomposition(last, { assumeSymmetric: true });
      const logDeterminant = realEigenvalues.reduce((sum, value) => sum + Math.log(value), 0);
      const twice =
        width * Math.log(alpha) +
        samples * Math.log(beta / 2 / Math.PI) -
        logDeterminant -
        beta * errors -
        alpha * weights;
      return twice / 2 / samples;
    }
  });
  return each.reduce((sum, value) => sum + value, 0) / present.length;
}

const symmetric = fc.record({
  size: fc.integer({ min: 1, max: 30 }),
  rank: fc.integer({ min: 0, max: 30 }),
  spread: fc.constantFrom(0, 1, 6),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

test('eigenvalues and vectors put a symmetric matrix together again, as the matrix library has them', async () => {
  await property(symmetric, 200, async ({ size, rank, spread }, random) => {
    const factors = random.fork('factors').normal(size * rank);
    const signs = random.fork('signs').uniform(rank);
    const matrix = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        for (let k = 0; k < rank; k++) {
          const value = Math.exp(-spread * k) * (signs[k]! < 0.2 ? -1 : 1);
          matrix[i * size + j]! += value * factors[i * rank + k]! * factors[j * rank + k]!;
        }
      }
    }
    const vectors = Float64Array.from({ length: size * size }, (_, k) => +(k % (size + 1) === 0));
    const values = diagonalise(matrix.slice(), size, vectors, size);
    const again = matrix.map((_, at) => {
      const [i, j] = [Math.floor(at / size), at % size];
      return values.reduce(
        (sum, value, k) => sum + value * vectors[k * size + i]! * vectors[k * size + j]!,
        0,
      );
    });
    if (rank > 0) assertClose(again, matrix, 1e-12, 'the matrix');
    const library = new EigenvalueDecomposition(Matrix.from1DArray(size, size, matrix), {
      assumeSymmetric: true,
    });
    const ascending = (list: Iterable<number>) => Float64Array.from(list).sort();
    if (rank > 0) assertClose(ascending(values), ascending(library.realEigenvalues), 1e-12, 'eigenvalues');
    else assert.ok(values.every((value) => value === 0));
  });
});

test('folds are as large as each other, over all samples and over those of a class', async () => {
  const cases = fc.record({
    samples: fc.integer({ min: 10, max: 80 }),
    classes: fc.integer({ min: 1, max: 6 }),
    folds: fc.integer({ min: 2, max: 7 }),
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
  });
  await property(cases, 200, async ({ samples, classes, folds }, random) => {
    const labels = Uint32Array.from(random.uniform(samples), (u) => Math.floor(u * classes));
    const fold = stratifiedFolds(labels, folds);
    assert.equal(fold.length, samples);
    const sizes = (wanted: (n: number) => boolean) =>
      Array.from(
        { length: folds },
        (_, f) => [...fold.keys()].filter((n) => fold[n] === f && wanted(n)).length,
      );
    const even = (counts: number[]) => assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
    even(sizes(() => true));
    for (let c = 0; c < classes; c++) even(sizes((n) => labels[n] === c));
  });
});
