import { type Gpu, Random } from '../../engine/index.ts';
import { Network } from '../../models/index.ts';
import { diagonalFisher } from '../fisher.ts';
import { defaultBudget, fisherBytes, trainingBytes } from '../memory.ts';
import { train } from '../train.ts';
import { firstOf, type StudyGraph } from './graph.ts';
import type { Job, JobKind } from './job.ts';
import type { Store } from './store.ts';
import { allJobs } from './study.ts';

export interface Estimate {
  /** By kind: jobs in all, jobs whose results are there, and images that those to come put through a network. */
  kinds: { kind: JobKind; jobs: number; done: number; images: number }[];
  /** Jobs to come, each after those it needs. */
  open: Job[];
  /** For the jobs to come, by steps measured here. */
  seconds: number;
  /** GPU memory a training step and a Fisher pass take beside the weights, in bytes. */
  trainingBytes: number;
  fisherBytes: number;
}

const FISHER_CHUNK = 64;

/** What is left to do of a study, and what that takes, by the time of a few steps on this adapter. */
export async function estimateStudy(graph: StudyGraph, store: Store, gpu: Gpu): Promise<Estimate> {
  const { study, tasks, architecture } = graph.plan;
  const kinds = new Map<JobKind, Estimate['kinds'][number]>();
  const open: Job[] = [];
  for (const job of allJobs(graph).values()) {
    const found = kinds.get(job.kind) ?? { kind: job.kind, jobs: 0, done: 0, images: 0 };
    kinds.set(job.kind, found);
    found.jobs++;
    if (await store.get(job)) found.done++;
    else {
      found.images += job.work;
      open.push(job);
    }
  }
  const images = (kind: JobKind) => kinds.get(kind)?.images ?? 0;
  const task = tasks[0]!;
  const widest = architecture(Math.max(...tasks.map(({ classes }) => classes)));
  const passes = images('train') + images('fisher') === 0 ? undefined : await timePasses(graph, gpu, task);
  return {
    kinds: [...kinds.values()],
    open,
    seconds: passes
      ? images('train') * passes.training + (images('fisher') + images('features') / 3) * passes.fisher
      : 0,
    trainingBytes: trainingBytes(gpu, widest, study.training.batch),
    fisherBytes: Math.min(defaultBudget(gpu), fisherBytes(gpu, widest, FISHER_CHUNK)),
  };
}

/** Seconds an image, in training and in a Fisher pass; the second of two runs counts, when all is compiled. */
async function timePasses(
  { plan: { study, architecture } }: StudyGraph,
  gpu: Gpu,
  task: StudyGraph['plan']['tasks'][number],
): Promise<{ training: number; fisher: number }> {
  using network = Network.initialise(gpu, architecture(task.classes), new Random(0));
  const some = {
    ...task,
    train: firstOf(task.train, 4 * study.training.batch),
    validation: firstOf(task.validation, 1),
  };
  const chunk = firstOf(task.test, FISHER_CHUNK);
  const { batch, learningRate } = study.training;
  const seconds = async (run: () => Promise<unknown>) => {
    await run();
    const begin = performance.now();
    await run();
    return (performance.now() - begin) / 1000;
  };
  const training = await seconds(() =>
    train(network, some, { epochs: 1, batch, learningRate, random: new Random(0) }),
  );
  const fisher = await seconds(() => diagonalFisher(network, chunk));
  return { training: training / some.train.index.length, fisher: fisher / chunk.index.length };
}
