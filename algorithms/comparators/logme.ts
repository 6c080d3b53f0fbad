import type { LabelledRows } from '../features.ts';
import { ONE_CLASS, type Score, scored, unscored } from './score.ts';
import { type Spectrum, spectrumOf } from './spectrum.ts';

/**
 * Which LogME: `jmlr`, by fixed-point iteration, what the authors' repository runs (You et al. 2022); `icml`, as first
 * published (You et al. 2021); `tll`, that without the constant which keeps precisions finite, as in the
 * Transfer-Learning-Library. They differ in when they stop: by about 1e-3 on few samples.
 */
export type LogMeVersion = 'jmlr' | 'icml' | 'tll';

const MOST_STEPS = 11;

/**
 * Log maximum evidence of a Bayesian linear model from features to each class's indicator, mean over the classes that
 * occur, per sample, in nats. Features as they are: neither centred nor scaled. The evidence is that of all `width`
 * weights also where the features do not span as many dimensions, so that features which are always 0 do not count.
 */
export function logMe(rows: LabelledRows, version: LogMeVersion = 'jmlr'): Score {
  const spectrum = spectrumOf(rows);
  if (spectrum.sizes.length < 2) return unscored(ONE_CLASS);
  if (spectrum.rank === 0) return unscored('All features are 0');
  const each = version === 'jmlr' ? fixedPoint : alternating(version === 'icml' ? 1e-5 : 0);
  const total = spectrum.sizes.reduce((sum, _, c) => sum + each(spectrum, c), 0);
  return scored(total / spectrum.sizes.length, 'The evidence has no maximum: a class is fitted exactly');
}

function fixedPoint(spectrum: Spectrum, c: number): number {
  let [alpha, beta] = [1, 1];
  let fit: Fit;
  for (let step = 1; ; step++) {
    const ratio = alpha / beta;
    fit = fitAt(spectrum, c, ratio);
    alpha = fit.gamma / (fit.weights + 1e-5);
    beta = (spectrum.samples - fit.gamma) / (fit.errors + 1e-5);
    if (step === MOST_STEPS || Math.abs(alpha / beta - ratio) / ratio <= 1e-3) break;
  }
  return evidence(spectrum, alpha, beta, fit);
}

/** @param constant added to squared norms, in the evidence too */
function alternating(constant: number): (spectrum: Spectrum, c: number) => number {
  return (spectrum, c) => {
    let [alpha, beta] = [1, 1];
    let fit: Fit;
    for (let step = 1; ; step++) {
      const ratio = alpha / beta;
      const { gamma, weights, errors } = fitAt(spectrum, c, ratio);
      fit = { gamma, weights: weights + constant, errors: errors + constant };
      alpha = gamma / fit.weights;
      beta = (spectrum.samples - gamma) / fit.errors;
      if (step === MOST_STEPS || Math.abs(alpha / beta - ratio) / ratio < 0.01) break;
    }
    return evidence(spectrum, alpha, beta, fit);
  };
}

interface Fit {
  /** How many weights the data determine. */
  gamma: number;
  /** |m|^2 of the mean weights m. */
  weights: number;
  /** |y - X m|^2 */
  errors: number;
}

/** The posterior mean under a ratio of the weights' precision to the noise's. */
function fitAt({ values, squares, sizes }: Spectrum, c: number, ratio: number): Fit {
  let [gamma, weights, errors, spanned] = [0, 0, 0, 0];
  for (let k = 0; k < values.length; k++) {
    const value = values[k]!;
    const square = squares[c]![k]!;
    gamma += value / (value + ratio);
    weights += (value * square) / (ratio + value) ** 2;
    errors += square / (1 + value / ratio) ** 2;
    spanned += square;
  }
  return { gamma, weights, errors: errors + Math.max(0, sizes[c]! - spanned) };
}

function evidence({ samples, width, values }: Spectrum, alpha: number, beta: number, fit: Fit): number {
  let logDeterminant = (width - values.length) * Math.log(alpha);
  for (const value of values) logDeterminant += Math.log(alpha + beta * value);
  const twice =
    width * Math.log(alpha) +
    samples * Math.log(beta) -
    logDeterminant -
    beta * fit.errors -
    alpha * fit.weights -
    samples * Math.log(2 * Math.PI);
  return twice / 2 / samples;
}
