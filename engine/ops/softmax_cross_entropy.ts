import { FathomError } from '../errors.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Cross-entropy of softmax(logits) against class labels, one loss a sample. The log-likelihood of the paper is its
 * negative.
 * @param logits [samples, classes]
 * @param labels [samples], each below classes + zeroLogits (the caller's promise: checked where labels enter)
 * @param zeroLogits how many constant zeros continue each row of logits: a head padded to a wider label space
 * @returns [samples]; NaN where a logit is not finite
 * @throws FathomError `shape-mismatch`
 */
export function softmaxCrossEntropy(
  tape: Tape,
  logits: Tensor<'f32'>,
  labels: Tensor<'u32'>,
  zeroLogits = 0,
): Tensor<'f32'> {
  const { gpu } = tape;
  const [samples = 0, classes = 0] = logits.shape;
  if (logits.shape.length !== 2 || labels.size !== samples) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `softmaxCrossEntropy cannot take logits of shape [${logits.shape}] with labels of shape [${labels.shape}]`,
      fix: 'Give [samples, classes] and [samples]',
    });
  }
  const losses = gpu.empty([samples], 'f32');
  gpu.dispatch(
    gpu.kernel('softmax_cross_entropy'),
    { logits, labels, losses },
    { samples, classes, zero_logits: zeroLogits, nan_bits: 0x7fc00000 },
    Math.ceil(samples / 64),
  );
  return tape.record(
    'softmaxCrossEntropy',
    [logits],
    losses,
    {
      gradient(_, upstream) {
        const result = gpu.empty(logits.shape, 'f32');
        gpu.dispatch(
          gpu.kernel('softmax_cross_entropy_gradient'),
          { logits, labels, upstream, result },
          { samples, classes, zero_logits: zeroLogits },
          Math.ceil(samples / 64),
        );
        return result;
      },
    },
    [labels, zeroLogits],
  );
}
