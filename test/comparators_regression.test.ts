import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type LabelledRows,
  predictedClasses,
  type SoftmaxHead,
  softmaxRegression,
} from '../algorithms/index.ts';
import type { Random } from '../engine/index.ts';
import { assertClose, failsWith } from './assertions.ts';
import { property } from './property.ts';

const problems = fc.record({
  samples: fc.integer({ min: 3, max: 40 }),
  width: fc.integer({ min: 1, max: 90 }),
  classes: fc.integer({ min: 1, max: 5 }),
  decay: fc.constantFrom(1e-3, 1e-2, 1),
  /** Of the features, from the first to the last. */
  spread: fc.constantFrom(1, 1e3),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

function drawn(
  { samples, width, classes, spread }: typeof problems extends fc.Arbitrary<infer T> ? T : never,
  random: Random,
): LabelledRows {
  const noise = random.fork('noise').normal(samples * width);
  const labels = Uint32Array.from(random.fork('labels').uniform(samples), (u) => Math.floor(u * classes));
  const values = Float64Array.from(noise, (value, k) => {
    const scale = spread ** ((k % width) / width - 0.5);
    return scale * (value + 0.5 * labels[Math.floor(k / width)]!);
  });
  return { values, width, labels };
}

/** Mean cross-entropy with the penalty, written out. */
function objective(
  { values, width, labels }: LabelledRows,
  head: Pick<SoftmaxHead, 'weight' | 'bias'>,
  decay: number,
): number {
  let loss = 0;
  for (const [n, label] of labels.entries()) {
    const logits = Array.from(head.bias, (bias, c) => {
      let logit = bias;
      for (let j = 0; j < width; j++) logit += head.weight[c * width + j]! * values[n * width + j]!;
      return logit;
    });
    const largest = Math.max(...logits);
    loss += largest + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - largest), 0)) - logits[label]!;
  }
  return loss / labels.length + (decay / 2) * head.weight.reduce((sum, w) => sum + w * w, 0);
}

/** Central differences of the objective by weight and bias. */
function differences(
  rows: LabelledRows,
  head: Pick<SoftmaxHead, 'weight' | 'bias'>,
  decay: number,
): Float64Array {
  const all = Float64Array.of(...head.weight, ...head.bias);
  return all.map((value, i) => {
    const at = (step: number) => {
      const moved = all.with(i, value + step);
      const [weight, bias] = [moved.subarray(0, head.weight.length), moved.subarray(head.weight.length)];
      return objective(rows, { weight, bias }, decay);
    };
    return (at(1e-5) - at(-1e-5)) / 2e-5;
  });
}

const norm = (values: Float64Array) => Math.hypot(...values);

test('at the head found the gradient is zero by central differences, and the norm stated is below the tolerance', async () => {
  await property(problems, 40, async (problem, random) => {
    const rows = drawn(problem, random);
    const { decay, classes, width } = problem;
    const head = softmaxRegression(rows, classes, { decay, tolerance: 1e-9 });
    assert.deepEqual([head.weight.length, head.bias.length], [classes * width, classes]);
    const zero = { weight: head.weight.map(() => 0), bias: head.bias.map(() => 0) };
    const start = norm(differences(rows, zero, decay));
    assert.ok(head.gradientNorm <= 1e-9 * start * (1 + 1e-3) + 1e-12);
    assert.ok(norm(differences(rows, head, decay)) <= 1e-6 * Math.max(1, start));
    const penalty = (decay / 2) * head.weight.reduce((sum, w) => sum + w * w, 0);
    assertClose([head.loss + penalty], [objective(rows, head, decay)], 1e-12, 'loss');
  });
});

test('the norm stated is that of the gradient, by central differences, where stopped early', async () => {
  await property(problems, 40, async (problem, random) => {
    const rows = drawn(problem, random);
    const { decay, classes } = problem;
    const head = softmaxRegression(rows, classes, { decay, tolerance: 0.3 });
    const measured = norm(differences(rows, head, decay));
    assert.ok(Math.abs(head.gradientNorm - measured) <= 1e-6 * Math.max(1, measured), `${measured}`);
  });
});

test('features that are always 0 get no weight and change no other, however many', async () => {
  await property(problems, 40, async (problem, random) => {
    const rows = drawn(problem, random);
    const { classes, samples, width, decay } = problem;
    const wide = width + 3 * samples;
    const values = new Float64Array(samples * wide);
    for (let n = 0; n < samples; n++) values.set(rows.values.subarray(n * width, (n + 1) * width), n * wide);
    const options = { decay, tolerance: 1e-10 };
    const [narrow, widened] = [rows, { ...rows, values, width: wide }].map((each) =>
      softmaxRegression(each, classes, options),
    );
    const kept = widened!.weight.filter((_, i) => i % wide < width);
    const largest = Math.max(1, norm(narrow!.weight));
    for (const [i, weight] of kept.entries()) {
      assert.ok(
        Math.abs(weight - narrow!.weight[i]!) <= 1e-5 * largest,
        `${weight} and ${narrow!.weight[i]}`,
      );
    }
    for (const [i, weight] of widened!.weight.entries()) {
      if (i % wide >= width) assert.ok(Math.abs(weight) < 1e-12, `${weight}`);
    }
  });
});

test('two clusters fall to their classes; one class alone is a free head', () => {
  const rows = { values: Float64Array.of(-2, -1, 1, 2), width: 1, labels: Uint32Array.of(1, 1, 0, 0) };
  const head = softmaxRegression(rows, 3);
  assert.deepEqual(predictedClasses(rows, head), rows.labels);
  assert.ok(head.weight[0]! > 0 && Math.abs(head.weight[0]! + head.weight[1]!) < 1e-4);
  assert.ok(head.bias[2]! < head.bias[0]!);
  const alone = softmaxRegression({ ...rows, labels: rows.labels.map(() => 0) }, 1);
  assert.deepEqual([alone.weight[0], alone.bias[0], alone.loss, alone.steps], [0, 0, 0, 0]);
});

test('without decay, classes that are as good as apart are refused', () => {
  const rows = { values: Float64Array.of(-2, -1, 1, 2), width: 1, labels: Uint32Array.of(1, 1, 0, 0) };
  assert.throws(
    () => softmaxRegression(rows, 2, { decay: 0, tolerance: 0 }),
    failsWith('not-converged', /steps/),
  );
});

test('the same rows give the same bits', () => {
  const rows = {
    values: Float64Array.from({ length: 60 }, (_, i) => Math.sin(i * i)),
    width: 6,
    labels: Uint32Array.from({ length: 10 }, (_, i) => i % 3),
  };
  assert.deepEqual(softmaxRegression(rows, 3), softmaxRegression(rows, 3));
});
