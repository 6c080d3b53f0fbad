import { FathomError } from '../engine/errors.ts';
import type { DataSet } from './dataset.ts';
import type { TaskSpec } from './task-spec.ts';

/** How a task numbers the classes of a data set. */
export interface Labelling {
  classNames: string[];
  /** By class of the data set: the class of the task, or -1 for one that is left out. */
  relabel: Int32Array;
}

/**
 * The classes of a task. Listed classes keep the order of the list; group i is class i + 1 and the rest class 0, or,
 * without a rest, group i is class i.
 *
 * @throws FathomError `class-unknown`, `class-twice` or `too-few-classes`, naming the task
 */
export function labelling(data: Pick<DataSet, 'name' | 'classNames'>, spec: TaskSpec): Labelling {
  const { classNames } = data;
  const relabel = new Int32Array(classNames.length).fill(-1);
  const assign = (members: readonly (string | number)[], label: number) => {
    for (const member of members) {
      const position = find(data, spec.name, member);
      if (relabel[position] !== -1) {
        throw new FathomError({
          code: 'class-twice',
          message: `Task ${spec.name} has class ${classNames[position]} of ${data.name} twice`,
          fix: 'Put each class into one group, once',
        });
      }
      relabel[position] = label;
    }
  };
  if (spec.classes) {
    for (const [label, member] of spec.classes.entries()) assign([member], label);
    return { classNames: spec.classes.map((_, label) => classNames[relabel.indexOf(label)]!), relabel };
  }
  if (spec.groups) {
    const names = typeof spec.rest === 'string' ? [spec.rest] : [];
    for (const [name, members] of Object.entries(spec.groups)) assign(members, names.push(name) - 1);
    if (typeof spec.rest === 'string')
      for (const [i, label] of relabel.entries()) relabel[i] = Math.max(0, label);
    return { classNames: names, relabel };
  }
  if (classNames.length < 2) {
    throw new FathomError({
      code: 'too-few-classes',
      message: `Task ${spec.name} has no classes to tell apart: ${data.name} has ${classNames.length}`,
      fix: 'Give the task a target, such as rgb, or a data set with labels',
    });
  }
  return { classNames: [...classNames], relabel: Int32Array.from(classNames.keys()) };
}

/** The position of a class given by name or number. */
function find(data: Pick<DataSet, 'name' | 'classNames'>, task: string, member: string | number): number {
  const { classNames } = data;
  const areNumbers = classNames.every((name) => /^\d+$/.test(name));
  const found =
    typeof member === 'number' && !areNumbers
      ? [...classNames.keys()].filter((i) => i === member)
      : [...classNames.keys()].filter((i) => classNames[i] === `${member}`);
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    throw new FathomError({
      code: 'class-unknown',
      message: `Task ${task} wants class ${member}, but ${data.name} calls classes ${found.join(' and ')} so`,
      fix: 'Name the class by its number',
    });
  }
  const range = `${classNames.length} classes, ${classNames[0]} to ${classNames.at(-1)}`;
  const near = typeof member === 'string' ? nearest(member, classNames) : [];
  throw new FathomError({
    code: 'class-unknown',
    message: `Task ${task} wants class ${member}, which ${data.name} lacks: it has ${classNames.length === 0 ? 'no classes' : range}`,
    fix: near.length > 0 ? `Perhaps ${near.join(' or ')} is meant` : 'Name a class that the data set has',
  });
}

/** Up to three of `names` that `name` may be a slip for, the likeliest first. */
export function nearest(name: string, names: readonly string[]): string[] {
  const wanted = name.toLowerCase();
  const distances = names.map((other): [string, number] => {
    const text = other.toLowerCase();
    return [other, text.includes(wanted) || wanted.includes(text) ? 1 : edits(wanted, text)];
  });
  const most = Math.max(1, Math.floor(name.length / 3));
  return distances
    .filter(([, distance]) => distance <= most)
    .sort((a, b) => a[1] - b[1])
    .slice(0, 3)
    .map(([other]) => other);
}

/** Levenshtein's distance: letters to put in, take out or replace. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row.at(-1)!;
}
