import { FathomError } from '../engine/errors.ts';
import { Random } from '../engine/random.ts';
import { checkLabels, type Examples, type ImageSet, type ImageSets, type Task } from './dataset.ts';

/** How the images of a set are dealt out. */
export interface SplitOptions {
  /** Fixes which images are drawn and in what order, the same for every task. */
  seed: number;
  /** Images drawn for training, before balancing. */
  train: number;
  /** Images drawn for validation from the rest of the training set, before balancing. */
  validation: number;
  /** Images drawn for testing, before balancing. */
  test: number;
}

/** A class of a task: its name and the classes of the image set that make it up. */
export interface ClassGroup {
  name: string;
  members: number[];
}

type Split = 'train' | 'validation' | 'test';

/**
 * A task "these groups of classes, and anything else": group i is class i + 1, the rest is class 0. One
 * group makes a binary task.
 *
 * The rest is cut down, in every split, to the average size of a group: with n groups and P images in them
 * all, the first round(P / n) others in the order drawn are kept (fewer where there are fewer). The images
 * kept are then shuffled, so that every stretch of a split is a fair mixture.
 *
 * @see "Fisher Task Distance", arXiv 2103.12827, and its authors' code for the balancing
 * @throws FathomError `split-too-large`, `bad-group`, `empty-class` or `label-outside-head`
 */
export function groupTask(
  sets: ImageSets,
  options: SplitOptions,
  about: { name: string; description: string; rest: string; groups: ClassGroup[] },
): Task {
  const { name, description, rest, groups } = about;
  const relabel = new Uint32Array(sets.train.classes);
  for (const [i, group] of groups.entries()) {
    for (const member of group.members) {
      if (relabel[member] !== 0) throw badGroup(name, member, sets.train);
      relabel[member] = i + 1;
    }
  }
  const balance = (drawn: Examples, random: Random): Examples => {
    const wanted = drawn.labels.reduce((sum, label) => sum + Math.min(label, 1), 0);
    let room = Math.round(wanted / groups.length);
    const kept = Array.from(drawn.labels.keys()).filter((i) => drawn.labels[i] !== 0 || room-- > 0);
    const order = random.permutation(kept.length).map((i) => kept[i]!);
    return {
      images: drawn.images,
      index: order.map((i) => drawn.index[i]!),
      labels: order.map((i) => drawn.labels[i]!),
    };
  };
  const classNames = [rest, ...groups.map((group) => group.name)];
  return build(sets, options, { name, description, classNames }, relabel, balance);
}

/** A task with the image sets' own classes, unbalanced; errors as for {@link groupTask}. */
export function allClassesTask(
  sets: ImageSets,
  options: SplitOptions,
  about: { name: string; description: string; classNames: string[] },
): Task {
  const relabel = Uint32Array.from(about.classNames.keys());
  return build(sets, options, about, relabel, (drawn) => drawn);
}

/**
 * The paper's four tasks on MNIST: is it a 0, is it a 6, which of 0 to 3 or something else, which digit.
 * Of the images drawn the first two keep about a fifth and the third about half, after balancing.
 *
 * @param options the seed, and where they should not be 4000, 1000 and 2000 the sizes of the splits
 */
export function mnistTasks(sets: ImageSets, options: { seed: number } & Partial<SplitOptions>): Task[] {
  const { seed, train = 4000, validation = 1000, test = 2000 } = options;
  const splits = { seed, train, validation, test };
  const digit = (d: number): ClassGroup => ({ name: `digit ${d}`, members: [d] });
  const tenClasses = Array.from({ length: 10 }, (_, d) => digit(d));
  const rest = 'anything else';
  return [
    groupTask(sets, splits, { name: 'digit 0', description: 'digit 0 or not', rest, groups: [digit(0)] }),
    groupTask(sets, splits, { name: 'digit 6', description: 'digit 6 or not', rest, groups: [digit(6)] }),
    groupTask(sets, splits, {
      name: '0-3',
      description: 'digit 0, 1, 2, 3 or anything else',
      rest,
      groups: tenClasses.slice(0, 4),
    }),
    allClassesTask(sets, splits, {
      name: '10 digits',
      description: 'all ten digits',
      classNames: tenClasses.map((group) => group.name),
    }),
  ];
}

function build(
  sets: ImageSets,
  options: SplitOptions,
  about: { name: string; description: string; classNames: string[] },
  relabel: Uint32Array,
  balance: (drawn: Examples, random: Random) => Examples,
): Task {
  const random = new Random(options.seed);
  const drawTrain = draws(sets.train, random.fork('draw train'));
  const drawTest = draws(sets.test, random.fork('draw test'));
  const take = (split: Split, images: ImageSet, draw: (size: number) => Uint32Array): Examples => {
    checkLabels(images.name, images.labels, relabel.length);
    const index = draw(options[split]);
    const labels = index.map((i) => relabel[images.labels[i]!]!);
    const kept = balance({ images, index, labels }, random.fork(`order ${split}`));
    checkClasses(kept.labels, about, split);
    return kept;
  };
  return {
    ...about,
    classes: about.classNames.length,
    train: take('train', sets.train, drawTrain),
    validation: take('validation', sets.train, drawTrain),
    test: take('test', sets.test, drawTest),
  };
}

/** Deals a set out in random order: each call gives the next images, so no two calls share one. */
function draws(images: ImageSet, random: Random): (size: number) => Uint32Array {
  const order = random.permutation(images.count);
  let dealt = 0;
  return (size) => {
    if (!Number.isSafeInteger(size) || size < 1 || dealt + size > order.length) {
      throw new FathomError({
        code: 'split-too-large',
        message: `${size} images cannot be drawn from ${images.name}: ${order.length - dealt} of ${order.length} are left`,
        fix: 'Ask for at least one image a split and no more than the set holds',
      });
    }
    dealt += size;
    return order.slice(dealt - size, dealt);
  };
}

function checkClasses(
  labels: Uint32Array,
  about: { name: string; classNames: string[] },
  split: Split,
): void {
  const empty = about.classNames.findIndex((_, label) => !labels.includes(label));
  if (empty < 0) return;
  throw new FathomError({
    code: 'empty-class',
    message: `Task ${about.name} has no example of class ${empty} (${about.classNames[empty]}) in its ${split} split`,
    fix: `Draw more images for the ${split} split`,
  });
}

function badGroup(task: string, member: number, images: ImageSet): FathomError {
  return new FathomError({
    code: 'bad-group',
    message: `Task ${task} cannot use class ${member}: ${images.name} has classes 0 to ${images.classes - 1}, each used once`,
    fix: 'Name each class at most once, and only classes that the set has',
  });
}
