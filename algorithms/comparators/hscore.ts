import type { LabelledRows } from '../features.ts';
import { ONE_CLASS, type Score, scored, unscored } from './score.ts';
import { spectrumOf } from './spectrum.ts';

/**
 * H-score (Bao et al. 2019): tr(cov(f)^+ cov(E[f | y])), how much of the features' spread lies between classes, from 0
 * to classes - 1. Null where it would be classes - 1 whatever the features: when they separate all samples.
 */
export function hScore(rows: LabelledRows): Score {
  // Scaling each feature does not change the score, but keeps features of unlike size from looking dependent.
  const { samples, sizes, squares, rank } = spectrumOf(standardised(rows, true));
  if (sizes.length < 2) return unscored(ONE_CLASS);
  if (rank === 0) return unscored('All features are constant');
  if (rank >= samples - 1) {
    return unscored(`${samples} samples span no more dimensions than the ${rows.width} features have`);
  }
  return { value: sizes.reduce((sum, size, c) => sum + total(squares[c]!) / size, 0) };
}

/**
 * H-score with the features' covariance shrunk towards a multiple of the identity by Ledoit and Wolf's rule (Ibrahim et
 * al. 2021): (1 - s) tr(cov_s(f)^-1 cov(E[f | y])). Defined for any number of features.
 */
export function regularisedHScore(rows: LabelledRows): Score {
  const centred = standardised(rows, false);
  const { samples, width, sizes, squares, values, rank } = spectrumOf(centred);
  if (sizes.length < 2) return unscored(ONE_CLASS);
  if (rank === 0) return unscored('All features are constant');
  const scale = total(values) / samples / width;
  const shrinkage = shrinkageOf(centred, values, scale);
  let score = 0;
  for (let k = 0; k < values.length; k++) {
    const between = sizes.reduce((sum, size, c) => sum + squares[c]![k]! / size, 0) * values[k]!;
    const shrunk = ((1 - shrinkage) * values[k]!) / samples + shrinkage * scale;
    if (between > 0) score += ((1 - shrinkage) * between) / (samples - 1) / shrunk;
  }
  return scored(score, 'The covariance is singular');
}

/** The weight of the identity that brings the shrunk covariance closest to the true one (Ledoit and Wolf 2004). */
function shrinkageOf({ values, width, labels }: LabelledRows, spectrum: Float64Array, scale: number): number {
  const samples = labels.length;
  let fourth = 0;
  for (let n = 0; n < samples; n++) {
    let square = 0;
    for (let j = 0; j < width; j++) square += values[n * width + j]! ** 2;
    fourth += square * square;
  }
  const squared = spectrum.reduce((sum, value) => sum + (value / samples) ** 2, 0);
  const noise = (fourth / samples - squared) / samples;
  const spread = squared - width * scale * scale;
  return spread > 0 && noise > 0 ? Math.min(noise, spread) / spread : 0;
}

/** Rows less the mean of all; if `scaled`, each feature with unit sum of squares, unless constant but for rounding. */
function standardised({ values, width, labels }: LabelledRows, scaled: boolean): LabelledRows {
  const samples = labels.length;
  const result = Float64Array.from(values);
  for (let j = 0; j < width; j++) {
    let [sum, most, squares] = [0, 0, 0];
    for (let n = 0; n < samples; n++) {
      sum += values[n * width + j]!;
      most = Math.max(most, Math.abs(values[n * width + j]!));
    }
    for (let n = 0; n < samples; n++) {
      result[n * width + j]! -= sum / samples;
      squares += result[n * width + j]! ** 2;
    }
    const constant = squares <= samples * (most * samples * Number.EPSILON) ** 2;
    const factor = constant ? 0 : scaled ? 1 / Math.sqrt(squares) : 1;
    for (let n = 0; n < samples; n++) result[n * width + j]! *= factor;
  }
  return { values: result, width, labels };
}

function total(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
