import { z } from 'zod';

const counts = {
  train: z
    .int()
    .min(1)
    .describe('Images drawn to train on, before classes are left out and balanced; 4000 unless told'),
  validation: z
    .int()
    .min(1)
    .describe(
      'Images drawn to choose the best epoch by, from those the training images leave; 500 unless told',
    ),
  test: z
    .int()
    .min(1)
    .describe(
      'Images drawn to measure on: from the test set of the data, or from what the other two leave; 2000 unless told',
    ),
  per: z
    .enum(['set', 'class'])
    .describe(
      'Whether the three counts are of all images (set) or of each class of the data; set unless told',
    ),
};
const seed = z
  .int()
  .min(0)
  .max(2 ** 32 - 1)
  .optional()
  .describe(
    "Fixes which images are drawn: tasks on one data set with one seed draw the same; the study's seed unless told",
  );

/** How many images of a data set the tasks of a study draw, what stands under `splits:`. */
export const splitsSpec = z.strictObject({
  train: counts.train.default(4000),
  validation: counts.validation.default(500),
  test: counts.test.default(2000),
  per: counts.per.default('set'),
  seed,
});

export type SplitsSpec = z.infer<typeof splitsSpec>;

const member = z.union([z.string().min(1), z.int().min(0)]);
const REST = 'anything else';

/**
 * One task, an entry under `tasks:`. Without `classes`, `groups` or `target` it has all classes of its data set. What
 * it gives has `rest` and `balance` written out where they matter.
 */
export const taskSpec = z
  .strictObject({
    name: z.string().min(1).max(80).describe('What tables and figures call the task'),
    description: z.string().optional().describe('One line on what is to be told apart; made up unless told'),
    data: z.string().min(1).describe('Name of the data set, an entry under data'),
    classes: z
      .array(member)
      .min(2)
      .optional()
      .describe(
        'The classes to tell apart, in this order, others left out: by name, or by number, counted from 0 unless the names of all classes are numbers',
      ),
    groups: z
      .record(z.string().min(1), z.array(member).min(1))
      .optional()
      .describe('Classes of the task by name, each made of these classes of the data set'),
    rest: z
      .union([z.string().min(1), z.literal(false)])
      .optional()
      .describe(
        `Beside groups: the name of class 0, made of all classes in no group, or false to leave those out; "${REST}" unless told`,
      ),
    target: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Images to predict in place of classes: a domain of the data set, or rgb for the image itself',
      ),
    balance: z
      .enum(['paper', 'equal', 'none'])
      .optional()
      .describe(
        'In each split, paper: the rest is cut to the average size of a group; equal: every class is cut to the size of the smallest; none: all are kept. Where there is a rest paper unless told, else none',
      ),
    perClass: z
      .int()
      .min(1)
      .optional()
      .describe('Most training images of each class, after balancing; all unless told'),
    splits: z
      .strictObject({
        train: counts.train.optional(),
        validation: counts.validation.optional(),
        test: counts.test.optional(),
        per: counts.per.optional(),
        seed,
      })
      .optional()
      .describe("What differs from the study's splits"),
  })
  .superRefine((task, context) => {
    const wrong = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    const kinds = (['classes', 'groups', 'target'] as const).filter((kind) => task[kind] !== undefined);
    if (kinds.length > 1) wrong(kinds[1]!, `A task has ${kinds[0]} or ${kinds[1]}, not both`);
    if (task.rest !== undefined && !task.groups) wrong('rest', 'Only groups have a rest');
    if (task.groups) {
      const names = Object.keys(task.groups);
      if (names.length < (task.rest === false ? 2 : 1)) wrong('groups', 'Give two groups, or one and a rest');
      if (names.includes(task.rest || REST)) wrong('groups', 'A group has the name of the rest');
    }
    if (task.balance === 'paper' && (!task.groups || task.rest === false)) {
      wrong('balance', 'paper is for tasks with a rest: give equal or none');
    }
    if (task.target !== undefined && task.balance !== undefined)
      wrong('balance', 'Only classes are balanced');
    if (task.target !== undefined && task.perClass !== undefined)
      wrong('perClass', 'Only tasks of classes have it');
  })
  .transform((task) => {
    const { target, groups, rest = REST } = task;
    if (target !== undefined) return task;
    return groups
      ? { ...task, rest, balance: task.balance ?? (rest === false ? 'none' : 'paper') }
      : { ...task, balance: task.balance ?? 'none' };
  });

export type TaskSpec = z.infer<typeof taskSpec>;
/** A task as a user writes it. */
export type TaskDeclaration = z.input<typeof taskSpec>;
