import type { LabelledRows } from '../features.ts';
import { classesOf, ONE_CLASS, type Score, unscored } from './score.ts';

/**
 * LEEP (Nguyen et al. 2020): mean log-likelihood, in nats, of the target's labels under a classifier that draws a
 * source class from the source network's prediction and then a label from what was seen with that class. At most 0.
 * @param rows probabilities over the source's classes, with the target's labels
 */
export function leep({ values, width, labels }: LabelledRows): Score {
  const { of, sizes } = classesOf(labels);
  if (sizes.length < 2) return unscored(ONE_CLASS);
  // Sums over samples: of a source class with a label, and of a source class.
  const joint = new Float64Array(sizes.length * width);
  const marginal = new Float64Array(width);
  for (const [n, c] of of.entries()) {
    for (let z = 0; z < width; z++) {
      const probability = values[n * width + z]!;
      joint[c * width + z]! += probability;
      marginal[z]! += probability;
    }
  }
  let sum = 0;
  for (const [n, c] of of.entries()) {
    let likelihood = 0;
    for (let z = 0; z < width; z++) {
      if (marginal[z]! > 0) likelihood += (values[n * width + z]! * joint[c * width + z]!) / marginal[z]!;
    }
    sum += Math.log(likelihood);
  }
  return { value: Math.min(0, sum / labels.length) };
}

/**
 * NCE (Tran et al. 2019): minus the conditional entropy, in nats, of the target's labels given the source class the
 * network finds most likely. From -log of the number of classes to 0.
 * @param rows probabilities or logits over the source's classes, with the target's labels
 */
export function negativeConditionalEntropy({ values, width, labels }: LabelledRows): Score {
  const { of, sizes } = classesOf(labels);
  if (sizes.length < 2) return unscored(ONE_CLASS);
  const joint = new Float64Array(sizes.length * width);
  const marginal = new Float64Array(width);
  for (const [n, c] of of.entries()) {
    let best = 0;
    for (let z = 1; z < width; z++) if (values[n * width + z]! > values[n * width + best]!) best = z;
    joint[c * width + best]!++;
    marginal[best]!++;
  }
  let sum = 0;
  for (const [i, count] of joint.entries()) {
    if (count > 0) sum += count * Math.log(count / marginal[i % width]!);
  }
  return { value: sum / labels.length };
}

/** Softmax of each row, in float64. */
export function probabilities({ values, width, labels }: LabelledRows): LabelledRows {
  const result = Float64Array.from(values);
  for (let start = 0; start < result.length; start += width) {
    const row = result.subarray(start, start + width);
    const largest = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
    let sum = 0;
    for (let z = 0; z < width; z++) {
      row[z] = Math.exp(row[z]! - largest);
      sum += row[z]!;
    }
    for (let z = 0; z < width; z++) row[z]! /= sum;
  }
  return { values: result, width, labels };
}
