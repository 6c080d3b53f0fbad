import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { meanEntryLoss } from './entry_loss.ts';

/**
 * Mean of (prediction - target)^2 over a sample's entries, one loss a sample.
 * @param predictions [samples, ...]
 * @param targets of the same shape; no gradient is taken by them
 * @returns [samples]
 * @throws FathomError `shape-mismatch`
 */
export function meanSquaredError(
  tape: Tape,
  predictions: Tensor<'f32'>,
  targets: Tensor<'f32'>,
): Tensor<'f32'> {
  return meanEntryLoss(tape, 'meanSquaredError', 'SQUARED', predictions, targets);
}

/**
 * Mean of |prediction - target| over a sample's entries, one loss a sample; its derivative where both are equal is 0.
 * @param predictions [samples, ...]
 * @param targets of the same shape; no gradient is taken by them
 * @returns [samples]
 * @throws FathomError `shape-mismatch`
 */
export function meanAbsoluteError(
  tape: Tape,
  predictions: Tensor<'f32'>,
  targets: Tensor<'f32'>,
): Tensor<'f32'> {
  return meanEntryLoss(tape, 'meanAbsoluteError', 'ABSOLUTE', predictions, targets);
}
