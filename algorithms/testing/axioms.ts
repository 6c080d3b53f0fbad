import fc from 'fast-check';
import { Random } from '../../engine/index.ts';
import { type FisherDiagonal, trace } from '../fisher.ts';
import { type FisherArbitraryOptions, fisherPair, fisherTriple } from './fishers.ts';

/** A measure of a source's and a target's Fisher, both taken on the target's data; it may need a GPU and so wait. */
export type FisherMeasure = (source: FisherDiagonal, target: FisherDiagonal) => number | Promise<number>;

/** A property for `await fc.assert(property)`; all are asynchronous, so the promise must be awaited or returned. */
export type Property = fc.IAsyncProperty<unknown>;

export type AxiomName =
  | 'nonNegativity'
  | 'identity'
  | 'range'
  | 'triangle'
  | 'scaleInvariance'
  | 'orderInvariance';

export interface AxiomOptions extends FisherArbitraryOptions {
  /** Least and largest distance; `[0, Infinity]` for one without a bound. */
  range: readonly [least: number, largest: number];
  /** Room for rounding, absolute below a distance of 1 and relative above; 1e-12 suits float64. */
  tolerance: number;
}

/** Largest relative error of two float32 roundings. */
const FLOAT32 = 2 ** -23;

/**
 * The axioms of a task distance at a fixed target, each a property over random Fishers of random networks:
 * - `nonNegativity`: d is a finite number of at least 0;
 * - `identity`: d(f, f) is 0 exactly, also between two equal copies;
 * - `range`: d lies in `range`;
 * - `triangle`: d(f, h) <= d(f, g) + d(g, h), with g sometimes halfway between f and h;
 * - `scaleInvariance`: neither a power of two nor another factor of either Fisher changes d. Other factors round the
 *   float32 entries, so there 2^-23 is added to the tolerance;
 * - `orderInvariance`: permuting parameters, and entries within each, in the same way in both does not change d.
 *   Entries of a head keep their places where the two have different row counts.
 * A measure that is not meant to obey one leaves it out: `const { triangle, ...others } = distanceAxioms(…)`.
 */
export function distanceAxioms(distance: FisherMeasure, options: AxiomOptions): Record<AxiomName, Property> {
  const { range, tolerance, heads } = options;
  const pair = fisherPair({ heads });
  const unchanged = async (what: string, before: number, after: Measured, room: number) => {
    const value = await after;
    if (isClose(value, before, room)) return;
    throw new Error(`${what} changes the distance from ${before} to ${value}`);
  };
  return {
    nonNegativity: fc.asyncProperty(pair, async ([f, g]) => {
      const d = await distance(f, g);
      if (!(d >= 0 && d < Infinity))
        throw new Error(`the distance is ${d}, not a finite number of at least 0`);
    }),
    identity: fc.asyncProperty(pair, async ([f]) => {
      for (const [twin, which] of [[f, 'itself'] as const, [structuredClone(f), 'an equal copy'] as const]) {
        const d = await distance(f, twin);
        if (d !== 0) throw new Error(`the distance of a Fisher to ${which} is ${d}, not exactly 0`);
      }
    }),
    range: fc.asyncProperty(pair, async ([f, g]) => {
      const d = await distance(f, g);
      const [least, largest] = range;
      const within = (d >= least && d <= largest) || isClose(d, least, tolerance);
      if (within || isClose(d, largest, tolerance)) return;
      throw new Error(`the distance is ${d}, outside [${least}, ${largest}]`);
    }),
    triangle: fc.asyncProperty(fisherTriple({ heads }), fc.boolean(), async ([f, other, h], halfway) => {
      const g = halfway ? midpoint(f, h) : other;
      const [direct, first, second] = [await distance(f, h), await distance(f, g), await distance(g, h)];
      if (direct <= first + second || isClose(direct, first + second, tolerance)) return;
      const detour = `d(f, g) + d(g, h) = ${first} + ${second}`;
      const where = halfway ? ', g halfway between f and h' : '';
      throw new Error(`the triangle inequality fails: d(f, h) = ${direct} > ${detour}${where}`);
    }),
    scaleInvariance: fc.asyncProperty(pair, factor, async ([f, g], by) => {
      const room = Number.isInteger(Math.log2(by)) ? tolerance : tolerance + FLOAT32;
      const d = await distance(f, g);
      await unchanged(`Scaling the source by ${by}`, d, distance(scaled(f, by), g), room);
      await unchanged(`Scaling the target by ${by}`, d, distance(f, scaled(g, by)), room);
    }),
    orderInvariance: fc.asyncProperty(pair, fc.nat(), async ([f, g], seed) => {
      const [p, q] = reordered(f, g, seed);
      await unchanged('Reordering both Fishers alike', await distance(f, g), distance(p, q), tolerance);
    }),
  };
}

export type Measured = number | Promise<number>;

export interface DirectednessOptions {
  /** How far the two directions must differ. */
  tolerance: number;
  /** Pairs of tasks tried at most; 100 if not given. */
  pairs?: number;
  /** Fixes the pairs tried. */
  seed?: number;
}

/** Two tasks that are not equally far from one another. */
export interface DirectedPair<T> {
  source: T;
  target: T;
  /** Distance from source to target. */
  there: number;
  /** Distance from target to source. */
  back: number;
}

/**
 * Searches for a witness that a measure of tasks is directed: two tasks with d(A, B) != d(B, A). Unlike the axioms
 * this is a claim that some pair exists, so the search ends at the first one.
 * @throws Error where no pair differs by more than the tolerance
 */
export async function directedPair<T>(
  distance: (source: T, target: T) => Measured,
  tasks: fc.Arbitrary<T>,
  { tolerance, pairs = 100, seed }: DirectednessOptions,
): Promise<DirectedPair<T>> {
  let widest = 0;
  for (const [source, target] of fc.sample(fc.tuple(tasks, tasks), { numRuns: pairs, seed })) {
    const [there, back] = [await distance(source, target), await distance(target, source)];
    const difference = Math.abs(there - back);
    if (difference > tolerance) return { source, target, there, back };
    widest = Math.max(widest, difference);
  }
  throw new Error(
    `the distance looks symmetric: of ${pairs} pairs of tasks none differs by more than ${widest} between its two directions`,
  );
}

const factor = fc.oneof(
  fc.integer({ min: -20, max: 20 }).map((exponent) => 2 ** exponent),
  fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
);

/** NaN is close to nothing. */
function isClose(a: number, b: number, tolerance: number): boolean {
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

function scaled(fisher: FisherDiagonal, by: number): FisherDiagonal {
  const entries = [...fisher.entries].map(([name, { shape, data }]) => {
    return [name, { shape, data: data.map((value) => value * by) }] as const;
  });
  return { ...fisher, entries: new Map(entries) };
}

/** Mean of the two at unit trace, a missing row counting as zeros. */
function midpoint(f: FisherDiagonal, h: FisherDiagonal): FisherDiagonal {
  const [half, otherHalf] = [0.5 / trace(f), 0.5 / trace(h)];
  const entries = [...f.entries].map(([name, left]) => {
    const right = h.entries.get(name)!;
    const { shape, data } = left.data.length > right.data.length ? left : right;
    const mean = data.map((_, i) => (left.data[i] ?? 0) * half + (right.data[i] ?? 0) * otherHalf);
    return [name, { shape, data: mean }] as const;
  });
  return { ...f, entries: new Map(entries) };
}

function reordered(f: FisherDiagonal, g: FisherDiagonal, seed: number): [FisherDiagonal, FisherDiagonal] {
  const random = new Random(seed);
  const names = [...f.entries.keys()];
  const order = Array.from(random.fork('parameters').permutation(names.length), (i) => names[i]!);
  const [p, q]: FisherDiagonal['entries'][] = [new Map(), new Map()];
  for (const name of order) {
    const [left, right] = [f.entries.get(name)!, g.entries.get(name)!];
    const size = left.data.length;
    const moved =
      size === right.data.length
        ? random.fork(name).permutation(size)
        : Uint32Array.from({ length: Math.max(size, right.data.length) }, (_, i) => i);
    const permuted = ({ shape, data }: typeof left) => ({
      shape,
      data: data.map((_, i) => data[moved[i]!]!),
    });
    p!.set(name, permuted(left));
    q!.set(name, permuted(right));
  }
  return [
    { ...f, entries: p! },
    { ...g, entries: q! },
  ];
}
