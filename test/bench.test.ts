import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare } from '../bench/compare.ts';
import { median } from '../bench/measure.ts';
import { makeReport, replaceFigures } from '../bench/report.ts';
import { type BenchResults, benchSchema, type CaseResult, rates } from '../bench/results.ts';
import { contests, fingerprint } from '../bench/rivals/contests.ts';
import { permuted, toInOutChannelsLast } from '../bench/rivals/layouts.ts';
import { toPng, toSvg } from '../report/render.ts';

const STEP = { dispatches: 40, submits: 1, buffers: 0, bindGroups: 0, peakBytes: 2 ** 21, hostMs: 0.4 };

function results(more: Partial<BenchResults> = {}): BenchResults {
  return {
    format: 'fathom-bench',
    formatVersion: 1,
    version: '0.1.0',
    createdAt: '2026-11-24T12:00:00.000Z',
    seconds: 12.5,
    quick: false,
    runtime: 'Node 20.20.2 (webgpu 0.6.2)',
    adapter: { label: 'google, SwiftShader', driver: 'embedded', kind: 'software' },
    cpu: { model: 'a processor', cores: 2 },
    load: [0.1, 1.2],
    peaks: { gflops: 40, gbps: 4 },
    cases: [],
    races: [],
    ...more,
  };
}

function product(rounds: number[], more: Partial<CaseResult> = {}): CaseResult {
  const best = { rounds, medianMs: rounds[0]!, samples: 10 };
  return { family: 'matmul', name: 'product', flop: 2e8, bytes: 4e6, firstMs: 300, ...best, ...more };
}

const verdicts = (before: BenchResults, after: BenchResults) =>
  compare(before, after).map(({ verdict }) => verdict);

test('a difference within the spread of the rounds is noise, beyond it a change', () => {
  const calm = results({ cases: [product([10, 10.1, 10.2])] });
  assert.deepEqual(verdicts(calm, results({ cases: [product([10.8, 10.9, 11])] })), ['same']);
  assert.deepEqual(verdicts(calm, results({ cases: [product([13, 13.1, 13.2])] })), ['slower']);
  assert.deepEqual(verdicts(calm, results({ cases: [product([7, 7.1, 7.2])] })), ['faster']);
  // The same difference where rounds lie far apart.
  assert.deepEqual(verdicts(calm, results({ cases: [product([13, 17, 18])] })), ['same']);
});

test('times are held against the peak of their own run', () => {
  const before = results({ cases: [product([10, 10, 10])] });
  const slowMachine = { peaks: { gflops: 20, gbps: 2 } };
  assert.deepEqual(verdicts(before, results({ ...slowMachine, cases: [product([20, 20, 20])] })), ['same']);
  assert.deepEqual(verdicts(before, results({ ...slowMachine, cases: [product([10, 10, 10])] })), ['faster']);
});

test('our side of a race is compared; what one file lacks is not', () => {
  const race = (ms: number) => ({
    name: 'cnn-step',
    title: 'a step',
    flop: 0,
    laps: [
      { side: 'ours', firstMs: 900, rounds: [ms], medianMs: ms, samples: 3, difference: 0 },
      { side: 'tfjs', rounds: [10 * ms], samples: 3 },
    ],
  });
  const before = results({ races: [race(10)], cases: [product([1])] });
  const changes = compare(before, results({ races: [race(30)] }));
  assert.deepEqual(
    changes.map(({ name, verdict, ratio }) => [name, verdict, ratio]),
    [['race: cnn-step', 'slower', 3]],
  );
});

test('rates are of the best round, shares of the peaks', () => {
  const { gflops, gbps, ofFlops, ofBytes } = rates(product([12, 10, 11]), results());
  assert.deepEqual([gflops, gbps], [20, 0.4]);
  assert.deepEqual([ofFlops, ofBytes], [0.5, 0.1]);
});

test('the schema takes what the suite writes and refuses what it does not know', () => {
  const whole = results({
    cases: [product([1, 2]), product([3], { step: STEP })],
  });
  assert.deepEqual(benchSchema.parse(JSON.parse(JSON.stringify(whole))), whole);
  assert.throws(() => benchSchema.parse({ ...whole, hostname: 'mine' }));
  assert.throws(() => benchSchema.parse({ ...whole, cases: [product([])] }));
});

test('a report has the newest figure of each name, and says who did not take part', async () => {
  const passes = (batch: number, name: string, ms: number) =>
    product([ms], {
      ...{ family: 'steps', name: `cnn, batch ${batch}, ${name}`, images: batch, flop: undefined },
      ...{ bytes: undefined, step: STEP },
    });
  const old = results({ cases: [product([20])], createdAt: '2026-11-23T12:00:00.000Z' });
  const latest = results({
    cases: [
      product([10]),
      passes(64, 'gradient pass', 20),
      passes(64, 'Fisher pass', 25),
      { ...passes(16, 'Fisher pass', 8), family: 'batches' },
    ],
    races: [
      {
        name: 'cnn-step',
        title: 'training step',
        flop: 0,
        laps: [
          {
            side: 'ours',
            device: 'here',
            firstMs: 900,
            rounds: [10, 11],
            medianMs: 11,
            samples: 5,
            difference: 0,
          },
          {
            side: 'tfjs',
            version: '4.22.0',
            firstMs: 1800,
            rounds: [50],
            medianMs: 60,
            samples: 5,
            difference: 2e-7,
          },
          { side: 'jax', problem: 'not installed', rounds: [], samples: 0 },
        ],
      },
    ],
  });
  const { markdown, charts } = makeReport([latest, old]);
  assert.match(markdown, /^## SwiftShader$/m);
  assert.match(markdown, /^\| product \| 300 \| 10\.0 \| 10\.0 \| 20\.0 \| 50 % \|$/m);
  assert.match(
    markdown,
    /^\| cnn, batch 64, Fisher pass \| .* \| 1\.25 x \| 40 \| 0 \+ 0 \| 2\.0 \| 10 \|$/m,
  );
  assert.match(
    markdown,
    /^\| TensorFlow\.js WebGPU 4\.22\.0 \| 1800 \| .* \| 2\.00 x \| 5\.00 x \| 2e-7 \|$/m,
  );
  assert.match(markdown, /^\| jax-js \(jit\) \| not installed \|/m);
  assert.deepEqual([...charts.keys()], ['races.png', 'first-calls.png', 'shares.png', 'batches.png']);
  for (const [name, spec] of charts) {
    assert.ok(markdown.includes(`(performance/${name})`), name);
    const png = await toPng(await toSvg(spec));
    assert.equal(String.fromCharCode(...png.subarray(1, 4)), 'PNG', name);
  }
});

test('a report takes the place of the last one and leaves the rest of the page', () => {
  const page = replaceFigures(
    'before\n<!-- figures: written by bench/report.ts, do not edit by hand -->\nold\n<!-- end of figures -->\nafter',
    'new',
  );
  assert.match(page, /^before\n<!-- figures: .* -->\n\nnew\n\n<!-- end of figures -->\nafter$/);
  assert.equal(replaceFigures(page, 'new'), page);
  assert.throws(() => replaceFigures('no marks', 'new'), /lacks the lines/);
});

test('layouts other libraries want', () => {
  const image = { shape: [1, 2, 1, 3], data: Float32Array.of(0, 1, 2, 3, 4, 5) };
  assert.deepEqual(permuted(image, [0, 3, 1, 2]), {
    shape: [1, 3, 2, 1],
    data: Float32Array.of(0, 3, 1, 4, 2, 5),
  });
  // One output over 2 channels of 2 pixels: channel by channel becomes pixel by pixel.
  const layer = { shape: [1, 4], data: Float32Array.of(0, 1, 2, 3) };
  assert.deepEqual(toInOutChannelsLast(layer, 2), { shape: [4, 1], data: Float32Array.of(0, 2, 1, 3) });
});

test('contests have inputs of their shapes, the same every time', () => {
  for (const name of ['matmul-512', 'cnn-step', 'fisher']) {
    const inputs = contests[name]!.inputs();
    for (const [key, { shape, data }] of inputs) {
      assert.equal(
        data.length,
        shape.reduce((a, b) => a * b, 1),
        `${name} ${key}`,
      );
    }
    const again = contests[name]!.inputs();
    for (const [key, { data }] of inputs)
      assert.deepEqual(again.get(key)!.data.slice(0, 9), data.slice(0, 9));
  }
  assert.deepEqual(fingerprint([3, -4, 0, 0]), [7 / 4, 5 / 2]);
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
});
