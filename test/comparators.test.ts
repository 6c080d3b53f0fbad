import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  comparators,
  hScore,
  type LabelledRows,
  leep,
  logMe,
  negativeConditionalEntropy,
  neighbourAccuracy,
  probabilities,
  regularisedHScore,
  type Score,
  task2vecAsymmetric,
  task2vecCosine,
  task2vecEmbedding,
  transRate,
} from '../algorithms/index.ts';

/** Where the data that comes with scikit-learn lies: FATHOM_SKLEARN, else where Debian's package puts it. */
const SKLEARN = process.env.FATHOM_SKLEARN ?? '/usr/lib/python3/dist-packages/sklearn/datasets/data';

function rowsOf(lines: string[]): LabelledRows {
  const table = lines.map((line) => line.split(',').map(Number));
  const width = table[0]!.length - 1;
  return {
    values: Float64Array.from(table.flatMap((row) => row.slice(0, width))),
    width,
    labels: Uint32Array.from(table, (row) => row[width]!),
  };
}

const linesOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim().split('\n');
const fixture = (name: string) =>
  rowsOf(linesOf(readFileSync(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)))).slice(1));

const toy: LabelledRows = {
  values: Float64Array.from({ length: 36 }, (_, k) => Math.sin(1 + 3 * Math.floor(k / 3) + (k % 3))),
  width: 3,
  labels: Uint32Array.from({ length: 12 }, (_, i) => i % 3),
};
const toyLogits: LabelledRows = {
  values: Float64Array.from({ length: 48 }, (_, k) => Math.cos(0.5 + 4 * Math.floor(k / 4) + (k % 4))),
  width: 4,
  labels: toy.labels,
};

const scores: Record<string, (rows: LabelledRows) => Score> = {
  'LogME jmlr': (rows) => logMe(rows),
  'LogME icml': (rows) => logMe(rows, 'icml'),
  'LogME tll': (rows) => logMe(rows, 'tll'),
  'H-score': hScore,
  'regularised H-score': regularisedHScore,
  TransRate: (rows) => transRate(rows),
};

/** In the order of `scores`, from the authors' own code in float64; none of TLL's LogME but for the toy. */
const vectors: [name: string, read: () => LabelledRows | undefined, values: (number | undefined)[]][] = [
  ['the toy', () => toy, [-0.870549845, -0.871445114, -0.86963239, 0.160344797, 0.1539054, 0.018342653]],
  [
    'iris',
    () => fixture('iris.csv'),
    [-0.160060244, -0.160061574, undefined, 1.191898825, 1.177842499, 0.589405406],
  ],
  ['wine', () => fixture('wine.csv'), [-0.004461018, -0.004465391, undefined, 1.705821, 0.766098, 2.655669]],
  [
    'breast_cancer',
    () => {
      const path = `${SKLEARN}/breast_cancer.csv`;
      return existsSync(path) ? rowsOf(linesOf(readFileSync(path)).slice(1)) : undefined;
    },
    [-0.185024357, -0.185024503, undefined, 0.774325, 0.577058, 2.686977],
  ],
  [
    'digits',
    () => {
      const path = `${SKLEARN}/digits.csv.gz`;
      return existsSync(path) ? rowsOf(linesOf(gunzipSync(readFileSync(path)))) : undefined;
    },
    [0.270277455, 0.270215718, undefined, 5.917909, 5.851433, 50.279312],
  ],
];

for (const [name, read, values] of vectors) {
  const rows = read();
  const skip = rows
    ? false
    : `scikit-learn's data are not here: install python3-sklearn, or set FATHOM_SKLEARN to its datasets/data`;
  test(`scores of ${name} are those of the published code`, { skip }, () => {
    for (const [i, [what, score]] of Object.entries(scores).entries()) {
      if (values[i] !== undefined) near(score(rows!), values[i], 1e-6, what);
    }
  });
}

test('LEEP and NCE of the toy are those of the published code', () => {
  near(leep(probabilities(toyLogits)), -0.925849979, 1e-8, 'LEEP');
  near(negativeConditionalEntropy(toyLogits), -0.46209812, 1e-8, 'NCE');
});

test('neighbours of iris agree as in the tests of TransformerRanker', () => {
  const iris = fixture('iris.csv');
  for (const [neighbours, share] of [
    [1, 0.96],
    [3, 0.96],
    [5, 0.966667],
    [13, 0.966667],
  ] as const) {
    near(neighbourAccuracy(iris, neighbours), share, 1e-6, `${neighbours}`);
  }
});

const weight = (values: number[], shape: number[]) => ({ shape, data: Float64Array.from(values) });
const fisher = (conv: number[], norm: number[], head: number[]) => ({
  entries: new Map([
    ['conv.weight', weight(conv, [2, 1, 1, 2])],
    ['conv.bias', weight([9, 9], [2])],
    ['norm.weight', weight(norm, [2])],
    ['fc.weight', weight(head, [head.length / 2, 2])],
  ]),
});
const head = ['fc.weight', 'fc.bias'];

test('task2vec takes filter means of all weights but the head', () => {
  const f = fisher([1, 3, 0, 0], [4, 0], [5, 6]);
  assert.deepEqual([...task2vecEmbedding(f, head)], [2, 0, 4, 0]);
});

test('task2vec distances of two small Fishers are those worked out by hand', () => {
  const source = fisher([1, 3, 0, 2], [4, 0], [5, 6]);
  const target = fisher([2, 2, 3, 3], [0, 0], [5, 6, 7, 8]);
  // Embeddings (2, 1, 4, 0) and (2, 3, 0, 0): shares (1/2, 1/4, 1) and (1/2, 3/4, 0), none for the last filter.
  const cosine = 1 - 7 / 16 / Math.sqrt((21 / 16) * (13 / 16));
  near(task2vecCosine({ source, target, head }), cosine, 1e-12, 'cosine');
  // Of (2, 1, 4, 0) and (1, 1, 1, 1): shares (2/3, 1/2, 4/5, 0) and (1/3, 1/2, 1/5, 1).
  const shares = [2 / 3, 1 / 2, 4 / 5, 0];
  const product = shares.reduce((sum, p) => sum + p * (1 - p), 0);
  const squares = (values: number[]) => values.reduce((sum, p) => sum + p * p, 0);
  const trivial = 1 - product / Math.sqrt(squares(shares) * squares(shares.map((p) => 1 - p)));
  near(task2vecAsymmetric({ source, target, head }), cosine - 0.15 * trivial, 1e-12, 'asymmetric');
  near(task2vecCosine({ source: target, target: source, head }), cosine, 1e-12, 'turned round');
  near(task2vecCosine({ source, target: source, head }), 0, 1e-12, 'itself');
  const scaled = (f: typeof source) => ({
    entries: new Map(
      [...f.entries].map(([n, { shape, data }]) => [n, weight([...data.map((x) => x * 1e-9)], shape)]),
    ),
  });
  near(
    task2vecCosine({ source: scaled(source), target: scaled(target), head }),
    cosine,
    1e-12,
    'both scaled',
  );
});

test('what cannot be scored says why', () => {
  const none = (score: Score, reason: RegExp) => {
    assert.equal(score.value, null);
    assert.match((score as { reason: string }).reason, reason);
  };
  const single = { ...toy, labels: toy.labels.map(() => 2) };
  for (const comparator of comparators) {
    if (comparator.needs === 'features' || comparator.needs === 'logits') {
      none(comparator.score(single), /one class only/);
    }
  }
  const zero = { ...toy, values: toy.values.map(() => 0) };
  none(logMe(zero), /All features are 0/);
  none(hScore(zero), /constant/);
  none(regularisedHScore(zero), /constant/);
  // Three features that are constant but for rounding.
  none(hScore({ ...toy, values: toy.values.map(() => 0.1) }), /constant/);
  const naming = { ...toy, values: toy.values.map((_, k) => +(k % 3 === Math.floor(k / 3) % 3)) };
  none(logMe(naming, 'tll'), /fitted exactly/);
  assert.ok(logMe(naming).value! > 0);
  const few = { values: toy.values.slice(0, 12), width: 4, labels: Uint32Array.of(0, 1, 0) };
  none(hScore(few), /3 samples span no more dimensions/);
  none(neighbourAccuracy(few), /no 5 neighbours/);
  none(named('probe-accuracy', 'features').score(few), /single sample/);
  const empty = fisher([0, 0, 0, 0], [0, 0], [1, 1]);
  none(task2vecCosine({ source: empty, target: empty, head }), /0 in all filters/);
  none(
    task2vecAsymmetric({ source: empty, target: fisher([1, 1, 1, 1], [1, 1], [1, 1]), head }),
    /0 in all filters/,
  );
  const all = ['conv.weight', 'norm.weight', 'fc.weight'];
  none(task2vecCosine({ source: empty, target: empty, head: all }), /no weights outside its head/);
  none(named('source-accuracy', 'nothing').score(facts({})), /no classifier/);
});

const facts = (given: object) => ({ source: 'a', target: 'b', images: 40, seed: 1, ...given });

function named<N extends (typeof comparators)[number]['needs']>(name: string, needs: N) {
  const found = comparators.find((comparator) => comparator.name === name);
  assert.equal(found?.needs, needs);
  return found as Extract<(typeof comparators)[number], { needs: N }>;
}

test('the registry has every measure once, each described in a sentence', () => {
  const names = comparators.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, description } of comparators) {
    assert.match(name, /^[a-z0-9-]+$/);
    assert.match(description, /^[A-Z][^\n.]*\.$/, name);
  }
  assert.equal(named('logme', 'features').score(toy).value, logMe(toy).value);
  assert.equal(named('leep', 'logits').score(toyLogits).value, leep(probabilities(toyLogits)).value);
});

test('what needs nothing of the target goes by the source, chance by the names and the seed', () => {
  assert.equal(named('largest-source', 'nothing').score(facts({})).value, 40);
  assert.equal(named('source-accuracy', 'nothing').score(facts({ accuracy: 0.5 })).value, 0.5);
  const random = named('random', 'nothing');
  const drawn = [{}, { source: 'c' }, { target: 'c' }, { seed: 2 }].map((given) => {
    return random.score(facts(given)).value;
  });
  assert.equal(random.score(facts({})).value, drawn[0]);
  assert.equal(new Set(drawn).size, 4);
});

function near(score: Score, expected: number, tolerance: number, what: string): void {
  assert.ok(score.value !== null, what);
  assert.ok(Math.abs(score.value - expected) <= tolerance, `${what} is ${score.value}, not ${expected}`);
}
