import type { Examples } from '../data/index.ts';
import { FathomError, SampleSums, type Tensor } from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';
import { ChunkedPass } from './chunked_pass.ts';
import type { DiagonalEntries } from './distance.ts';
import { addSquaredMeans, type Estimator, passesOf, type Reduction } from './estimators.ts';
import { chunkUnder, defaultBudget } from './memory.ts';
import { BatchSlots } from './objective.ts';

/** A diagonal Fisher: one entry a parameter, mean over samples, not normalised. */
export interface FisherDiagonal {
  /** By PyTorch parameter name, in PyTorch's layout. */
  entries: StateDict;
  samples: number;
}

export interface FisherOptions {
  /** Defaults to `empirical`. */
  estimator?: Estimator;
  /** Defaults to `none`. */
  reduction?: Reduction;
  /** Examples used, from the first; all of them if fewer. */
  samples?: number;
  /** Images a pass at the most; the result does not depend on it. */
  chunk?: number;
  /** Bytes a pass may take beside the weights; fewer images go into one where needed. */
  budget?: number;
  /** Width of the label space: logits beyond the head's are taken as constant zeros (paper section 1.4). */
  labelSpace?: number;
  /** Called after each chunk with the number of images done, and of all; an image counts once a pass. */
  onProgress?: (done: number, samples: number) => void;
}

const CHUNK = 64;

/**
 * Diagonal of the Fisher information, in evaluation mode. Images go through the network in chunks under a byte
 * budget; the result has the same bits whatever the chunk.
 * @throws FathomError `fisher-not-finite` naming the parameters concerned; `budget-too-small`;
 * `exact-too-many-outputs`; `bad-estimator`
 */
export async function diagonalFisher(
  network: Network,
  examples: Examples,
  options: FisherOptions = {},
): Promise<FisherDiagonal> {
  const samples = Math.min(options.samples ?? examples.index.length, examples.index.length);
  return (await fishersOf(network, examples, [[0, samples]], options))[0]!;
}

/**
 * One {@link diagonalFisher} for each block of samples: [from, to) of the examples' positions. The mean over blocks,
 * each weighted by its samples, is the Fisher over all of them.
 * @param options without `samples`
 */
export async function fishersOf(
  network: Network,
  examples: Examples,
  blocks: readonly (readonly [from: number, to: number])[],
  options: Omit<FisherOptions, 'samples'> = {},
): Promise<FisherDiagonal[]> {
  const { gpu, architecture } = network;
  const { estimator = { name: 'empirical' } } = options;
  const budget = options.budget ?? defaultBudget(gpu);
  const passes = passesOf(architecture, estimator, options.labelSpace);
  const longest = Math.max(...blocks.map(([from, to]) => to - from));
  const samples = blocks.reduce((sum, [from, to]) => sum + to - from, 0);
  const chunk = chunkUnder(gpu, architecture, estimator, longest, budget, options.chunk ?? CHUNK);
  if (options.budget !== undefined) gpu.trim();
  const parameters = [...network.parameters.values()];
  let done = 0;

  using slots = BatchSlots.of(network, examples, chunk);
  using sums = new SampleSums(gpu, parameters, estimator.name === 'batch' ? 'gradient' : 'square');
  // Kept over all blocks it spares its recording, but then it takes memory beside the totals.
  const isKept = passes.length === 1 && blocks.length > 1 && options.budget === undefined;
  using kept = isKept ? new ChunkedPass(network, slots, passes[0]!, sums) : undefined;

  const addRange = async (pass: ChunkedPass, from: number, to: number) => {
    for (let start = from; start < to; start += chunk) {
      const positions = range(start, Math.min(start + chunk, to));
      await gpu.span('Fisher pass', () => {
        pass.add(examples, positions);
        return gpu.finish();
      });
      done += positions.length;
      options.onProgress?.(done, samples * passes.length);
    }
  };

  const fishers: FisherDiagonal[] = [];
  for (const [from, to] of blocks) {
    sums.clear();
    const total: Tensor<'f32'>[] = [];
    let terms = to - from;
    if (estimator.name === 'batch') {
      using pass = new ChunkedPass(network, slots, passes[0]!, sums);
      for (let start = from; start < to; start += estimator.size) {
        const end = Math.min(start + estimator.size, to);
        sums.clear();
        await addRange(pass, start, end);
        addSquaredMeans(total, sums, end - start);
      }
      terms = Math.ceil(terms / estimator.size);
    } else {
      if (kept) await addRange(kept, from, to);
      else {
        for (const each of passes) {
          using pass = new ChunkedPass(network, slots, each, sums);
          await addRange(pass, from, to);
        }
      }
      total.push(...sums.totals());
      if (estimator.name === 'sampled') terms *= estimator.draws;
    }
    fishers.push(await collect(network, total, to - from, terms, options.reduction));
  }
  return fishers;
}

async function collect(
  network: Network,
  sums: Tensor<'f32'>[],
  samples: number,
  terms: number,
  reduction: Reduction | undefined,
): Promise<FisherDiagonal> {
  const values = await Promise.all(sums.map((tensor) => tensor.read()));
  const entries: StateDict = new Map();
  for (const [i, [name, { shape }]] of [...network.parameters].entries()) {
    const mean = values[i]!.map((value) => value / terms);
    entries.set(name, { shape, data: reduction === 'axis-mean' ? firstAxisMean(mean, shape[0]!) : mean });
    sums[i]!.dispose();
  }
  const broken = [...entries].filter(([, { data }]) => data.some((value) => !Number.isFinite(value)));
  if (broken.length > 0) {
    throw new FathomError({
      code: 'fisher-not-finite',
      message: `The Fisher of ${network.architecture.name} is not finite in ${broken.map(([name]) => name).join(', ')}`,
      fix: 'Check the images and weights for NaN or very large values',
    });
  }
  return { entries, samples };
}

/** Each entry replaced by the mean over the first axis. */
function firstAxisMean(values: Float32Array, rows: number): Float32Array {
  const width = values.length / rows;
  const means = new Float64Array(width);
  for (const [i, value] of values.entries()) means[i % width]! += value / rows;
  return values.map((_, i) => means[i % width]!);
}

function range(start: number, end: number): Uint32Array {
  return Uint32Array.from({ length: end - start }, (_, i) => start + i);
}

/** Sum of all entries, in float64. */
export function trace({ entries }: DiagonalEntries): number {
  let total = 0;
  for (const { data } of entries.values()) {
    for (let i = 0; i < data.length; i++) total += data[i]!;
  }
  return total;
}
