import { FathomError, type Random, type Shape } from '../../engine/index.ts';
import { type DiagonalEntries, type DistanceOptions, fisherDistance } from '../distance.ts';
import type { FisherDiagonal } from '../fisher.ts';

export interface BlockOptions extends DistanceOptions {
  /** Resamplings of the blocks; 0 for none. */
  replicates: number;
  /**
   * The resamplings come of its fork `blocks`: give all sources of a target the same stream, and all its trials too,
   * for they see the same samples.
   */
  random: Random;
}

/** Distances between two networks on one target's samples, in blocks of samples. */
export interface BlockDistances {
  /** On all blocks. */
  distance: number;
  /** On the first block, on the first two, and so on to all. */
  prefixes: { samples: number; distance: number }[];
  /** On resampled blocks. */
  replicates: Float64Array;
}

/**
 * Distance of a source to a target from Fishers by blocks of the target's samples: the same blocks in the same order
 * for both, each weighted by its samples. In float64 throughout, 0 exactly for equal Fishers. A replicate draws B - 1
 * of B blocks with replacement: the draws then vary as a mean over blocks does, where B draws would vary too little
 * (Rao and Wu 1988); with one block each replicate is the distance itself. A prefix or a replicate in which a Fisher
 * that is to be scaled is all zeros counts 1. Takes two Fishers' memory in float64.
 * @throws FathomError `block-mismatch` where the blocks of the two differ; as {@link fisherDistance}
 */
export function blockDistances(
  source: readonly FisherDiagonal[],
  target: readonly FisherDiagonal[],
  options: BlockOptions,
): BlockDistances {
  checkBlocks(source, target);
  const blocks = target.length;
  const [f, g] = [new BlockMean(source), new BlockMean(target)];
  const between = (counts: ArrayLike<number>) => fisherDistance(f.of(counts), g.of(counts), options);
  const distance = between(new Uint8Array(blocks).fill(1));
  const prefixes = target.map((_, last) => {
    const counts = Uint8Array.from(target, (_, b) => (b <= last ? 1 : 0));
    const samples = target.slice(0, last + 1).reduce((sum, block) => sum + block.samples, 0);
    return { samples, distance: last === blocks - 1 ? distance : oneWhereZero(() => between(counts)) };
  });
  const random = options.random.fork('blocks');
  const replicates = Float64Array.from({ length: options.replicates }, () => {
    if (blocks === 1) return distance;
    const counts = new Uint32Array(blocks);
    for (const u of random.uniform(blocks - 1)) counts[Math.floor(u * blocks)]!++;
    return oneWhereZero(() => between(counts));
  });
  return { distance, prefixes, replicates };
}

/** The Fisher on all blocks, in float64. */
export function meanOfBlocks(blocks: readonly FisherDiagonal[]): DiagonalEntries {
  return new BlockMean(blocks).of(new Uint8Array(blocks.length).fill(1));
}

/** The mean over blocks, each taken so many times, in memory that is used again. */
class BlockMean {
  private readonly entries = new Map<string, { shape: Shape; data: Float64Array }>();

  constructor(private readonly blocks: readonly FisherDiagonal[]) {
    for (const [name, { shape, data }] of blocks[0]!.entries) {
      this.entries.set(name, { shape, data: new Float64Array(data.length) });
    }
  }

  /** Valid until the next call. */
  of(counts: ArrayLike<number>): DiagonalEntries {
    const taken = this.blocks.flatMap((block, b) => (counts[b]! > 0 ? [{ block, count: counts[b]! }] : []));
    const samples = taken.reduce((sum, { block, count }) => sum + count * block.samples, 0);
    for (const [name, { data }] of this.entries) {
      const terms = taken.map(({ block, count }) => {
        return { values: block.entries.get(name)!.data, weight: (count * block.samples) / samples };
      });
      data.fill(0);
      for (let i = 0; i < terms.length; i += 4) addFour(data, terms.slice(i, i + 4));
    }
    return { entries: this.entries };
  }
}

/** Adds up to four blocks, reading and writing the sum once: half the time of one after the other. */
function addFour(sum: Float64Array, terms: readonly { values: Float32Array; weight: number }[]): void {
  const none = { values: terms[0]!.values, weight: 0 };
  const [{ values: a, weight: p } = none, { values: b, weight: q } = none] = terms;
  const [, , { values: c, weight: r } = none, { values: d, weight: s } = none] = terms;
  for (let i = 0; i < sum.length; i++) sum[i]! += p * a[i]! + q * b[i]! + r * c[i]! + s * d[i]!;
}

function oneWhereZero(distance: () => number): number {
  try {
    return distance();
  } catch (error) {
    if (error instanceof FathomError && error.code === 'fisher-zero') return 1;
    throw error;
  }
}

function checkBlocks(source: readonly FisherDiagonal[], target: readonly FisherDiagonal[]): void {
  const sizes = [source, target].map((blocks) => blocks.map(({ samples }) => samples).join(', '));
  const uniform = [source, target].every((blocks) => {
    return blocks.every(({ entries }) => {
      return [...blocks[0]!.entries].every(
        ([name, { data }]) => entries.get(name)?.data.length === data.length,
      );
    });
  });
  if (target.length > 0 && sizes[0] === sizes[1] && uniform) return;
  throw new FathomError({
    code: 'block-mismatch',
    message: uniform
      ? `The source's blocks have ${sizes[0] || 'no'} samples and the target's ${sizes[1] || 'no'}`
      : 'The blocks are Fishers of different networks',
    fix: 'Measure source and target by the same blocks of the same samples',
  });
}
