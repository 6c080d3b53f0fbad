import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSafetensors, Random, serializeSafetensors } from '../engine/index.ts';
import type { SafetensorsTensor } from '../engine/safetensors.ts';
import { initialState, mlp } from '../models/index.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'fathom-networks-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs the CLI; what drivers of the system write to stderr on their own is left out. */
function fathom(...args: string[]): Promise<{ exit: number; stdout: string; stderr: string }> {
  const runtime =
    'Deno' in globalThis
      ? ['run', '-A', '--no-check', '--config', join(ROOT, 'deno.json')]
      : ['--import', import.meta.resolve('tsx'), '--conditions=fathom-source'];
  const env = { ...process.env, XDG_RUNTIME_DIR: scratch };
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...runtime, join(ROOT, 'cli/main.ts'), ...args],
      { cwd: scratch, env },
      (error, stdout, stderr) => {
        const own = stderr.replaceAll(/^Warning: max\w+ artificially reduced.*\n/gm, '');
        resolve({ exit: error ? Number(error.code) : 0, stdout, stderr: own });
      },
    );
  });
}

async function json(...args: string[]) {
  const { exit, stdout, stderr } = await fathom(...args, '--json');
  assert.equal(exit, 0, stderr);
  return JSON.parse(stdout);
}

async function refused(args: string[], pattern: RegExp): Promise<void> {
  const { exit, stderr } = await fathom(...args);
  assert.equal(exit, 1);
  assert.match(stderr, pattern);
  assert.equal(stderr.trimEnd().split('\n').length, 1, stderr);
}

function save(name: string, tensors: Record<string, SafetensorsTensor>): string {
  const path = join(scratch, name);
  writeFileSync(path, serializeSafetensors(new Map(Object.entries(tensors)), {}));
  return path;
}

/** Weights of an mlp of seven classes, and images for it. */
const weights = save(
  'weights.safetensors',
  Object.fromEntries(
    [...initialState(mlp(7), new Random(1))].map(([name, { shape, data }]) => [
      name,
      { dtype: 'F32', shape, data },
    ]),
  ),
);
const data = save('data.safetensors', {
  images: { dtype: 'F32', shape: [5, 1, 28, 28], data: new Random(2).uniform(5 * 784) },
  labels: { dtype: 'I64', shape: [5], data: BigInt64Array.of(0n, 6n, 2n, 3n, 1n) },
});
const measure = (out: string, ...more: string[]) => [
  ...['fisher', '--net', 'mlp', '--weights', weights, '--data', data, '--out', join(scratch, out)],
  ...more,
];

test('nets lists every network with parameters, multiply-adds and memory', async () => {
  const { networks, batch } = await json('nets', '--batch', '4');
  assert.equal(batch, 4);
  const find = (net: string, stem: string) =>
    networks.find((each: { net: string; stem: string }) => each.net === net && each.stem === stem);
  // conv1 3x3x64 over 1024 pixels, and so on: He et al. give 1.8 G for the imagenet stem.
  assert.equal(find('resnet18', 'cifar').parameters, 11_173_962);
  assert.ok(Math.abs(find('resnet18', 'imagenet').multiplyAdds / 1.814e9 - 1) < 0.01);
  assert.equal(find('cnn', 'cifar').multiplyAdds, 28 * 28 * 8 * 25 + 14 * 14 * 16 * 8 * 25 + 784 * 10);
  assert.equal(networks.length, 17);
  for (const each of networks) assert.ok(each.fisherBytes > 0 && each.trainingBytes > 0, each.net);
});

test('verify passes a network of a file of one’s own', async () => {
  const { exit, stdout } = await fathom('verify', '--net', join(ROOT, 'docs/own-network.ts'));
  assert.equal(exit, 0, stdout);
  assert.match(stdout, /^ {2}stem\.conv\.weight +16 x 1 x 3 x 3$/m);
  assert.match(stdout, /^PASSED: 8 of 8 checks of small-residual hold on /m);
});

test('verify names the failing parameters, and exits with 1', async () => {
  const faulty = join(scratch, 'faulty.mjs');
  const from = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  writeFileSync(
    faulty,
    `import { chain, flattenLayer, linearLayer } from ${from('../models/index.ts')};
     const wrong = { tensors: [], apply: ({ tape }, x) =>
       tape.record('scale', [x], x.reshape(x.shape), { gradient: (_, upstream) => upstream }, [2]) };
     export default ({ classes }) => ({ name: 'faulty', input: [4, 4, 1], classes, head: [], module:
       chain(flattenLayer(), ['fc1', linearLayer(16, 8)], wrong, ['fc2', linearLayer(8, classes)]) });`,
  );
  const { exit, stdout, stderr } = await fathom('verify', '--net', faulty);
  assert.equal(exit, 1);
  assert.match(stdout, /^FAILED {2}outputs against float64 on the CPU\n {8}outputs: /m);
  assert.match(stdout, /^FAILED: 7 of 8 checks of faulty /m);
  assert.match(stderr, /^faulty fails on .*: outputs against float64/);
});

test('fisher takes the class count from the weights, and writes estimator and head', async () => {
  const summary = await json(
    ...measure('sampled.safetensors', '--estimator', 'sampled', '--draws', '2', '--seed', '3'),
  );
  assert.equal(summary.estimator, 'sampled (2 draws, seed 3)');
  const path = join(scratch, 'sampled.safetensors');
  const { metadata, tensors } = parseSafetensors(readFileSync(path), path);
  assert.equal(metadata.estimator, 'sampled (2 draws, seed 3)');
  assert.equal(metadata.head, 'fc3.weight,fc3.bias');
  assert.deepEqual(tensors.get('fc3.bias')!.shape, [7]);
});

test('distance leaves heads out, and refuses Fishers of different estimators', async () => {
  const paths = ['empirical', 'exact'].map((name) => join(scratch, `${name}.safetensors`)) as [
    string,
    string,
  ];
  await json(...measure('empirical.safetensors'));
  await json(...measure('exact.safetensors', '--estimator', 'exact'));
  await refused(['distance', ...paths], /of the estimator empirical, but .* of exact/);
  const dropped = await json('distance', paths[0], paths[0], '--head', 'drop');
  assert.equal(dropped.distance, 0);
  const layers = dropped.contributions.map(({ name }: { name: string }) => name);
  assert.deepEqual(layers, ['fc1', 'fc2']);
});

test('what is missing or unknown is said in one line', async () => {
  await refused(measure('x.safetensors', '--estimator', 'batch'), /none was given\. Give --batch/);
  await refused(['verify', '--net', 'resnet50'], /There is no network resnet50\. Take one of cnn, /);
  await refused(['verify', '--net', 'absent.mjs'], /There is no file absent\.mjs/);
  writeFileSync(join(scratch, 'empty.mjs'), 'export default 3;');
  await refused(['verify', '--net', 'empty.mjs'], /does not export an architecture/);
  await refused(measure('x.safetensors', '--classes', '8'), /fc3\.weight has shape \[7,128\], not \[8,128\]/);
});
