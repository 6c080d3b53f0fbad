import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { StudyResults } from '../algorithms/index.ts';
import { describeComparison } from '../cli/compare.ts';
import { compareStudies, overview } from '../report/compare.ts';
import { runCli } from './run_cli.ts';
import { inventedStudy, MNIST_NAMES } from './study_results.ts';

const scratch = mkdtempSync(join(tmpdir(), 'fathom-compare-'));
after(() => rm(scratch, { recursive: true }));

function folder(name: string, results: unknown): string {
  mkdirSync(join(scratch, name), { recursive: true });
  writeFileSync(join(scratch, name, 'results.json'), JSON.stringify(results));
  return name;
}

/** A study whose distances are exactly these, with a standard deviation of 0.1 over four trials. */
function exact(names: string[], mean: number[][], more: Partial<StudyResults> = {}): StudyResults {
  const study = inventedStudy({ names, distance: mean, trials: 4 });
  const sigma = mean.map((row, s) => row.map((_, t) => (s === t ? 0 : 0.1)));
  return { ...study, distance: { ...study.distance, mean, sigma }, ...more };
}

const A = exact(
  ['cats', 'dogs', 'birds'],
  [
    [0, 0.2, 0.6],
    [0.3, 0, 0.5],
    [0.4, 0.7, 0],
  ],
);
const B = exact(
  ['birds', 'fish', 'dogs', 'cats'],
  [
    [0, 0.9, 0.7, 0.25],
    [0.9, 0, 0.1, 0.1],
    [0.5, 0.9, 0, 0.3],
    [0.4, 0.9, 0.2, 0],
  ],
);

test('tasks are matched by name, differences are held against their standard errors', () => {
  const { tasks, onlyA, onlyB, pairs, targets, spearman } = compareStudies(A, B);
  assert.deepEqual([tasks, onlyA, onlyB], [['cats', 'dogs', 'birds'], [], ['fish']]);
  assert.equal(pairs.length, 6);
  const pair = pairs.find(({ source, target }) => source === 'birds' && target === 'cats')!;
  assert.deepEqual([pair.a, pair.b], [0.4, 0.25]);
  assert.ok(Math.abs(pair.difference + 0.15) < 1e-12);
  assert.ok(Math.abs(pair.error! - Math.sqrt(0.01 / 4 + 0.01 / 4)) < 1e-12);
  assert.ok(Math.abs(pair.t! - pair.difference / pair.error!) < 1e-12);
  assert.deepEqual(targets, [
    { target: 'cats', closestA: 'dogs', closestB: 'birds', kendall: -1 },
    { target: 'dogs', closestA: 'cats', closestB: 'cats', kendall: 1 },
    { target: 'birds', closestA: 'dogs', closestB: 'cats', kendall: -1 },
  ]);
  assert.ok(spearman! > 0.5 && spearman! < 1);
  assert.deepEqual(overview(compareStudies(A, B)).apart, 2);
});

test('a study compared with itself differs in nothing', () => {
  const { pairs, targets, spearman, settings } = compareStudies(A, A);
  assert.ok(pairs.every(({ difference, t }) => difference === 0 && t === 0));
  assert.ok(targets.every(({ closestA, closestB }) => closestA === closestB));
  assert.equal(spearman, 1);
  assert.deepEqual(settings, []);
  assert.match(describeComparison(compareStudies(A, A)), /none changed[\s\S]*No setting differs\./);
});

test('a single trial has no error, and settings that differ are named by their path', () => {
  const one = inventedStudy({ trials: 1 });
  const other = inventedStudy();
  const study = { ...other.study, training: { epochs: 9, batch: 64, learningRate: 1e-3 } };
  const comparison = compareStudies(one, { ...other, study });
  assert.ok(comparison.pairs.every(({ error, t }) => error === null && t === null));
  const paths = comparison.settings.map(({ path }) => path);
  assert.deepEqual(paths, ['study.trials', 'study.training.epochs', 'used.seeds']);
  assert.match(describeComparison(comparison), /nothing says which differences are chance/);
});

test('fathom compare prints tables or JSON, and refuses what has nothing in common in one line', async () => {
  folder('a', inventedStudy());
  folder('b', inventedStudy({ seed: 9 }));
  folder('c', inventedStudy({ names: ['p', 'q', 'r', MNIST_NAMES[0]!] }));
  folder('d', inventedStudy({ names: ['p', 'q', 'r', 's'] }));
  const [text, json, one, none] = await Promise.all([
    runCli(scratch, 'compare', 'a', 'b'),
    runCli(scratch, 'compare', 'a', 'b', '--json'),
    runCli(scratch, 'compare', 'a', 'c'),
    runCli(scratch, 'compare', 'a', 'd'),
  ]);
  assert.equal(text.exit, 0, text.stderr);
  assert.match(
    text.stdout,
    /^4 tasks in common\n[\s\S]*digit 6 → digit 0[\s\S]*Spearman of all distances: 0\.9/,
  );
  assert.equal(JSON.parse(json.stdout).pairs.length, 12);
  assert.equal(one.exit, 1);
  assert.match(
    one.stderr,
    /^"An invented .*" have only the task "digit 0" in common\. Compare studies .*\.\n$/,
  );
  assert.match(none.stderr, /^"An invented .*" have no task in common\..*\n$/);
});

test('fathom report draws from results.json, and says in one line what is wrong with it', async () => {
  folder(
    'good',
    inventedStudy({
      names: ['a', 'b'],
      distance: [
        [0, 0.3],
        [0.5, 0],
      ],
      trials: 2,
    }),
  );
  folder('other', { format: 'fathom-demo' });
  const study = inventedStudy();
  folder('short', { ...study, distance: { ...study.distance, mean: [[0]] } });
  mkdirSync(join(scratch, 'text'), { recursive: true });
  writeFileSync(join(scratch, 'text', 'results.json'), '{"format": ');
  const [good, other, short, text, missing] = await Promise.all(
    ['good', 'other', 'short', 'text', 'missing'].map((name) => runCli(scratch, 'report', name)),
  );
  assert.equal(good!.exit, 0, good!.stderr);
  assert.match(good!.stdout, /^good\/report\.html\ngood\/matrix\.csv\n/);
  assert.ok(existsSync(join(scratch, 'good/figures/matrix.png')));
  for (const [result, pattern] of [
    [other, /^other\/results\.json is not the results of a study: format: .*\n$/],
    [short, /^short\/results\.json is not .*: distance\.mean is not 4 by 4, as there are 4 tasks\..*\n$/],
    [text, /^text\/results\.json is not .*: it is not JSON \(.*\n$/],
    [missing, /^There is no file missing\/results\.json\. Check the path\.\n$/],
  ] as const) {
    assert.equal(result!.exit, 1);
    assert.match(result!.stderr, pattern);
  }
});
