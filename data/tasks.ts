import { createHash } from 'node:crypto';
import { FathomError } from '../engine/errors.ts';
import { Random } from '../engine/random.ts';
import { labelling, nearest } from './classes.ts';
import {
  bytesOf,
  checkLabels,
  type DataSet,
  type Examples,
  type ImageSet,
  type ImageSets,
  type Pixels,
  type Task,
} from './dataset.ts';
import { presets } from './presets.ts';
import { type SplitsSpec, type TaskSpec, taskSpec } from './task-spec.ts';

/** How the images of a data set are dealt out to tasks. */
export interface Splits extends Omit<SplitsSpec, 'seed'> {
  seed: number;
}

type Split = 'train' | 'validation' | 'test';

/** What of a data set tasks are made of. */
export type TaskData = Omit<DataSet, 'hash'>;

/**
 * Makes the tasks that are declared, each of its data set.
 *
 * @param specs what {@link taskSpec} gives
 * @param open gives the data set of a name; called once for each
 * @param splits for all tasks but those that say otherwise
 * @throws FathomError as {@link buildTask}, and `task-twice` for two tasks of one name
 */
export async function buildTasks(
  specs: readonly TaskSpec[],
  open: (name: string) => Promise<DataSet>,
  splits: Splits,
): Promise<Task[]> {
  const opened = new Map<string, DataSet>();
  const tasks: Task[] = [];
  for (const spec of specs) {
    if (tasks.some(({ name }) => name === spec.name)) {
      throw new FathomError({
        code: 'task-twice',
        message: `Two tasks are called ${spec.name}`,
        fix: 'Give each a name of its own',
      });
    }
    const data = opened.get(spec.data) ?? (await open(spec.data));
    opened.set(spec.data, data);
    tasks.push(buildTask(data, spec, splits));
  }
  return tasks;
}

/**
 * Makes one task. Of the training set the first images in an order drawn by the seed are for training, the next for
 * validation; test images come from the test set or, where there is none, from the training set after those. So two
 * tasks on one data set with one seed and the same counts share no image between different splits.
 *
 * Classes cut by balancing keep the images drawn first. What was chosen from is then shuffled, so that every stretch of
 * a split is a fair mixture.
 *
 * @throws FathomError naming the task: `class-unknown`, `class-twice`, `target-unknown`, `split-too-large`,
 *   `empty-class` or `label-outside-head`
 * @see "Fisher Task Distance", arXiv 2103.12827, and its authors' code for the balancing called paper
 */
export function buildTask(data: TaskData, spec: TaskSpec, defaults: Splits): Task {
  const splits = { ...defaults, ...spec.splits, seed: spec.splits?.seed ?? defaults.seed };
  const random = new Random(splits.seed);
  const isDense = spec.target !== undefined;
  const { classNames, relabel } = isDense ? NO_CLASSES : labelling(data, spec);
  const targets = isDense ? targetsOf(data, spec.name, spec.target!) : undefined;
  const isUsed = (label: number) => isDense || relabel[label]! >= 0;
  const dealerOf = (images: ImageSet<Pixels>, name: string) => {
    if (data.classNames.length > 0) checkLabels(images.name, images.labels, data.classNames.length);
    return new Dealer(spec.name, images, data.classNames, random.fork(name), splits.per, isUsed);
  };
  const train = { images: data.train, targets: targets?.train, dealer: dealerOf(data.train, 'draw train') };
  const test = data.test
    ? { images: data.test, targets: targets?.test, dealer: dealerOf(data.test, 'draw test') }
    : train;

  const draw = (split: Split): Examples => {
    const from = split === 'test' ? test : train;
    const index = from.dealer.deal(split, splits[split]);
    const labels = Int32Array.from(index, (i) => (isDense ? 0 : relabel[from.images.labels[i]!]!));
    let kept = balance(labels, classNames.length, spec.balance);
    if (split === 'train') kept = firstOf(kept, labels, () => spec.perClass ?? Number.POSITIVE_INFINITY);
    if (splits.per === 'class' || (spec.balance ?? 'none') !== 'none' || spec.perClass !== undefined) {
      const order = random.fork(`order ${split}`).permutation(kept.length);
      kept = Array.from(order, (i) => kept[i]!);
    }
    const examples = {
      images: from.images,
      index: Uint32Array.from(kept, (i) => index[i]!),
      labels: Uint32Array.from(kept, (i) => labels[i]!),
      ...(from.targets && { targets: from.targets }),
    };
    checkClasses(examples.labels, spec.name, classNames, split);
    return examples;
  };
  const drawn = { train: draw('train'), validation: draw('validation'), test: draw('test') };
  return {
    name: spec.name,
    description: spec.description ?? describe(spec, classNames),
    classes: classNames.length,
    classNames,
    ...drawn,
    hash: hashOf(classNames, drawn),
  };
}

/**
 * The paper's four tasks on MNIST: is it a 0, is it a 6, which of 0 to 3 or something else, which digit.
 * Of the images drawn the first two keep about a fifth and the third about half, after balancing.
 *
 * @param options the seed, and where they should not be 4000, 1000 and 2000 the sizes of the splits
 */
export function mnistTasks(
  sets: ImageSets,
  options: { seed: number; train?: number; validation?: number; test?: number },
): Task[] {
  const { seed, train = 4000, validation = 1000, test = 2000 } = options;
  const data = { name: 'MNIST', classNames: Array.from({ length: 10 }, (_, digit) => `${digit}`), ...sets };
  return presets.mnist.tasks.map((task) =>
    buildTask(data, taskSpec.parse(task), { seed, train, validation, test, per: 'set' }),
  );
}

const NO_CLASSES = { classNames: [], relabel: new Int32Array(0) };

/**
 * Deals a set out in random order, each call the next images, so that no two calls share one: of all images together,
 * or of each class that is used.
 */
class Dealer {
  private readonly pools: { what: string; order: number[]; dealt: number }[];

  constructor(
    private readonly task: string,
    private readonly images: ImageSet<Pixels>,
    classNames: readonly string[],
    random: Random,
    per: Splits['per'],
    isUsed: (label: number) => boolean,
  ) {
    const order = Array.from(random.permutation(images.count));
    if (per === 'set' || classNames.length === 0) {
      this.pools = [{ what: 'images', order, dealt: 0 }];
      return;
    }
    const pools = classNames.map((name) => ({
      what: `images of class ${name}`,
      order: [] as number[],
      dealt: 0,
    }));
    for (const i of order) pools[images.labels[i]!]!.order.push(i);
    this.pools = pools.filter((_, label) => isUsed(label));
  }

  /** The next `size` images of every pool, pool after pool. */
  deal(split: Split, size: number): number[] {
    return this.pools.flatMap((pool) => {
      const { what, order, dealt } = pool;
      if (!Number.isSafeInteger(size) || size < 1 || dealt + size > order.length) {
        throw new FathomError({
          code: 'split-too-large',
          message: `Task ${this.task} wants ${size} ${what} for ${split}, but ${this.images.name} has ${order.length - dealt} of ${order.length} left`,
          fix: 'Ask for at least one image a split and no more than the set holds',
        });
      }
      pool.dealt += size;
      return order.slice(dealt, dealt + size);
    });
  }
}

/** Positions of the labels that a task keeps, those drawn first of the classes that are cut. */
function balance(labels: Int32Array, classes: number, how: TaskSpec['balance']): number[] {
  const kept = [...labels.keys()].filter((i) => labels[i]! >= 0);
  const counts = new Array<number>(classes).fill(0);
  for (const i of kept) if (classes > 0) counts[labels[i]!]!++;
  if (how === 'equal') return firstOf(kept, labels, () => Math.min(...counts));
  if (how !== 'paper') return kept;
  const [rest, groups] = [Math.round((kept.length - counts[0]!) / (classes - 1)), Number.POSITIVE_INFINITY];
  return firstOf(kept, labels, (label) => (label === 0 ? rest : groups));
}

/** Of positions those that are among the first so many of their label. */
function firstOf(positions: number[], labels: Int32Array, most: (label: number) => number): number[] {
  const seen = new Map<number, number>();
  return positions.filter((i) => {
    const label = labels[i]!;
    const before = seen.get(label) ?? 0;
    seen.set(label, before + 1);
    return before < most(label);
  });
}

function targetsOf(
  data: TaskData,
  task: string,
  domain: string,
): { train: ImageSet<Pixels>; test?: ImageSet<Pixels> } {
  const found = data.targets?.get(domain);
  if (found) return found;
  if (domain === 'rgb' || domain === 'autoencoding') return { train: data.train, test: data.test };
  const domains = [...new Set([...(data.targets?.keys() ?? []), 'rgb'])];
  const near = nearest(domain, domains);
  throw new FathomError({
    code: 'target-unknown',
    message: `Task ${task} wants ${domain} of ${data.name}, which has ${domains.join(', ')}`,
    fix: near.length > 0 ? `Perhaps ${near.join(' or ')} is meant` : 'Name a domain that the data set has',
  });
}

function checkClasses(labels: Uint32Array, task: string, classNames: readonly string[], split: Split): void {
  const found = new Set(labels);
  const empty = classNames.findIndex((_, label) => !found.has(label));
  if (empty < 0) return;
  throw new FathomError({
    code: 'empty-class',
    message: `Task ${task} has no example of class ${empty} (${classNames[empty]}) in its ${split} split`,
    fix: `Draw more images for the ${split} split`,
  });
}

function describe(spec: TaskSpec, classNames: string[]): string {
  const { target } = spec;
  if (target === 'rgb' || target === 'autoencoding') return `the image itself, of ${spec.data}`;
  if (target !== undefined) return `${target} of the images of ${spec.data}`;
  if (classNames.length > MOST_LISTED) return `${classNames.length} classes of ${spec.data}`;
  const [first = '', ...others] = classNames;
  const listed = typeof spec.rest === 'string' ? [...others, first] : classNames;
  return `${listed.slice(0, -1).join(', ')} or ${listed.at(-1)}`;
}

/** Classes that a description made up lists. */
const MOST_LISTED = 6;

/** sha256 in hex of what a task shows to a network; undefined where its images have no hash. */
function hashOf(classNames: string[], splits: Record<Split, Examples>): string | undefined {
  const hash = createHash('sha256').update(JSON.stringify(classNames));
  for (const [split, { images, index, labels, targets }] of Object.entries(splits)) {
    if (images.hash === undefined || (targets && targets.hash === undefined)) return undefined;
    hash.update(JSON.stringify([split, images.hash, targets?.hash ?? '', index.length]));
    hash.update(bytesOf(index)).update(bytesOf(labels));
  }
  return hash.digest('hex');
}
