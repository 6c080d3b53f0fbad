import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { describeResults } from '../cli/demo.ts';
import { type Diagnosis, describeDiagnosis } from '../cli/doctor.ts';
import { matrixLabels } from '../cli/progress.ts';
import { type Results, resultsSchema } from '../cli/results.ts';
import { parseSafetensors, Random, serializeSafetensors } from '../engine/index.ts';
import type { SafetensorsTensor } from '../engine/safetensors.ts';
import { cnn } from '../models/index.ts';
import { renderHeatmap } from '../report/heatmap.ts';
import { goldenInputs, goldenWeights, readGolden } from './golden.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DENO = 'Deno' in globalThis;
const EMBEDDED = process.platform === 'linux' && process.arch === 'x64';
const scratch = mkdtempSync(join(tmpdir(), 'fathom-cli-test-'));
const removeScratch = () => rmSync(scratch, { recursive: true, force: true });
if (DENO) addEventListener('unload', removeScratch);
else process.on('exit', removeScratch);

interface Outcome {
  exit: number | null;
  stdout: string;
  stderr: string;
}

/** Drivers of the system write to stderr as they like; so the embedded one is used unless another is asked for. */
const env = {
  FATHOM_ADAPTER: EMBEDDED ? 'embedded' : 'auto',
  ...process.env,
  XDG_RUNTIME_DIR: scratch,
};

/** Runs the CLI in the scratch folder; one that hangs is killed and so has no exit code. */
function fathom(...args: string[]): Promise<Outcome> {
  const main = join(ROOT, 'cli/main.ts');
  const config = join(ROOT, 'deno.json');
  const runtime = DENO
    ? ['run', '-A', '--no-check', '--config', config, main]
    : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source', main];
  const child = spawn(process.execPath, [...runtime, ...args], {
    cwd: scratch,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => {
      clearTimeout(timer);
      // Dawn's native code warns of limits it lowers on some drivers; that is not ours to silence.
      resolve({ exit, stdout, stderr: stderr.replace(/^Warning: .* artificially reduced .*\n/gm, '') });
    });
  });
}

/** The JSON document of a command that must succeed and say nothing else. */
async function json(...args: string[]) {
  const { exit, stdout, stderr } = await fathom(...args, '--json');
  assert.equal(stderr, '');
  assert.equal(exit, 0);
  return JSON.parse(stdout);
}

/** Runs a command that must fail with exit code 1 and one line on stderr that matches all the patterns. */
async function refused(args: string[], ...patterns: RegExp[]): Promise<void> {
  assertRefused(await fathom(...args), patterns);
}

function assertRefused({ exit, stdout, stderr }: Outcome, patterns: readonly RegExp[]): void {
  assert.match(stderr, /^[^\n]+\.\n$/);
  for (const pattern of patterns) assert.match(stderr, pattern);
  assert.equal(stdout, '');
  assert.equal(exit, 1);
}

let diagnosis: Promise<Diagnosis> | undefined;

function diagnosed(): Promise<Diagnosis> {
  diagnosis ??= json('doctor');
  return diagnosis;
}

test('doctor --json describes the adapter and passes its self-check', async () => {
  const report = await diagnosed();
  assert.equal(report.version, JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version);
  assert.match(report.runtime, DENO ? /^Deno \d/ : /^Node \d/);
  assert.notEqual(report.adapter.label, '');
  assert.ok(report.limits.maxStorageBufferBindingSize! >= 128 * 1024 ** 2);
  assert.equal(report.checks.length, 2);
  for (const { name, error, tolerance, ok } of report.checks) {
    assert.ok(ok && error >= 0 && error <= tolerance, `${name}: ${error}`);
  }
  assert.equal(report.ok, true);
});

test("doctor's text names the adapter, the limits, what was not taken, and how each check went", async () => {
  const report = await diagnosed();
  const text = describeDiagnosis({ ...report, tried: ['some driver: too old'], advice: 'buy a GPU' });
  assert.match(text, /^adapter +\S/m);
  assert.match(text, /^largest binding +[\d.]+ [MG]iB$/m);
  assert.match(text, /^not taken +some driver: too old$/m);
  assert.match(text, /^faster +buy a GPU$/m);
  assert.equal(text.match(/^ok +/gm)?.length, 2);
  const failing = { name: 'a check', error: Number.NaN, tolerance: 1e-5, ok: false };
  assert.match(describeDiagnosis({ ...report, checks: [failing] }), /^FAILED +a check: off by NaN /m);
});

test('an adapter that is not there is said in one line that tells what was tried', async (t) => {
  if ((await diagnosed()).adapter.kind === 'hardware') return t.skip('there is a hardware adapter');
  const outcome = await fathom('doctor', '--adapter', 'hardware');
  // What the system's drivers had to say comes before it.
  const stderr = outcome.stderr.slice(outcome.stderr.indexOf('No hardware'));
  assertRefused({ ...outcome, stderr }, [/^No hardware adapter \(system driver: /]);
});

test('wrong usage ends with exit code 2 and help with 0', async () => {
  const wrong = [[], ['nope'], ['fisher'], ['doctor', '--adapter', 'x'], ['demo', '--trials', '0']];
  const outcomes = wrong.map(async (args) => {
    const { exit, stdout, stderr } = await fathom(...args);
    assert.deepEqual([exit, stdout], [2, ''], args.join(' '));
    assert.notEqual(stderr, '');
  });
  await Promise.all(outcomes);
  const { exit, stdout, stderr } = await fathom('distance', '--help');
  assert.deepEqual([exit, stderr], [0, '']);
  assert.match(stdout, /Example:\n {2}\$ fathom distance /);
});

// Fisher and distance against PyTorch.

function save(name: string, tensors: Record<string, SafetensorsTensor>, metadata = {}): string {
  const path = join(scratch, name);
  writeFileSync(path, serializeSafetensors(new Map(Object.entries(tensors)), metadata));
  return path;
}

type Weights = Record<string, SafetensorsTensor & { dtype: 'F32' }>;

const golden = readGolden('cnn');
const skip = golden ? false : 'the reference values are not here: set FATHOM_SHARED to their folder';

function saveGolden(): { source: string; target: string; data: string } {
  const weights = (salt: number) => {
    const entries = [...goldenWeights(golden!, salt)].map(([name, { shape, data }]) => {
      return [name, { dtype: 'F32', shape: [...shape], data }] as [string, SafetensorsTensor];
    });
    return Object.fromEntries(entries);
  };
  const { images, labels } = goldenInputs(golden!, [1, 28, 28]);
  assert.deepEqual(labels, golden!.labels);
  return {
    source: save('golden-source.safetensors', weights(golden!.salt + 1)),
    target: save('golden-target.safetensors', weights(golden!.salt)),
    data: save('golden-data.safetensors', {
      images: { dtype: 'F32', shape: [golden!.batch, 1, 28, 28], data: images },
      labels: { dtype: 'I64', shape: [golden!.batch], data: BigInt64Array.from(labels, BigInt) },
    }),
  };
}

function fisherArgs(weights: string, data: string, out: string): string[] {
  return ['fisher', '--net', 'cnn', '--weights', weights, '--data', data, '--out', out];
}

interface GoldenFishers {
  target: string;
  data: string;
  /** Files with the Fisher of the source and of the target. */
  f: string;
  g: string;
  /** What the command said of the target's. */
  summary: { trace: number; adapter: string };
}

let measured: Promise<GoldenFishers> | undefined;

function goldenFishers(): Promise<GoldenFishers> {
  measured ??= (async () => {
    const { source, target, data } = saveGolden();
    const [f, g] = [join(scratch, 'source-fisher.safetensors'), join(scratch, 'target-fisher.safetensors')];
    const [, summary] = await Promise.all([
      json(...fisherArgs(source, data, f)),
      json(...fisherArgs(target, data, g)),
    ]);
    return { target, data, f, g, summary };
  })();
  return measured;
}

test('fisher and distance agree with PyTorch in float64', { skip }, async () => {
  const reference = golden!;
  const { f, g, summary } = await goldenFishers();
  const { tensors, metadata } = parseSafetensors(readFileSync(g), g);
  assert.deepEqual([...tensors.keys()], Object.keys(reference.parameters));
  let total = 0;
  for (const [name, { shape, fisher_sum, fisher }] of Object.entries(reference.parameters)) {
    const tensor = tensors.get(name)!;
    assert.ok(tensor.dtype === 'F32');
    assert.deepEqual(tensor.shape, shape);
    const sum = tensor.data.reduce((a, b) => a + b, 0);
    total += sum;
    assert.ok(Math.abs(sum / fisher_sum - 1) < 1e-4, `${name}: sum ${sum}, not ${fisher_sum}`);
    const largest = Math.max(...tensor.data);
    for (const [i, at] of fisher.index.entries()) {
      const off = Math.abs(tensor.data[at]! - fisher.value[i]!);
      assert.ok(off <= Math.max(1e-3 * fisher.value[i]!, 1e-7 * largest), `${name}[${at}] is off by ${off}`);
    }
  }
  assert.ok(Math.abs(total / reference.trace - 1) < 1e-4, `trace ${total}, not ${reference.trace}`);
  assert.ok(Math.abs(summary.trace / reference.trace - 1) < 1e-4);
  assert.deepEqual(
    { ...metadata, trace: Number(metadata.trace) },
    {
      format: 'fathom-fisher',
      version: JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version,
      net: 'cnn',
      estimator: 'empirical',
      samples: String(reference.batch),
      adapter: summary.adapter,
      head: 'fc.weight,fc.bias',
      trace: summary.trace,
    },
  );

  const result = await json('distance', f, g);
  assert.ok(Math.abs(result.distance - reference.distance_from_salt_plus_1) < 1e-5, `d = ${result.distance}`);
  assert.equal(result.distanceSquared, result.distance ** 2);
  const shares = result.source.parameters.map(({ share }: { share: number }) => share);
  assert.ok(Math.abs(shares.reduce((a: number, b: number) => a + b) - 1) < 1e-12);
  const { stdout } = await fathom('distance', f, g);
  assert.match(stdout, new RegExp(`^d +${result.distance.toFixed(6)} `, 'm'));
});

test('fisher under a budget of memory gives the same bits', { skip }, async () => {
  const { target, data, g } = await goldenFishers();
  const small = join(scratch, 'small.safetensors');
  const { exit, stdout } = await fathom(...fisherArgs(target, data, small), '--budget', '2');
  assert.equal(exit, 0);
  assert.match(stdout, /conv1\.weight .* 8 x 1 x 5 x 5 /);
  assert.deepEqual(readFileSync(small), readFileSync(g));
});

// Bad input.

const random = new Random(1);
const goodWeights: Weights = Object.fromEntries(
  cnn().module.tensors.map(({ name, shape, initial }) => {
    return [name, { dtype: 'F32', shape: [...shape], data: initial(random.fork(name)) }];
  }),
);
const goodImages = {
  dtype: 'F32' as const,
  shape: [2, 1, 28, 28],
  data: random.fork('images').uniform(2 * 28 * 28),
};
const goodLabels = { dtype: 'I64' as const, shape: [2], data: BigInt64Array.of(3n, 9n) };
const weightsPath = save('weights.safetensors', goodWeights);
const dataPath = save('data.safetensors', { images: goodImages, labels: goodLabels });

let cases = 0;

/** Runs `fisher` on bad input: it must name the file, and leave nothing in the folder of its output. */
async function fisherRefuses(bad: { weights?: string; data?: string }, ...patterns: RegExp[]): Promise<void> {
  const folder = join(scratch, `case-${cases++}`);
  mkdirSync(folder);
  const file = basename(bad.weights ?? bad.data!);
  const args = fisherArgs(bad.weights ?? weightsPath, bad.data ?? dataPath, join(folder, 'out.safetensors'));
  await refused(args, new RegExp(file.replaceAll('.', '\\.')), ...patterns);
  assert.deepEqual(readdirSync(folder), []);
}

describe('fisher refuses', { concurrency: 2 }, () => {
  test('a file that is missing', async () => {
    await fisherRefuses({ weights: join(scratch, 'absent.safetensors') }, /There is no file /);
    await fisherRefuses({ data: join(scratch, 'absent-too.safetensors') }, /There is no file /);
  });

  test('a file that is not safetensors', async () => {
    const path = join(scratch, 'text.safetensors');
    writeFileSync(path, 'These are no tensors, just words.');
    await fisherRefuses({ weights: path }, /claims a header/, /write it anew/);
  });

  test('images or labels missing', async () => {
    await fisherRefuses({ data: save('no-labels.safetensors', { images: goodImages }) }, /no tensor labels/);
    const neither = save('neither.safetensors', { pictures: goodImages });
    await fisherRefuses({ data: neither }, /no tensor images and no tensor labels/, /Give images as F32/);
  });

  test('images of a wrong shape or type', async () => {
    const last = { ...goodImages, shape: [2, 28, 28, 1] };
    const channelsLast = save('channels-last.safetensors', { images: last, labels: goodLabels });
    await fisherRefuses({ data: channelsLast }, /images .* \[2,28,28,1\]/, /\[N, 1, 28, 28\]/);
    const bytes = { dtype: 'U8' as const, shape: goodImages.shape, data: new Uint8Array(2 * 28 * 28) };
    const byteImages = save('byte-images.safetensors', { images: bytes, labels: goodLabels });
    await fisherRefuses({ data: byteImages }, /images of type U8/);
  });

  test('labels of a wrong type or shape', async () => {
    const labels = { dtype: 'F32' as const, shape: [2], data: Float32Array.of(3, 9) };
    await fisherRefuses(
      { data: save('float-labels.safetensors', { images: goodImages, labels }) },
      /type F32/,
    );
    const column = { ...goodLabels, shape: [2, 1] };
    const columnPath = save('column-labels.safetensors', { images: goodImages, labels: column });
    await fisherRefuses({ data: columnPath }, /shape \[2,1\]/);
  });

  test('images and labels of unequal length', async () => {
    const labels = { dtype: 'I64' as const, shape: [3], data: BigInt64Array.of(1n, 2n, 3n) };
    const path = save('unequal.safetensors', { images: goodImages, labels });
    await fisherRefuses({ data: path }, /2 images, but 3 labels/);
  });

  test('a label outside the head', async () => {
    for (const label of [10n, -1n]) {
      const labels = { ...goodLabels, data: BigInt64Array.of(3n, label) };
      const path = save(`label${label}.safetensors`, { images: goodImages, labels });
      await fisherRefuses({ data: path }, new RegExp(`label ${label} at position 1`), /0 to 9/);
    }
  });

  test('NaN in images', async () => {
    const values = goodImages.data.slice();
    values[28 * 28 + 5] = Number.NaN;
    const images = { ...goodImages, data: values };
    await fisherRefuses({ data: save('nan.safetensors', { images, labels: goodLabels }) }, /NaN in image 1/);
  });

  test('weights that lack, misshape or add parameters, all of them listed', async () => {
    const { 'conv1.bias': _, ...weights } = goodWeights;
    weights['fc.weight'] = { ...goodWeights['fc.weight']!, shape: [784, 10] };
    weights.extra = { dtype: 'F32', shape: [1], data: Float32Array.of(1) };
    const path = save('misfit.safetensors', weights);
    await fisherRefuses(
      { weights: path },
      /conv1\.bias is missing/,
      /fc\.weight has shape \[784,10\], not \[10,784\]/,
      /extra is not part/,
    );
  });

  test('NaN in weights', async () => {
    const bias = { ...goodWeights['fc.bias']!, data: goodWeights['fc.bias']!.data.slice().fill(Number.NaN) };
    const path = save('nan-weights.safetensors', { ...goodWeights, 'fc.bias': bias });
    await fisherRefuses({ weights: path }, /fc\.bias holds NaN/);
  });

  test('weights of another type', async () => {
    const bias = { dtype: 'F64' as const, shape: [10], data: new Float64Array(10) };
    const path = save('double.safetensors', { ...goodWeights, 'fc.bias': bias });
    await fisherRefuses({ weights: path }, /fc\.bias is F64/, /F32/);
  });

  test('an output that cannot be written is said before the inputs are looked at', async () => {
    const file = join(scratch, 'a-file');
    writeFileSync(file, '');
    const cases: [string, RegExp][] = [
      [join(scratch, 'no-folder', 'out.safetensors'), /its folder does not exist/],
      [join(file, 'out.safetensors'), /a part of its path is a file/],
      [scratch, /it is a folder/],
    ];
    await Promise.all(
      cases.map(([out, reason]) => refused(fisherArgs('absent', 'absent', out), /cannot be written/, reason)),
    );
    await refused(fisherArgs(weightsPath, dataPath, dataPath), /data\.safetensors is an input/);
  });
});

test('a Fisher file is written whole, over an older one, and nothing is left beside it', async () => {
  const folder = join(scratch, 'written');
  mkdirSync(folder);
  const out = join(folder, 'out.safetensors');
  writeFileSync(out, 'older');
  await json(...fisherArgs(weightsPath, dataPath, out));
  assert.deepEqual(readdirSync(folder), ['out.safetensors']);
  assert.equal(parseSafetensors(readFileSync(out), out).tensors.size, 6);
});

// Distances between files.

const ABOUT = { format: 'fathom-fisher', net: 'cnn', estimator: 'empirical', adapter: 'none' };

function fisherFile(name: string, values: number[], about: Record<string, string> = {}): string {
  const tensor = { dtype: 'F32' as const, shape: [values.length], data: Float32Array.from(values) };
  return save(name, { w: tensor }, { ...ABOUT, samples: '4', ...about });
}

test('distance: exact values, a warning where the numbers of samples differ', async () => {
  const f = fisherFile('f.safetensors', [1, 1, 0, 0]);
  const apart = fisherFile('apart.safetensors', [0, 0, 2, 5]);
  const other = fisherFile('other.safetensors', [1, 0, 1, 0], { samples: '5' });
  const [same, disjoint, { exit, stdout, stderr }] = await Promise.all([
    json('distance', f, f),
    json('distance', f, apart),
    fathom('distance', f, other, '--json'),
  ]);
  assert.equal(same.distance, 0);
  assert.equal(disjoint.distance, 1);
  assert.equal(exit, 0);
  assert.ok(Math.abs(JSON.parse(stdout).distanceSquared - 0.5) < 1e-12);
  assert.match(stderr, /^Warning: .*f\.safetensors .* 4 images .*other\.safetensors on 5[^\n]*\n$/);
});

test('distance: files that cannot be compared, or are no Fishers, are named', async () => {
  const f = fisherFile('f.safetensors', [1, 1, 0, 0]);
  const net = fisherFile('net.safetensors', [1, 1, 0, 0], { net: 'mlp' });
  const estimator = fisherFile('estimator.safetensors', [1, 1, 0, 0], { estimator: 'kfac' });
  const zero = fisherFile('zero.safetensors', [0, 0, 0, 0]);
  const negative = fisherFile('negative.safetensors', [1, -1]);
  await Promise.all([
    refused(['distance', f, net], /f\.safetensors is of the network cnn, but .*net\.safetensors of mlp/),
    refused(['distance', f, estimator], /estimator empirical, but .*estimator\.safetensors of kfac/),
    refused(['distance', weightsPath, f], /weights\.safetensors is not a file of `fathom fisher`/),
  ]);
  await Promise.all([
    refused(['distance', f, negative], /negative\..*w holds -1/),
    refused(['distance', f, zero], /zero\.safetensors \(target\): .* trace 0/),
    refused(['distance', f, join(scratch, 'absent')], /There is no file .*absent/),
  ]);
});

// The demo's parts; the demo as a whole takes minutes and is run by the continuous integration.

const results: Results = {
  format: 'fathom-demo',
  version: '0.0.0',
  createdAt: '2026-01-02T03:04:05.678Z',
  seconds: 12.5,
  options: {
    trials: 2,
    epochs: 1,
    seed: 0,
    trainImages: 4,
    validationImages: 4,
    testImages: 4,
    fisherSamples: 4,
    batch: 2,
    learningRate: 0.001,
  },
  runtime: 'Test 1',
  adapter: { label: 'an adapter', driver: 'embedded', kind: 'software' },
  tasks: ['cats', 'dogs'].map((name) => ({
    name,
    description: `${name} or not`,
    classes: 2,
    splits: { train: 4, validation: 4, test: 4 },
    accuracy: { mean: 0.875, worst: 0.75 },
  })),
  trials: [
    {
      seed: 0,
      tasks: ['cats', 'dogs'].map((name) => ({ name, accuracy: 0.875, loss: 0.5, bestEpoch: 1 })),
      distance: [
        [0, 0.25],
        [0.5, 0],
      ],
    },
  ],
  mean: [
    [0, 0.25],
    [0.5, 0],
  ],
  sigma: [
    [0, 0.125],
    [0.0625, 0],
  ],
  meanSquared: [
    [0, 0.0625],
    [0.25, 0],
  ],
  closest: [1, 0],
  paperClosest: [1, 0],
};

test("the demo's results hold to their schema, which refuses what it does not know", () => {
  assert.deepEqual(resultsSchema.parse(JSON.parse(JSON.stringify(results))), results);
  assert.equal(resultsSchema.safeParse({ ...results, surprise: 1 }).success, false);
  assert.equal(resultsSchema.safeParse({ ...results, mean: [[Number.NaN]] }).success, false);
});

test("the demo's text has the accuracies, the matrix with sources on rows, and the closest sources", () => {
  const text = describeResults(results);
  assert.match(text, /0: cats .* 0\.8750 .* 0\.7500/);
  assert.match(text, /0: cats[ │]+0[ │]+0\.2500 ±0\.1250/);
  assert.match(text, /1: dogs[ │]+0\.5000 ±0\.0625[ │]+0 /);
  assert.match(text, /Closest source of targets 0 to 1: 1, 0 \(the paper: 1, 0, the same\)/);
  const single = { ...results, options: { ...results.options, trials: 1 } };
  assert.doesNotMatch(describeResults(single), /±|standard deviation/);
  assert.match(describeResults({ ...results, closest: [1, 1] }), /: 1, 1 \(the paper: 1, 0\)/);
});

test('the heat map is an SVG that says all there is to say, and a PNG of twice its size', async () => {
  const { mean, sigma, closest } = results;
  const names = ['cats & dogs', 'birds'];
  const { svg, png } = await renderHeatmap({ title: 'A title', note: 'a note', names, mean, sigma, closest });
  const [, width, height] = svg.match(/^<svg [^>]*width="(\d+)" height="(\d+)"/)!.map(Number);
  const texts = [...svg.matchAll(/>([^<]+)</g)].map(([, text]) => text);
  const wanted = [
    'A title',
    'a note',
    '0: cats &amp; dogs',
    '1: birds',
    '0.250',
    '± 0.125',
    '0.500',
    'source',
  ];
  for (const text of wanted) assert.ok(texts.includes(text), `${text} is not in ${texts}`);
  assert.ok(texts.some((text) => text?.startsWith('smaller = closer; read down a column')));
  assert.equal(texts.filter((text) => text === 'closest').length, 2);
  assert.match(svg, /font-family="DejaVu Sans, ?sans-serif"/);

  assert.deepEqual([...png.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const view = new DataView(png.buffer, png.byteOffset);
  assert.deepEqual([view.getUint32(16), view.getUint32(20)], [2 * width!, 2 * height!]);
  const again = await renderHeatmap({ title: 'A title', note: 'a note', names, mean, sigma, closest });
  assert.deepEqual(again.png, png);
  const bare = await renderHeatmap({ title: 'A title', note: 'a note', names, mean, closest: [] });
  assert.doesNotMatch(bare.svg, />closest<|±/);
});

test('progress tells trial, task, epoch, loss, and the accuracy until the next task', () => {
  const label = matrixLabels();
  const where = { trial: 1, trials: 3, task: 'cats', work: 0, total: 1 };
  const training = { epoch: 1, epochs: 2, seen: 1, images: 2, loss: 0.5 };
  const validation = { accuracy: 0.9, loss: 0.4 };
  const show = (more: object) => label({ ...where, stage: 'train', training: { ...training, ...more } });
  assert.equal(show({}), 'trial 1/3, cats: epoch 1/2, loss 0.500');
  assert.equal(show({ validation }), 'trial 1/3, cats: epoch 1/2, loss 0.400, accuracy 0.900');
  assert.equal(show({ epoch: 2 }), 'trial 1/3, cats: epoch 2/2, loss 0.500, accuracy 0.900');
  assert.equal(label({ ...where, stage: 'measure' }), 'trial 1/3, cats: measuring');
  assert.equal(show({}), 'trial 1/3, cats: epoch 1/2, loss 0.500');
});

test('demo: a folder that cannot be made is said before the work starts', async () => {
  const file = join(scratch, 'in-the-way');
  writeFileSync(file, '');
  const folder = join(scratch, 'taken');
  mkdirSync(join(folder, 'matrix.png'), { recursive: true });
  await Promise.all([
    refused(['demo', '--out', file], /in-the-way cannot be written: a file has its name/),
    refused(['demo', '--out', join(file, 'out')], /out cannot be written: a part of its path is a file/),
    refused(['demo', '--out', folder], /matrix\.png cannot be written: it is a folder/),
  ]);
  assert.ok(!existsSync(join(folder, 'results.json')));
});
