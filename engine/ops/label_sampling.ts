import { FathomError } from '../errors.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Labels drawn from softmax(logits) by inversion: the smallest class whose cumulative probability exceeds the sample's
 * uniform number. Not recorded on a tape.
 * @param logits [samples, classes]
 * @param uniforms [samples], in [0, 1)
 * @param zeroLogits how many constant zeros continue each row of logits
 * @returns [samples], each below classes + zeroLogits
 * @throws FathomError `shape-mismatch`
 */
export function sampleLabels(logits: Tensor<'f32'>, uniforms: Tensor<'f32'>, zeroLogits = 0): Tensor<'u32'> {
  const { gpu } = logits;
  const [samples = 0, classes = 0] = logits.shape;
  if (logits.shape.length !== 2 || uniforms.size !== samples) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `sampleLabels cannot take logits of shape [${logits.shape}] with uniforms of shape [${uniforms.shape}]`,
      fix: 'Give [samples, classes] and [samples]',
    });
  }
  const labels = gpu.empty([samples], 'u32');
  gpu.dispatch(
    gpu.kernel('sample_labels', { SCALAR: true }),
    { logits, uniforms, labels },
    { samples, classes, zero_logits: zeroLogits },
    Math.ceil(samples / 64),
  );
  return labels;
}

/**
 * Gradient by the logits of the cross-entropy of softmax(logits) against one class, times the root of the class's
 * probability: sqrt(p_c) (p - onehot(c)) for the given logits. Summed over classes, squares of gradients that
 * start from these are their expectation over the model's own labels. Not recorded on a tape.
 * @param logits [samples, classes]
 * @param label the class c of all samples, below classes + zeroLogits
 * @param zeroLogits how many constant zeros continue each row of logits
 * @returns [samples, classes]
 * @throws FathomError `shape-mismatch`
 */
export function labelScores(logits: Tensor<'f32'>, label: number, zeroLogits = 0): Tensor<'f32'> {
  const { gpu } = logits;
  const [samples = 0, classes = 0] = logits.shape;
  if (logits.shape.length !== 2 || label >= classes + zeroLogits) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `labelScores cannot take logits of shape [${logits.shape}] and ${zeroLogits} zeros with class ${label}`,
      fix: 'Give [samples, classes] and one of their classes',
    });
  }
  const scores = gpu.empty(logits.shape, 'f32');
  gpu.dispatch(
    gpu.kernel('label_scores', { SCALAR: true }),
    { logits, scores },
    { samples, classes, zero_logits: zeroLogits, label },
    Math.ceil(samples / 64),
  );
  return scores;
}
