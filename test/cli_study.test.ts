import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { studyResultsSchema } from '../algorithms/index.ts';
import { Random } from '../engine/index.ts';
import { runCli, startCli } from './run_cli.ts';

const folder = await mkdtemp(join(tmpdir(), 'fathom-cli-study-'));
after(() => rm(folder, { recursive: true }));

const STUDY = `
name: small
trials: 2
data:
  digits: { format: mnist }
tasks:
  - { name: zero, data: digits, groups: { zero: [0] } }
  - { name: six, data: digits, groups: { six: [6] } }
  - { name: digits, data: digits }
splits: { train: 600, validation: 100, test: 400 }
training: { epochs: 2, batch: 32 }
fisher: { samples: 64 }
statistics: { replicates: 20, draws: 200 }
`;
await writeFile(join(folder, 'study.yaml'), STUDY);
const whole = await runCli(folder, 'run', 'study.yaml', '--out', 'whole');
const read = (out: string) => readFile(join(folder, out, 'results.json'), 'utf8');

test('run writes results, study, table and report', async () => {
  assert.equal(whole.exit, 0, whole.stderr);
  const results = studyResultsSchema.parse(JSON.parse(await read('whole')));
  assert.deepEqual(
    results.tasks.map(({ name }) => name),
    ['zero', 'six', 'digits'],
  );
  assert.match(whole.stdout, /zero .* six/);
  assert.match(whole.stdout, /Wrote .*results\.json/);
  assert.ok(results.warnings.some((warning) => warning.includes('Two trials tell little')));
  assert.match(await readFile(join(folder, 'whole/study.yaml'), 'utf8'), /learningRate: 0.001/);
});

test('killed at random moments and run again, it ends with the same bytes and does no job twice', async () => {
  const kills = process.env.FATHOM_THOROUGH ? 50 : 4;
  const moments = new Random(kills).uniform(kills);
  const args = ['run', 'study.yaml', '--out', 'killed'];
  const finished = async () => {
    const names = await readdir(join(folder, 'killed/store'), { recursive: true }).catch(() => []);
    return names.filter((name) => name.endsWith('.safetensors'));
  };
  const made = new Map<string, string>();
  for (const moment of moments) {
    const { child, ended } = startCli(folder, ...args);
    await new Promise((resolve) => setTimeout(resolve, 500 + moment * 4000));
    child.kill('SIGKILL');
    await ended;
    for (const name of await finished()) {
      const bytes = await readFile(join(folder, 'killed/store', name));
      const content = bytes.toString('base64');
      assert.equal(content, made.get(name) ?? content, `${name} was made again`);
      made.set(name, content);
    }
  }
  const last = await runCli(folder, ...args);
  assert.equal(last.exit, 0, last.stderr);
  assert.equal(await read('killed'), await read('whole'));
  const [, did] = last.stderr.match(/Did (\d+) jobs/)!;
  assert.equal(Number(did), (await finished()).length - made.size);
});

test('two processes on one folder do every job once between them', async () => {
  const ended = await Promise.all([1, 2].map(() => runCli(folder, 'run', 'study.yaml', '--out', 'shared')));
  const did = ended.map(({ stderr }) => Number(stderr.match(/Did (\d+) jobs/)?.[1]));
  for (const { exit, stderr } of ended) assert.equal(exit, 0, stderr);
  const [, all] = whole.stderr.match(/Did (\d+) jobs/)!;
  assert.equal(did[0]! + did[1]!, Number(all));
  assert.equal(await read('shared'), await read('whole'));
});

test('a dry run tells of the jobs to come and does none', async () => {
  const { exit, stdout } = await runCli(folder, 'run', 'study.yaml', '--out', 'dry', '--dry-run', '--json');
  assert.equal(exit, 0);
  const { kinds, open, seconds, fisherBytes } = JSON.parse(stdout);
  assert.ok(seconds > 0 && fisherBytes > 0);
  const trainings = kinds.find(({ kind }: { kind: string }) => kind === 'train');
  assert.deepEqual([trainings.jobs, trainings.done], [2 * 3 + 3, 0]);
  assert.ok(open.length > 0);
  assert.deepEqual(await readdir(folder).then((names) => names.includes('dry')), false);
});

test('a study that is wrong ends in one line that names the file and the field', async () => {
  const wrong = async (text: string, expected: RegExp) => {
    await writeFile(join(folder, 'wrong.yaml'), text);
    const { exit, stderr, stdout } = await runCli(folder, 'run', 'wrong.yaml');
    assert.equal(exit, 1);
    assert.equal(stdout, '');
    assert.match(stderr, expected);
    assert.match(stderr, /^[^\n]*wrong\.yaml[^\n]*\n$/);
  };
  await wrong('trails: 3\n', /trails/);
  await wrong('tasks: [\n', /wrong\.yaml/);
  await wrong('trials: none\n', /trials: /);
  await wrong('tasks: [{ name: a, data: nowhere }]\n', /nowhere/);
});

test('init writes a study that runs as it stands, and a schema; it overwrites nothing', async () => {
  const first = await runCli(folder, 'init', '--out', 'new');
  assert.equal(first.exit, 0, first.stderr);
  const dry = await runCli(folder, 'run', 'new/study.yaml', '--dry-run');
  assert.equal(dry.exit, 0, dry.stderr);
  const schema = JSON.parse(await readFile(join(folder, 'new/study.schema.json'), 'utf8'));
  assert.ok(schema.properties.tasks && schema.properties.trials.description);
  const again = await runCli(folder, 'init', '--out', 'new');
  assert.equal(again.exit, 1);
  assert.match(again.stderr, /There is a file new\/study\.yaml/);
});
