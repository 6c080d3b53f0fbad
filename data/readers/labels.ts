import { FathomError } from '../../engine/errors.ts';
import { packLabels } from './reader.ts';

/** Labels of the splits of a set as they stand in its files. */
export type RawLabels = (string | number | bigint)[];

/** Labels from 0 on, by split, and what each stands for. */
export interface Labelled {
  classNames: string[];
  labels: (Uint8Array | Uint32Array)[];
}

/**
 * Numbers labels. With `classNames`, a label is one of the names or its position. Without, the classes are
 * the labels that occur, as numbers in their order if all are whole numbers, else as names in alphabetical order.
 *
 * @param splits the labels of each split
 * @param names how messages call each split's file
 * @throws FathomError `label-unknown`, `label-missing` or `too-many-classes`
 */
export function numberLabels(splits: RawLabels[], names: string[], classNames?: string[]): Labelled {
  const texts = splits.map((labels) => labels.map((label) => String(label).trim()));
  for (const [s, labels] of texts.entries()) {
    const empty = labels.indexOf('');
    if (empty < 0) continue;
    throw new FathomError({
      code: 'label-missing',
      message: `${names[s]} has no label for image ${empty}`,
      fix: 'Give every image a label',
    });
  }
  let found = classNames;
  if (!found) {
    const distinct = [...new Set(texts.flat())];
    const areNumbers = distinct.every((text) => /^[+-]?\d{1,15}(\.0*)?$/.test(text));
    found = areNumbers ? distinct.sort((a, b) => Number(a) - Number(b)) : distinct.sort();
  }
  if (found.length > MAX_CLASSES) {
    throw new FathomError({
      code: 'too-many-classes',
      message: `${names[0]} has ${found.length} different labels, more than ${MAX_CLASSES}`,
      fix: 'Name the column that holds the class',
    });
  }
  const byName = new Map(found.map((name, position) => [name, position]));
  const byPosition = new Map(found.map((_, position) => [`${position}`, position]));
  const lookUp = (label: RawLabels[number], text: string) => {
    if (!classNames) return byName.get(text);
    return typeof label === 'string' ? (byName.get(text) ?? byPosition.get(text)) : byPosition.get(text);
  };
  const labels = splits.map((some, s) =>
    packLabels(
      some.map((label, i) => lookUp(label, texts[s]![i]!) ?? unknown(names[s]!, texts[s]![i]!, i)),
      found.length,
    ),
  );
  return { classNames: found, labels };
}

/** More than any set of labelled images has; ids of images taken for labels come to more. */
const MAX_CLASSES = 100_000;

function unknown(name: string, label: string, position: number): never {
  throw new FathomError({
    code: 'label-unknown',
    message: `${name} has label ${JSON.stringify(label.slice(0, 60))} for image ${position}, which is none of the classes`,
    fix: 'Correct the label, or the names of the classes',
  });
}
