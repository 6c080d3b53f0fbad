import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { meanEntryLoss } from './entry_loss.ts';

/**
 * Cross-entropy of sigmoid(logits) against targets, as PyTorch's `binary_cross_entropy_with_logits`: the mean over a
 * sample's entries, one loss a sample. Accurate for logits of any size.
 * @param logits [samples, ...]
 * @param targets of the same shape, from 0 to 1; no gradient is taken by them
 * @returns [samples]
 * @throws FathomError `shape-mismatch`
 */
export function binaryCrossEntropy(tape: Tape, logits: Tensor<'f32'>, targets: Tensor<'f32'>): Tensor<'f32'> {
  return meanEntryLoss(tape, 'binaryCrossEntropy', 'LOGISTIC', logits, targets);
}
