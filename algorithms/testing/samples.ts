import fc from 'fast-check';
import type { Examples } from '../../data/index.ts';
import { Random } from '../../engine/index.ts';
import type { FisherDiagonal } from '../fisher.ts';
import type { Property } from './axioms.ts';

/** A Fisher, or another mean over samples, of one network: measured on `examples` in passes of `batch`. */
export type SampleMeasure = (examples: Examples, batch: number) => FisherDiagonal | Promise<FisherDiagonal>;

export type SampleAxiomName = 'sampleOrder' | 'batchSize' | 'union';

/**
 * What a mean over samples obeys, as properties over the examples that an arbitrary gives:
 * - `sampleOrder`: it does not depend on the order of the samples;
 * - `batchSize`: nor on how they are cut into passes (a squared batch mean fails this);
 * - `union`: that of all is the mean of that of two parts, weighted by their sizes.
 * @param tolerance of the largest entry of each parameter; 2e-6 suits sums of float32 squares
 */
export function sampleAxioms(
  measure: SampleMeasure,
  { examples, tolerance }: { examples: fc.Arbitrary<Examples>; tolerance: number },
): Record<SampleAxiomName, Property> {
  const several = examples.filter(({ index }) => index.length > 1);
  return {
    sampleOrder: fc.asyncProperty(several, fc.nat(), async (all, seed) => {
      const size = all.index.length;
      const shuffled = picked(all, new Random(seed).permutation(size));
      compare(await measure(all, size), await measure(shuffled, size), tolerance, 'another order of samples');
    }),
    batchSize: fc.asyncProperty(several, fc.nat(), async (all, draw) => {
      const size = all.index.length;
      const batch = 1 + (draw % (size - 1));
      const cut = await measure(all, batch);
      compare(await measure(all, size), cut, tolerance, `passes of ${batch} instead of ${size}`);
    }),
    union: fc.asyncProperty(several, fc.nat(), async (all, draw) => {
      const size = all.index.length;
      const cut = 1 + (draw % (size - 1));
      const positions = Uint32Array.from({ length: size }, (_, i) => i);
      const first = await measure(picked(all, positions.subarray(0, cut)), size);
      const second = await measure(picked(all, positions.subarray(cut)), size);
      const mean = weightedMean(first, cut / size, second, 1 - cut / size);
      compare(
        await measure(all, size),
        mean,
        tolerance,
        `the weighted mean of parts of ${cut} and ${size - cut}`,
      );
    }),
  };
}

function picked(examples: Examples, positions: Uint32Array): Examples {
  const at = (values: Uint32Array) => positions.map((position) => values[position]!);
  return { ...examples, index: at(examples.index), labels: at(examples.labels) };
}

function weightedMean(a: FisherDiagonal, weight: number, b: FisherDiagonal, other: number): FisherDiagonal {
  const entries = [...a.entries].map(([name, { shape, data }]) => {
    const right = b.entries.get(name)!.data;
    return [name, { shape, data: data.map((value, i) => weight * value + other * right[i]!) }] as const;
  });
  return { ...a, entries: new Map(entries) };
}

/** Fails unless each parameter of `actual` is that of `expected` within the tolerance of its largest entry. */
function compare(expected: FisherDiagonal, actual: FisherDiagonal, tolerance: number, what: string): void {
  for (const [name, { data }] of expected.entries) {
    const other = actual.entries.get(name)?.data;
    if (other?.length !== data.length) throw new Error(`${what} gives ${name} another size`);
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const i = data.findIndex((value, i) => !(Math.abs(value - other[i]!) <= tolerance * largest));
    if (i < 0) continue;
    const off = Math.abs(data[i]! - other[i]!) / largest;
    throw new Error(
      `${what}: ${name}[${i}] is ${other[i]}, not ${data[i]}, off by ${off} of the largest entry`,
    );
  }
}
