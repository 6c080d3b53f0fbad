/** A number, or why there is none. */
export type Score = { value: number } | { value: null; reason: string };

/** A score, unless it is infinite or not a number. */
export function scored(value: number, otherwise: string): Score {
  return Number.isFinite(value) ? { value } : unscored(otherwise);
}

export function unscored(reason: string): Score {
  return { value: null, reason };
}

/** The classes that occur among labels. */
export interface Classes {
  /** [samples]: of each its class, numbered from 0 in the order of the labels' values, without gaps. */
  of: Uint32Array;
  /** Samples of each. */
  sizes: number[];
}

export function classesOf(labels: Uint32Array): Classes {
  const present = [...new Set(labels)].sort((a, b) => a - b);
  const number = new Map(present.map((label, c) => [label, c]));
  const of = labels.map((label) => number.get(label)!);
  const sizes = present.map(() => 0);
  for (const c of of) sizes[c]!++;
  return { of, sizes };
}

export const ONE_CLASS = 'The samples are of one class only';
