import { factorise, gram, transposed } from '../dense.ts';
import type { LabelledRows } from '../features.ts';
import { classesOf, ONE_CLASS, type Score, unscored } from './score.ts';

/**
 * TransRate (Huang et al. 2022): coding rate of all features less the mean of the classes' own, in nats, features
 * centred over all samples. The rate of n rows Z is log det(I + Z Z^T / (n epsilon)) / 2.
 * @param epsilon squared distortion, in the features' own units, so scores of unlike scales do not compare
 */
export function transRate({ values, width, labels }: LabelledRows, epsilon = 1e-4): Score {
  const { of, sizes } = classesOf(labels);
  if (sizes.length < 2) return unscored(ONE_CLASS);
  const samples = labels.length;
  const centred = Float64Array.from(values);
  for (let j = 0; j < width; j++) {
    let sum = 0;
    for (let n = 0; n < samples; n++) sum += centred[n * width + j]!;
    for (let n = 0; n < samples; n++) centred[n * width + j]! -= sum / samples;
  }
  const within = sizes.map((size, c) => {
    const rows = new Float64Array(size * width);
    let to = 0;
    for (let n = 0; n < samples; n++) {
      if (of[n] !== c) continue;
      rows.set(centred.subarray(n * width, (n + 1) * width), to);
      to += width;
    }
    return codingRate(rows, size, width, epsilon);
  });
  const mean = within.reduce((sum, rate) => sum + rate, 0) / sizes.length;
  return { value: codingRate(centred, samples, width, epsilon) - mean };
}

function codingRate(rows: Float64Array, samples: number, width: number, epsilon: number): number {
  const bySamples = samples <= width;
  const size = Math.min(samples, width);
  const products = gram(
    bySamples ? rows : transposed(rows, samples, width),
    size,
    bySamples ? width : samples,
  );
  const factor = factorise(
    products.map((value) => value / (samples * epsilon)),
    size,
    1,
  );
  let rate = 0;
  for (let i = 0; i < size; i++) rate += Math.log(factor[i * size + i]!);
  return rate;
}
