import { FathomError } from '../errors.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { fill } from './elementwise.ts';

export interface SoftmaxCrossEntropyOptions {
  /** How many constant zeros continue each row of logits: a head padded to a wider label space. 0 if left out. */
  zeroLogits?: number;
  /** Share of the label's probability that is spread evenly over all classes, from 0 to 1. 0 if left out. */
  labelSmoothing?: number;
  /** [classes + zeroLogits]; ones if left out. */
  classWeights?: Tensor<'f32'>;
}

/**
 * Cross-entropy of softmax(logits) against class labels, one loss a sample, as PyTorch's with `reduction='none'`. The
 * log-likelihood of the paper is its negative. With smoothing s and weights w over C classes it is
 * -(1 - s) w_y log p_y - s / C sum over c of w_c log p_c.
 * @param logits [samples, classes]
 * @param labels [samples], each below classes + zeroLogits (the caller's promise: checked where labels enter)
 * @returns [samples]; NaN where a logit is not finite
 * @throws FathomError `shape-mismatch`; `bad-probability` for a smoothing outside 0 to 1
 */
export function softmaxCrossEntropy(
  tape: Tape,
  logits: Tensor<'f32'>,
  labels: Tensor<'u32'>,
  options: SoftmaxCrossEntropyOptions = {},
): Tensor<'f32'> {
  const { gpu } = tape;
  const { zeroLogits = 0, labelSmoothing = 0, classWeights } = options;
  const [samples = 0, classes = 0] = logits.shape;
  const allClasses = classes + zeroLogits;
  requireFit(logits, labels, allClasses, classWeights);
  requireShare(labelSmoothing);
  const weights = classWeights ?? (labelSmoothing > 0 ? fill(gpu, [allClasses], 1) : undefined);
  const conditions = { GENERAL: weights !== undefined };
  const general = weights && { weights };
  const params = {
    samples,
    classes,
    zero_logits: zeroLogits,
    ...(weights && { own_share: 1 - labelSmoothing, smoothing: labelSmoothing / allClasses }),
  };
  const losses = gpu.empty([samples], 'f32');
  gpu.dispatch(
    gpu.kernel('softmax_cross_entropy', conditions),
    { logits, labels, losses, ...general },
    { ...params, nan_bits: 0x7fc00000 },
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
          gpu.kernel('softmax_cross_entropy_gradient', conditions),
          { logits, labels, upstream, result, ...general },
          params,
          Math.ceil(samples / 64),
        );
        return result;
      },
    },
    [labels, options],
  );
}

function requireFit(logits: Tensor, labels: Tensor, allClasses: number, weights: Tensor | undefined): void {
  if (logits.shape.length !== 2 || labels.size !== logits.shape[0]) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `softmaxCrossEntropy cannot take logits of shape [${logits.shape}] with labels of shape [${labels.shape}]`,
      fix: 'Give [samples, classes] and [samples]',
    });
  }
  if (weights && weights.size !== allClasses) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `softmaxCrossEntropy was given weights of shape [${weights.shape}] for ${allClasses} classes`,
      fix: 'Give one weight a class, those of zero logits among them',
    });
  }
}

function requireShare(labelSmoothing: number): void {
  if (labelSmoothing >= 0 && labelSmoothing <= 1) return;
  throw new FathomError({
    code: 'bad-probability',
    message: `softmaxCrossEntropy cannot smooth labels by ${labelSmoothing}`,
    fix: 'Give a label smoothing from 0 to 1',
  });
}
