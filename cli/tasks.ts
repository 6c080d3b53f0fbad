import { basename, extname, join } from 'node:path';
import process from 'node:process';
import type { Command } from 'commander';
import { type Examples, presets, type Task } from '../data/index.ts';
import type { Gpu } from '../engine/index.ts';
import { addCommand, type CommonOptions, openGpu, printResult, table } from './command.ts';
import { drawContactSheet } from './contact-sheet.ts';
import { checkFolder, writeOutput } from './files.ts';
import { readStudy, studyTasks } from './study.ts';

interface TasksOptions extends CommonOptions {
  out?: string;
}

type Split = 'train' | 'validation' | 'test';

const SPLITS: readonly Split[] = ['train', 'validation', 'test'];
/** Classes listed of a task. */
const LISTED = 24;

export function addTasks(program: Command): void {
  addCommand(program, 'tasks <study>', {
    description: 'show the tasks that a study declares: classes, images of each, and pictures to look at',
    example: 'tasks study.yaml',
    adapter: 'where to render data that is rendered',
  })
    .option('--out <folder>', "where pictures of the tasks go (default: the study's name with -tasks)")
    .addHelpText('after', () => {
      const rows = Object.entries(presets).map(([name, { description }]) => `  ${name}: ${description}`);
      return `\nPresets:\n${rows.join('\n')}`;
    })
    .action(run);
}

async function run(path: string, options: TasksOptions): Promise<void> {
  const folder = options.out ?? `${basename(path, extname(path))}-tasks`;
  const study = await readStudy(path);
  const warn = (line: string) => process.stderr.write(`${line}\n`);
  let opened: Gpu | undefined;
  const gpu = async () => (opened ??= await openGpu(options));
  try {
    const tasks = await studyTasks(study, path, { warn, gpu });
    const files = tasks.map(({ name }, i) =>
      join(folder, `${i}-${name.replaceAll(/[^\p{L}\p{N}]+/gu, '-')}.png`),
    );
    await checkFolder(folder, []);
    for (const [i, task] of tasks.entries()) await writeOutput(files[i]!, await drawContactSheet(task));
    const described = tasks.map((task, i) => describe(task, study.tasks[i]!.data, files[i]!));
    printResult(options, { tasks: described }, () => textOf(described));
  } finally {
    opened?.dispose();
  }
}

interface Described {
  name: string;
  description: string;
  data: string;
  hash: string | null;
  /** Height, width, channels. */
  size: number[];
  /** What is to be predicted, where it is images. */
  target: number[] | null;
  classes: { name: string; images: Record<Split, number> }[];
  images: Record<Split, number>;
  /** Training images of the largest class for one of the smallest; null for images to predict. */
  balance: number | null;
  picture: string;
}

function describe(task: Task, data: string, picture: string): Described {
  const shape = ({ height, width, channels }: Examples['images']) => [height, width, channels];
  const counts = SPLITS.map((split) => {
    const found = new Array<number>(task.classes).fill(0);
    if (task.classes > 0) for (const label of task[split].labels) found[label]!++;
    return found;
  });
  const bySplit = (count: (split: Split, s: number) => number) =>
    Object.fromEntries(SPLITS.map((split, s) => [split, count(split, s)])) as Record<Split, number>;
  return {
    name: task.name,
    description: task.description,
    data,
    hash: task.hash ?? null,
    size: shape(task.train.images),
    target: task.classes > 0 ? null : shape(task.train.targets ?? task.train.images),
    classes: task.classNames.map((name, label) => ({ name, images: bySplit((_, s) => counts[s]![label]!) })),
    images: bySplit((split) => task[split].index.length),
    balance: task.classes > 0 ? Math.max(...counts[0]!) / Math.min(...counts[0]!) : null,
    picture,
  };
}

function textOf(tasks: readonly Described[]): string {
  return tasks
    .map((task, i) => {
      const { classes, balance, target } = task;
      const row = (name: string, images: Record<Split, number>) => [
        name,
        ...SPLITS.map((s) => `${images[s]}`),
      ];
      const listed = classes.slice(0, LISTED).map(({ name, images }) => row(name, images));
      const more = classes.length - listed.length;
      return [
        `${i}: ${task.name} (${task.description})`,
        table([target ? 'images' : 'class', ...SPLITS], [...listed, row('all', task.images)]),
        ...(more > 0 ? [`and ${more} more classes`] : []),
        `${task.data}, ${task.size.join(' x ')}${target ? ` to ${target.join(' x ')}` : ''}, hash ${task.hash?.slice(0, 16) ?? 'none'}`,
        ...(balance === null
          ? []
          : [`The largest class has ${balance.toFixed(2)} training images for one of the smallest.`]),
        `Wrote ${task.picture}`,
      ].join('\n');
    })
    .join('\n\n');
}
