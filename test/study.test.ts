import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  allJobs,
  diagonalFisher,
  FileStore,
  fisherDistance,
  type Job,
  type RunOptions,
  runStudy,
  StudyGraph,
  type StudyResults,
  studyResultsSchema,
  train,
} from '../algorithms/index.ts';
import { FathomError, Gpu, Random } from '../engine/index.ts';
import { Network } from '../models/index.ts';
import { tinyNet } from './tiny.ts';
import { quietly, tinyPlan, tinyTasks } from './tiny_study.ts';

const gpu = await Gpu.create();
const root = await mkdtemp(join(tmpdir(), 'fathom-study-'));
after(async () => {
  gpu.dispose();
  await rm(root, { recursive: true });
});

let folders = 0;
const newFolder = () => join(root, `${folders++}`);

/** Runs a study in a folder; gives its results and the labels of the jobs that were done for it. */
async function run(
  plan = tinyPlan(),
  folder = newFolder(),
  more: Partial<RunOptions> = {},
): Promise<{ results: StudyResults; done: string[]; folder: string; lines: string[]; failures: string[] }> {
  const done: string[] = [];
  const lines: string[] = [];
  const warn = (line: string) => lines.push(line);
  const { results, failures } = await runStudy({
    plan,
    store: new FileStore(folder, { warn }),
    ...quietly(gpu),
    warn,
    onDone: ({ label }) => done.push(label),
    ...more,
  });
  return { results: results!, done, folder, lines, failures: failures.map(({ message }) => message) };
}

const whole = await run();

test('a study gives what training, Fishers and distances by hand give', async () => {
  const { results } = whole;
  studyResultsSchema.parse(results);
  const tasks = tinyTasks();
  const random = new Random(1);
  const networks: Network[] = [];
  for (const task of tasks) {
    const network = Network.initialise(gpu, tinyNet(task.classes), random.fork('initialisation'));
    networks.push(network);
    await train(network, task, { epochs: 2, batch: 16, learningRate: 0.01, random: random.fork('order') });
  }
  for (const [t, target] of tasks.entries()) {
    for (const [s, source] of tasks.entries()) {
      const labelSpace = Math.max(source.classes, target.classes);
      const [f, g] = await Promise.all(
        [networks[s]!, networks[t]!].map((net) =>
          diagonalFisher(net, target.test, { samples: 20, labelSpace }),
        ),
      );
      const d = results.distance.trials[1]![s]![t]!;
      assert.ok(Math.abs(fisherDistance(f!, g!) - d) < 1e-5, `${s} to ${t}: ${d}`);
    }
  }
  for (const network of networks) network[Symbol.dispose]();
  assert.ok(results.floor.trials[0]!.every((d) => d > 0 && d < 1));
});

test('a second run does nothing and says the same', async () => {
  const again = await run(tinyPlan(), whole.folder);
  assert.deepEqual(again.done, []);
  assert.equal(JSON.stringify(again.results), JSON.stringify(whole.results));
});

test('another folder gives the same bytes; another seed does not', async () => {
  assert.equal(JSON.stringify((await run()).results), JSON.stringify(whole.results));
  const other = await run(tinyPlan({ seed: 5 }));
  assert.notDeepEqual(other.results.distance.mean, whole.results.distance.mean);
});

test('an interrupted study goes on and ends with the same bytes, no finished job done again', async () => {
  const folder = newFolder();
  const done: string[] = [];
  for (let killed = 0; ; killed++) {
    let left = 3;
    const interrupted = run(tinyPlan(), folder, {
      checkpointEvery: 0,
      onDone: ({ label }: Job) => {
        done.push(label);
        if (--left === 0) throw new FathomError({ code: 'store-full', message: 'killed', fix: 'go on' });
      },
    });
    const ended = await interrupted.catch((error) => error);
    if (ended instanceof FathomError) continue;
    assert.ok(killed > 3);
    assert.equal(JSON.stringify(ended.results), JSON.stringify(whole.results));
    break;
  }
  assert.deepEqual(done.toSorted(), whole.done.toSorted());
});

test('training goes on from its checkpoint', async () => {
  const folder = newFolder();
  const graph = new StudyGraph(tinyPlan({ training: { epochs: 3, batch: 16, learningRate: 0.01 } }));
  const job = graph.train(2, 0);
  const seen: number[] = [];
  const store = new FileStore(folder);
  const keep = store.keepCheckpoint.bind(store);
  store.keepCheckpoint = async (of, state) => {
    await keep(of, state);
    if (of.key === job.key) throw new FathomError({ code: 'store-full', message: 'killed', fix: 'go on' });
  };
  await assert.rejects(run(graph.plan, folder, { store, checkpointEvery: 0 }), /killed/);
  const { results } = await run(graph.plan, folder, {
    onProgress: ({ label, work }) => {
      if (label === job.label && work > 0) seen.push(work);
    },
  });
  const expected = await run(graph.plan);
  assert.equal(JSON.stringify(results), JSON.stringify(expected.results));
  assert.ok(seen.length > 0);
  assert.ok(!(await readdir(join(folder, 'train'))).some((name) => name.endsWith('.checkpoint')));
});

test('a lost device is opened again and training goes on from its checkpoint, with the same bytes', async () => {
  let opened = 0;
  let doomed: Gpu | undefined;
  const { results, lines, done } = await run(tinyPlan(), newFolder(), {
    checkpointEvery: 0,
    async open() {
      doomed = await Gpu.create();
      opened++;
      return doomed;
    },
    onProgress({ label, work }) {
      // In the second epoch of the first training.
      if (opened === 1 && label === 'train stripes 2, trial 1' && work > 60) doomed!.device.destroy();
    },
  });
  assert.equal(opened, 2);
  assert.ok(
    lines.some((line) => /device was lost.*it is tried again$/.test(line)),
    lines.join(),
  );
  assert.equal(JSON.stringify(results), JSON.stringify(whole.results));
  assert.deepEqual(done.toSorted(), whole.done.toSorted());
});

test('another file for the network makes other jobs, though its tensors have the same names and shapes', () => {
  const plan = tinyPlan();
  const key = (networkFile?: string) => new StudyGraph({ ...plan, networkFile }).train(0, 0).key;
  assert.equal(new Set([key(), key('a'), key('b')]).size, 3);
});

test('a further task costs one training a trial and the passes it is part of, and leaves the rest as it was', async () => {
  const folder = newFolder();
  const before = await run(tinyPlan({}, tinyTasks([3, 4])), folder);
  const after = await run(tinyPlan({}, tinyTasks([3, 4, 2])), folder);
  const kind = (label: string) => label.split(' ')[0]!;
  const count = (name: string) => after.done.filter((label) => kind(label) === name).length;
  assert.equal(count('train'), 2 + 1, 'one a trial, and one again for the noise floor');
  // In each trial both old networks on the new target, the new one on both old targets, and the new task's own Fisher
  // in the label spaces it meets, 3 and 4; for the floor two in its own of 2; and that of the old task of 3 in a space
  // of 3, which only the floor of the first trial had met.
  assert.equal(count('Fisher'), 2 * (2 + 2 + 2) + 2 + 1);
  for (const [s, row] of before.results.distance.mean.entries()) {
    for (const [t, d] of row.entries()) assert.equal(after.results.distance.mean[s]![t], d);
  }
});

test('two runs in one folder at a time do every job once between them', async () => {
  const folder = newFolder();
  const [a, b] = await Promise.all([run(tinyPlan(), folder), run(tinyPlan(), folder)]);
  assert.equal(JSON.stringify(a.results), JSON.stringify(whole.results));
  assert.equal(JSON.stringify(b.results), JSON.stringify(whole.results));
  assert.deepEqual([...a.done, ...b.done].toSorted(), whole.done.toSorted());
});

test('an early stop takes fewer samples and says how many; it repeats to the bit', async () => {
  const settings = { fisher: { samples: 20 }, statistics: { stopEarly: 0.5, replicates: 20, draws: 200 } };
  const first = await run(tinyPlan(settings));
  const again = await run(tinyPlan(settings), first.folder);
  assert.equal(JSON.stringify(again.results), JSON.stringify(first.results));
  assert.deepEqual(again.done, []);
  const stopped = first.results.rankings.filter(({ stoppedEarly }) => stoppedEarly);
  assert.ok(stopped.length > 0, 'some target is certain early at a level of one half');
  for (const { samples } of stopped) assert.ok(samples < 20);
  for (const { samples, stoppedEarly } of first.results.rankings) assert.ok(stoppedEarly || samples === 20);
});

test('a job that fails is reported, its trial left out, and the rest goes on', async () => {
  const tasks = tinyTasks();
  const broken = { ...tasks[1]!, train: { ...tasks[1]!.train } };
  const images = {
    ...broken.train.images,
    pixels: Float32Array.from(broken.train.images.pixels as Uint8Array),
  };
  images.pixels.fill(Number.NaN);
  broken.train.images = images;
  const failed = await runStudy({
    plan: tinyPlan({}, [tasks[0]!, { ...broken, hash: 'broken' }, tasks[2]!]),
    store: new FileStore(newFolder()),
    ...quietly(gpu),
  });
  assert.equal(failed.results, undefined);
  assert.deepEqual(failed.failures.map(({ job }) => job.label).slice(0, 2), [
    'train stripes 3, trial 1',
    'train stripes 3, trial 2',
  ]);
  assert.match(failed.failures[0]!.message, /diverged/);
});

test('a damaged result and one of another version are made anew, with a line that says so', async () => {
  const { folder } = await run();
  const graph = new StudyGraph(tinyPlan());
  const store = new FileStore(folder);
  const [damaged, old] = [graph.train(0, 0), graph.distance({ source: 0, target: 1, trial: 0 }, 16)].map(
    (job) => store.path(job),
  );
  const bytes = await readFile(damaged!);
  bytes[bytes.length - 5]! ^= 1;
  await writeFile(damaged!, bytes);
  const text = (await readFile(old!)).toString('latin1').replace('"version":"1"', '"version":"0"');
  await writeFile(old!, Buffer.from(text, 'latin1'));
  const again = await run(tinyPlan(), folder);
  assert.equal(again.done.length, 2);
  assert.ok(again.lines.includes(`${damaged} is damaged; it is made anew`), again.lines.join());
  assert.ok(
    again.lines.includes(`${old} was made by another version of Fathom; it is made anew`),
    again.lines.join(),
  );
  assert.equal(JSON.stringify(again.results), JSON.stringify(whole.results));
});

test('jobs are plain data, have one key each and stand after what they need', () => {
  const jobs = allJobs(new StudyGraph(tinyPlan()));
  const seen = new Set<string>();
  for (const job of jobs.values()) {
    assert.deepEqual(JSON.parse(JSON.stringify(job)), job);
    for (const key of job.needs) assert.ok(seen.has(key), `${job.label} stands before what it needs`);
    seen.add(job.key);
  }
  const again = allJobs(new StudyGraph(tinyPlan()));
  assert.deepEqual([...again.keys()], [...jobs.keys()]);
});
