import type { DiagonalEntries } from '../distance.ts';
import { type Score, unscored } from './score.ts';

/** Two Fishers of one architecture. */
export interface FisherPair {
  source: DiagonalEntries;
  target: DiagonalEntries;
  /** Names of the head's parameters, which are left out. */
  head: readonly string[];
}

/** How much the source's own complexity brings it closer, as Achille et al. have it for a ResNet-34. */
const COMPLEXITY_SHARE = 0.15;

/**
 * Mean Fisher of each filter (first axis) of every weight but the head's, of normalisations too; biases left out.
 * @returns [filters]
 */
export function task2vecEmbedding({ entries }: DiagonalEntries, head: readonly string[]): Float64Array {
  const means: number[] = [];
  for (const [name, { shape, data }] of entries) {
    if (!/(^|\.)weight$/.test(name) || head.includes(name)) continue;
    const filters = shape[0]!;
    const width = data.length / filters;
    for (let i = 0; i < filters; i++) {
      let sum = 0;
      for (let j = i * width; j < (i + 1) * width; j++) sum += data[j]!;
      means.push(sum / width);
    }
  }
  return Float64Array.from(means);
}

/**
 * Symmetric task2vec distance (Achille et al. 2019): 1 - cos(F / (F + G), G / (F + G)) of two embeddings, in [0, 1].
 * Filters that are 0 in both do not count.
 */
export function task2vecCosine({ source, target, head }: FisherPair): Score {
  const [f, g] = [source, target].map((fisher) => task2vecEmbedding(fisher, head));
  if (f!.length === 0) return unscored('The network has no weights outside its head');
  if (f!.length !== g!.length) return unscored('The two Fishers are of different networks');
  return cosineDistance(f!, g!);
}

/**
 * Directed task2vec distance: the symmetric one, less 0.15 of the source's from the trivial task, whose embedding is 1
 * throughout, so that complex sources come closer.
 */
export function task2vecAsymmetric(pair: FisherPair): Score {
  const between = task2vecCosine(pair);
  if (between.value === null) return between;
  const source = task2vecEmbedding(pair.source, pair.head);
  const trivial = cosineDistance(source, new Float64Array(source.length).fill(1));
  return trivial.value === null ? trivial : { value: between.value - COMPLEXITY_SHARE * trivial.value };
}

function cosineDistance(f: Float64Array, g: Float64Array): Score {
  let [fg, ff, gg] = [0, 0, 0];
  for (let i = 0; i < f.length; i++) {
    const sum = f[i]! + g[i]!;
    if (sum === 0) continue;
    const [x, y] = [f[i]! / sum, g[i]! / sum];
    fg += x * y;
    ff += x * x;
    gg += y * y;
  }
  if (ff === 0 || gg === 0) return unscored('A Fisher is 0 in all filters');
  return { value: Math.max(0, 1 - fg / Math.sqrt(ff * gg)) };
}
