import { join } from 'node:path';
import type { Command } from 'commander';
import { distanceMatrix, type Trial } from '../algorithms/index.ts';
import { type Examples, loadMnist, mnistTasks, type Task } from '../data/index.ts';
import { cnnWithHead } from '../models/index.ts';
import { renderHeatmap } from '../report/heatmap.ts';
import {
  addCommand,
  type CommonOptions,
  openGpu,
  printResult,
  table,
  version,
  wholeNumber,
} from './command.ts';
import { checkFolder, writeOutput } from './files.ts';
import { matrixLabels, startProgress } from './progress.ts';
import { type Results, resultsSchema } from './results.ts';

interface DemoOptions extends CommonOptions {
  out: string;
  trials: number;
  epochs: number;
  seed: number;
}

const SETTINGS = {
  trainImages: 4000,
  validationImages: 500,
  testImages: 2000,
  fisherSamples: 400,
  batch: 64,
  learningRate: 1e-3,
};
/** Closest source of each target, the same for all three networks of the paper (section 3.2). */
const PAPER_CLOSEST = [1, 0, 3, 2];
const FILES = { results: 'results.json', svg: 'matrix.svg', png: 'matrix.png' };

export function addDemo(program: Command): void {
  addCommand(program, 'demo', {
    description: 'train on four tasks made of MNIST, and measure how far they are from one another',
    example: 'demo --trials 1 --out quick-look',
  })
    .option('--out <folder>', `where ${Object.values(FILES).join(', ')} go`, 'fathom-demo')
    .option('--trials <n>', 'repeat with this many initialisations', wholeNumber(1), 3)
    .option('--epochs <n>', 'passes over the training images', wholeNumber(1), 3)
    .option('--seed <n>', 'draws the images; trial i starts from seed + i', wholeNumber(0), 0)
    .action(run);
}

async function run(options: DemoOptions): Promise<void> {
  await checkFolder(options.out, Object.values(FILES));
  const results = await measure(options);
  await writeResults(options.out, results);
  printResult(options, results, () => {
    const names = Object.values(FILES).map((name) => join(options.out, name));
    return `${describeResults(results)}\nWrote ${names.join(', ')}`;
  });
}

async function measure(options: DemoOptions): Promise<Results> {
  const { trials, epochs, seed } = options;
  const begin = performance.now();
  const sets = await loadMnist();
  const tasks = mnistTasks(sets, {
    seed,
    train: SETTINGS.trainImages,
    validation: SETTINGS.validationImages,
    test: SETTINGS.testImages,
  });
  using gpu = await openGpu(options);
  using progress = startProgress();
  const label = matrixLabels();
  const matrix = await distanceMatrix(gpu, tasks, cnnWithHead, {
    ...SETTINGS,
    trials,
    epochs,
    seed,
    onProgress: (step) => progress.show(label(step), step.work, step.total),
  });
  const { label: adapterLabel, driver, kind } = gpu.opened;
  return resultsSchema.parse({
    format: 'fathom-demo',
    version,
    createdAt: new Date().toISOString(),
    seconds: (performance.now() - begin) / 1000,
    options: { trials, epochs, seed, ...SETTINGS },
    runtime: gpu.runtime.version,
    adapter: { label: adapterLabel, driver, kind },
    tasks: tasks.map((task, i) =>
      describeTask(
        task,
        matrix.trials.map((trial) => trial.tasks[i]!.accuracy!),
      ),
    ),
    trials: matrix.trials.map(describeTrial),
    mean: matrix.mean,
    sigma: matrix.sigma,
    meanSquared: matrix.meanSquared,
    closest: matrix.closest,
    paperClosest: PAPER_CLOSEST,
  } satisfies Results);
}

function describeTask(task: Task, accuracies: readonly number[]): Results['tasks'][number] {
  const { name, description, classes } = task;
  const size = (examples: Examples) => examples.index.length;
  return {
    name,
    description,
    classes,
    splits: { train: size(task.train), validation: size(task.validation), test: size(task.test) },
    accuracy: {
      mean: accuracies.reduce((a, b) => a + b, 0) / accuracies.length,
      worst: Math.min(...accuracies),
    },
  };
}

function describeTrial({ seed, tasks, distance }: Trial): Results['trials'][number] {
  return {
    seed,
    tasks: tasks.map(({ name, accuracy, loss, bestEpoch }) => ({
      name,
      accuracy: accuracy!,
      loss,
      bestEpoch,
    })),
    distance,
  };
}

async function writeResults(folder: string, results: Results): Promise<void> {
  const { trials, epochs } = results.options;
  const { svg, png } = await renderHeatmap({
    title: 'Fisher task distance between four MNIST tasks',
    note:
      trials === 1
        ? `one trial, ${epochs} ${epochs === 1 ? 'epoch' : 'epochs'}`
        : `mean ± standard deviation over ${trials} trials, ${epochs} ${epochs === 1 ? 'epoch' : 'epochs'} each`,
    names: results.tasks.map((task) => task.name),
    mean: results.mean,
    sigma: trials === 1 ? undefined : results.sigma,
    closest: results.closest,
  });
  await writeOutput(join(folder, FILES.svg), svg);
  await writeOutput(join(folder, FILES.png), png);
  await writeOutput(join(folder, FILES.results), `${JSON.stringify(results, null, 2)}\n`);
}

/** The results as tables and sentences for a terminal. */
export function describeResults(results: Results): string {
  const { tasks, mean, sigma, closest, paperClosest, adapter } = results;
  const named = tasks.map((task, i) => `${i}: ${task.name}`);
  const accuracies = tasks.map(({ classes, splits, accuracy }, i) => [
    named[i]!,
    String(classes),
    String(splits.train),
    accuracy.mean.toFixed(4),
    accuracy.worst.toFixed(4),
  ]);
  const single = results.options.trials === 1;
  const cell = (s: number, t: number) => {
    if (s === t) return '0';
    const value = mean[s]![t]!.toFixed(4);
    return single ? value : `${value} ±${sigma[s]![t]!.toFixed(4)}`;
  };
  const distances = mean.map((row, s) => [named[s]!, ...row.map((_, t) => cell(s, t))]);
  const answers = (of: readonly number[]) => of.join(', ');
  const agrees = answers(closest) === answers(paperClosest);
  return [
    table(['task', 'classes', 'images', 'accuracy', 'worst'], accuracies),
    '',
    `Distance from a source (row) to a target (column)${single ? '' : ': mean and standard deviation over trials'}`,
    table(['source \\ target', ...named], distances),
    '',
    `Closest source of targets 0 to ${tasks.length - 1}: ${answers(closest)} (the paper: ${answers(paperClosest)}${agrees ? ', the same' : ''})`,
    `On ${adapter.label} (${adapter.kind}, ${adapter.driver} driver), ${results.runtime}, in ${results.seconds.toFixed(0)} s`,
  ].join('\n');
}
