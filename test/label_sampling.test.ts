import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { Gpu, labelScores, Random, sampleLabels } from '../engine/index.ts';
import { type Array64, array64, reference } from '../engine/reference.ts';
import { assertClose, failsWith } from './assertions.ts';
import { gaussian, sample, TOLERANCE, upload } from './op_checks.ts';

/** Random cases are the same in every run, so that a failure is seen again. */
const SEED = 78;

const gpu = await Gpu.create();
after(() => gpu.dispose());

const heads = fc.record({
  samples: fc.integer({ min: 1, max: 100 }),
  classes: fc.integer({ min: 1, max: 12 }),
  zeroLogits: fc.constantFrom(0, 0, 1, 5),
  factor: fc.constantFrom(0.5, 2, 8),
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
});

/** Probabilities of each row, continued by zeros. */
function probabilities(logits: Array64, zeroLogits: number): number[][] {
  return Array.from({ length: logits.shape[0]! }, (_, n) => {
    const row = [...sample(logits, n).data, ...new Array<number>(zeroLogits).fill(0)];
    const largest = Math.max(...row);
    const powers = row.map((z) => Math.exp(z - largest));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / total);
  });
}

/** labelScores in float64, as gradients of the loss. */
function exactScores(logits: Array64, label: number, zeroLogits: number): Array64 {
  const roots = probabilities(logits, zeroLogits).map((row) => Math.sqrt(row[label]!));
  const labels = new Uint32Array(roots.length).fill(label);
  const op = reference.softmaxCrossEntropy(labels, { zeroLogits });
  return op.gradient([logits], array64([roots.length], roots))[0]!;
}

test('sampleLabels inverts the cumulative distribution', () =>
  fc.assert(
    fc.asyncProperty(heads, async ({ samples, classes, zeroLogits, factor, seed }) => {
      const random = new Random(seed);
      const logits = reference.scale(factor).forward(gaussian(random, [samples, classes]));
      const uniforms = random.uniform(samples) as Float32Array<ArrayBuffer>;
      uniforms[0] = 0;
      const read = gpu.scope(() =>
        sampleLabels(upload(gpu, logits), gpu.tensor(uniforms, [samples]), zeroLogits).read(),
      );
      const labels = await read;
      for (const [n, p] of probabilities(logits, zeroLogits).entries()) {
        let cumulative = 0;
        const sums = p.map((value) => {
          cumulative += value;
          return cumulative;
        });
        const u = uniforms[n]!;
        // At a tie within rounding either side may be drawn.
        if (sums.slice(0, -1).some((sum) => Math.abs(sum - u) < 1e-6)) continue;
        const label = sums.findIndex((sum) => sum > u);
        assert.equal(labels[n], label < 0 ? p.length - 1 : label, `sample ${n}`);
      }
    }),
    { seed: SEED, numRuns: 40 },
  ));

test('sampleLabels draws each class as often as its probability says', async () => {
  const samples = 20_000;
  const row = [1.5, -0.5, 0.25, -6];
  const logits = array64(
    [samples, 4],
    Array.from({ length: 4 * samples }, (_, i) => row[i % 4]!),
  );
  const uniforms = new Random(8).uniform(samples) as Float32Array<ArrayBuffer>;
  const read = gpu.scope(() => sampleLabels(upload(gpu, logits), gpu.tensor(uniforms, [samples]), 2).read());
  const counts = new Array<number>(6).fill(0);
  for (const label of await read) counts[label]!++;
  for (const [c, p] of probabilities(array64([1, 4], row), 2)[0]!.entries()) {
    const deviation = Math.sqrt(samples * p * (1 - p));
    assert.ok(Math.abs(counts[c]! - samples * p) < 4 * deviation, `class ${c}: ${counts[c]}`);
  }
});

test('sampleLabels takes a class of probability 0 for no uniform number', async () => {
  const logits = array64([3, 4], [-200, 0, -200, 1, 0, -200, -200, -200, -200, -200, -200, 0]);
  const uniforms = Float32Array.of(0, 1 - 2 ** -24, 0);
  const read = gpu.scope(() => sampleLabels(upload(gpu, logits), gpu.tensor(uniforms, [3])).read());
  assert.deepEqual([...(await read)], [1, 0, 3]);
});

test('sampleLabels takes the last class where rounding leaves no sum above the number', async () => {
  const samples = 500;
  const logits = gaussian(new Random(2), [samples, 9]);
  const uniforms = new Float32Array(samples).fill(1 - 2 ** -24);
  const read = gpu.scope(() => sampleLabels(upload(gpu, logits), gpu.tensor(uniforms, [samples]), 5).read());
  assert.deepEqual(new Set(await read), new Set([13]));
});

test('labelScores: the scaled gradient of the loss against each class', () =>
  fc.assert(
    fc.asyncProperty(heads, async ({ samples, classes, zeroLogits, factor, seed }) => {
      const random = new Random(seed);
      const logits = reference.scale(factor).forward(gaussian(random, [samples, classes]));
      for (let label = 0; label < classes + zeroLogits; label++) {
        const scores = await gpu.scope(() => labelScores(upload(gpu, logits), label, zeroLogits).read());
        const exact = exactScores(logits, label, zeroLogits);
        for (let n = 0; n < samples; n++) {
          const own = scores.subarray(n * classes, (n + 1) * classes);
          assertClose(own, sample(exact, n).data, TOLERANCE, `scores of sample ${n} for class ${label}`);
        }
      }
      assert.equal(gpu.liveTensors, 0);
    }),
    { seed: SEED, numRuns: 15 },
  ));

test('labelScores keep their digits where one class is sure', async () => {
  const logits = array64([4, 3], [0, 20, 1, 0, 45, -3, 50, -1, 0, 0, 9, 0]);
  for (const label of [0, 1, 2]) {
    const scores = await gpu.scope(() => labelScores(upload(gpu, logits), label).read());
    const exact = exactScores(logits, label, 0);
    for (const [i, value] of exact.data.entries()) {
      assertClose([scores[i]!], [value], TOLERANCE, `entry ${i}, class ${label}`);
    }
  }
});

test('what does not fit is refused', () => {
  gpu.scope(() => {
    const z = upload(gpu, array64([2, 3]));
    assert.throws(() => sampleLabels(z, upload(gpu, array64([3]))), failsWith('shape-mismatch', /2,3.*3/));
    assert.throws(() => labelScores(z, 4, 1), failsWith('shape-mismatch', /class 4/));
  });
});
