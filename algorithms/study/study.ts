import { type ChannelScale, channelScale, type Examples, type Task } from '../../data/index.ts';
import { FathomError, type Gpu } from '../../engine/index.ts';
import type { Architecture } from '../../models/index.ts';
import { decideEarly } from '../statistics/index.ts';
import { LocalExecutor } from './executor.ts';
import { type Pair, StudyGraph, type StudyPlan } from './graph.ts';
import { hashOf, type Job } from './job.ts';
import type { DistanceValues } from './measures.ts';
import type { StudyResults } from './results.ts';
import { type Failure, Scheduler, type StudyProgress } from './scheduler.ts';
import type { Study } from './schema.ts';
import type { Store } from './store.ts';
import { summarise } from './summary.ts';

/**
 * Puts a study's declaration together with its tasks.
 * @param networkFile see {@link StudyPlan}
 * @throws FathomError `too-few-tasks`, `same-name`, `unfit-images`, `unfit-network`
 */
export function planStudy(
  study: Study,
  tasks: readonly Task[],
  architecture: (classes: number) => Architecture,
  networkFile?: string,
): StudyPlan {
  if (tasks.length < 2) {
    throw new FathomError({
      code: 'too-few-tasks',
      message: `The study has ${tasks.length === 0 ? 'no task' : 'one task'}`,
      fix: 'Declare at least two, under tasks or by a preset',
    });
  }
  const taken = new Set<string>();
  for (const task of tasks) {
    checkImages(task, architecture(task.classes));
    if (taken.has(task.name)) {
      throw new FathomError({
        code: 'same-name',
        message: `Two tasks of the study are called "${task.name}"`,
        fix: 'Give each a name of its own',
      });
    }
    taken.add(task.name);
  }
  const taskHashes = tasks.map(({ name, hash }) => {
    if (hash === undefined) throw new Error(`the task ${name} has no hash`);
    return study.standardise ? hashOf({ hash, standardise: true }) : hash;
  });
  const scaled = study.standardise ? standardised(tasks) : tasks;
  return { study, tasks: scaled, taskHashes, architecture, networkFile };
}

/** Images scaled channel by channel to mean 0 and deviation 1 over the set that training images come from. */
function standardised(tasks: readonly Task[]): Task[] {
  const scales = new Map<unknown, ChannelScale>();
  return tasks.map((task) => {
    const from = task.train.images;
    const scale = scales.get(from) ?? channelScale(from);
    scales.set(from, scale);
    const scaled = (examples: Examples): Examples => ({
      ...examples,
      images: { ...examples.images, scale },
      // A network that gives its own image is to give it as it is.
      targets: examples.targets ?? (task.classes === 0 ? examples.images : undefined),
    });
    return {
      ...task,
      train: scaled(task.train),
      validation: scaled(task.validation),
      test: scaled(task.test),
    };
  });
}

function checkImages({ name, train, classes }: Task, { name: network, input, target }: Architecture): void {
  const { height, width, channels } = train.images;
  const shape = `${height} x ${width} x ${channels}`;
  if (`${input}` !== `${[height, width, channels]}`) {
    throw new FathomError({
      code: 'unfit-images',
      message: `${network} takes images of ${input.join(' x ')}, but those of task "${name}" are ${shape}`,
      fix: 'Set size and channels of the data set, or take another network (cnn3 takes any)',
    });
  }
  if ((classes === 0) === (target !== undefined)) return;
  throw new FathomError({
    code: 'unfit-network',
    message: `${network} gives ${target ? 'images' : 'classes'}, but task "${name}" asks for ${classes === 0 ? 'images' : 'classes'}`,
    fix: classes === 0 ? 'Take taskonomy_conv or taskonomy_fc' : 'Take a network for classes, such as cnn3',
  });
}

export interface RunOptions {
  plan: StudyPlan;
  store: Store;
  open: () => Promise<Gpu>;
  /** Fathom's version, for the results. */
  version: string;
  warn?: (line: string) => void;
  onProgress?: (progress: StudyProgress) => void;
  onDone?: (job: Job) => void;
  /** Least milliseconds between checkpoints of a training. */
  checkpointEvery?: number;
}

export interface RunResult {
  /** Left out where not one trial is whole. */
  results?: StudyResults;
  failures: readonly Failure[];
}

/**
 * Runs a study, or what is left of it: trains, measures, compares and sums up. Whatever interrupted it, the results
 * have the same bits on the same adapter.
 * @throws FathomError `store-full`, `store-unwritable`
 */
export async function runStudy(options: RunOptions): Promise<RunResult> {
  const { plan, store, onProgress, onDone, warn = () => undefined } = options;
  const graph = new StudyGraph(plan);
  using executor = new LocalExecutor({ ...options, warn });
  const total = [...allJobs(graph).values()].reduce((sum, { work }) => sum + work, 0);
  const scheduler = new Scheduler({ store, executor, total, onProgress, onDone });
  await scheduler.run(trainings(graph));
  const looked = await measureTargets(graph, scheduler);
  await scheduler.run(jobsAfter(graph, looked));
  const results = await summarise(graph, looked, scheduler, options.version);
  return { results, failures: scheduler.failures };
}

/** All jobs of a study, each after those it needs; with an early stop some may turn out not to be needed. */
export function allJobs(graph: StudyGraph): Map<string, Job> {
  const last = graph.looks.map((ends) => ends.at(-1)!);
  const jobs = [
    ...trainings(graph),
    ...graph.pairs.flatMap((pair) => measuring(graph, pair, last[pair.target]!)),
    ...jobsAfter(graph, last),
  ];
  return new Map(jobs.map((job) => [job.key, job]));
}

function trainings(graph: StudyGraph): Job[] {
  const each = (trials: readonly number[], copy: number) =>
    trials.flatMap((trial) => graph.plan.tasks.map((_, task) => graph.train(task, trial, copy)));
  return [...each(graph.trials, 0), ...each(graph.floorTrials, 1)];
}

function measuring(graph: StudyGraph, pair: Pair, blocks: number): Job[] {
  const { source, target } = graph.fishers(pair, blocks);
  return [...target, ...source, graph.distance(pair, blocks)];
}

/** What is done once it is known on how many blocks each target is measured. */
function jobsAfter(graph: StudyGraph, looked: readonly number[]): Job[] {
  const floors = graph.floorTrials.flatMap((trial) =>
    graph.plan.tasks.flatMap((_, task) => {
      const { fishers, distance } = graph.floor(task, trial, looked[task]!);
      return [...fishers, distance];
    }),
  );
  if (graph.plan.study.comparators.names.length === 0) return floors;
  const scores = graph.pairs.flatMap((pair) => [
    ...(graph.needsFeatures(pair.target) ? [graph.features(pair)] : []),
    graph.scores(pair, looked[pair.target]!),
  ]);
  return [...floors, ...scores];
}

/**
 * Measures every target on growing numbers of blocks until its closest source is certain enough or all are measured.
 * @returns by target: blocks measured
 */
async function measureTargets(graph: StudyGraph, scheduler: Scheduler): Promise<number[]> {
  const { stopEarly } = graph.plan.study.statistics;
  const looked = graph.looks.map((ends) => ends.at(-1)!);
  let open = looked.map((_, target) => target);
  for (let look = 0; open.length > 0; look++) {
    const pairs = graph.pairs.filter(({ target }) => open.includes(target));
    await scheduler.run(pairs.flatMap((pair) => measuring(graph, pair, graph.looks[pair.target]![look]!)));
    const still: number[] = [];
    for (const target of open) {
      const blocks = graph.looks[target]![look]!;
      if (blocks === graph.looks[target]!.at(-1)) continue;
      if (await isCertain(graph, scheduler, target, blocks, stopEarly!)) looked[target] = blocks;
      else still.push(target);
    }
    open = still;
  }
  return looked;
}

async function isCertain(
  graph: StudyGraph,
  scheduler: Scheduler,
  target: number,
  blocks: number,
  level: number,
): Promise<boolean> {
  const sources = graph.plan.tasks.flatMap((_, task) => (task === target ? [] : [task]));
  const measured: DistanceValues[][] = [];
  for (const trial of graph.trials) {
    const row: DistanceValues[] = [];
    for (const source of sources) {
      const result = await scheduler.result(graph.distance({ source, target, trial }, blocks));
      if (!result) return false;
      row.push(result.values as unknown as DistanceValues);
    }
    measured.push(row);
  }
  const samples = {
    distance: measured.map((row) => row.map(({ distance }) => distance)),
    replicates: measured.map((row) => row.map(({ replicates }) => replicates)),
  };
  return decideEarly(samples, { blocks, level, looks: graph.looks[target]!.length - 1 }).stop;
}
