import fc from 'fast-check';
import { Random } from '../engine/index.ts';

/** Random cases are the same in every run, so that a failure is seen again. */
const SEED = 20220;

/** Checks a claim on the examples and on `numRuns` random cases, each with its own generator. */
export async function property<T extends { seed: number }>(
  cases: fc.Arbitrary<T>,
  numRuns: number,
  check: (value: T, random: Random) => Promise<void>,
  examples: T[] = [],
): Promise<void> {
  const claim = fc.asyncProperty(cases, (value) => check(value, new Random(value.seed)));
  await fc.assert(claim, {
    seed: SEED,
    numRuns: numRuns + examples.length,
    examples: examples.map((value) => [value] as [T]),
  });
}
