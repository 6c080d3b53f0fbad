import { planStudy, type RunOptions, type Study, type StudyPlan, studySchema } from '../algorithms/index.ts';
import { hashImages, type Task } from '../data/index.ts';
import type { Gpu } from '../engine/index.ts';
import { stripesTask, tinyNet } from './tiny.ts';

/** Tasks on stripes of 2, 3 and so on rows, told apart by the tiny network. */
export function tinyTasks(classes: readonly number[] = [2, 3, 4]): Task[] {
  return classes.map((count) => {
    const task = stripesTask(100, count);
    return {
      ...task,
      hash: `${count} ${hashImages({ ...task.train.images, pixels: task.train.images.pixels as Uint8Array })}`,
    };
  });
}

type Fields = { [name: string]: unknown };

/** A study that takes a second or two. */
export function tinyPlan(settings: Fields = {}, tasks = tinyTasks()): StudyPlan {
  const study: Study = studySchema.parse({
    trials: 2,
    training: { epochs: 2, batch: 16, learningRate: 0.01 },
    fisher: { samples: 20 },
    statistics: { replicates: 20, draws: 200 },
    ...settings,
  });
  return planStudy(study, tasks, tinyNet);
}

/** What runStudy needs beside plan and store. */
export function quietly(gpu: Gpu): Pick<RunOptions, 'open' | 'version'> {
  return { version: 'test', open: async () => undisposed(gpu) };
}

/** The same device, which outlives whoever opened it. */
function undisposed(gpu: Gpu): Gpu {
  return new Proxy(gpu, {
    get: (target, name) => {
      if (name === 'dispose') return () => undefined;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
