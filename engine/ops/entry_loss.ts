import { FathomError } from '../errors.ts';
import { batchRuns } from '../planner.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/** A loss of one prediction and its target; see shaders/entry_loss.wgsl. */
type EntryLoss = 'SQUARED' | 'ABSOLUTE' | 'LOGISTIC';

/** Entries one invocation adds up. */
const RUN = 256;

/**
 * The mean over each sample's entries of a loss, differentiable by the predictions.
 * @param predictions [samples, ...]
 * @param targets of the same shape
 * @returns [samples]
 * @throws FathomError `shape-mismatch`
 */
export function meanEntryLoss(
  tape: Tape,
  op: string,
  loss: EntryLoss,
  predictions: Tensor<'f32'>,
  targets: Tensor<'f32'>,
): Tensor<'f32'> {
  const { gpu } = tape;
  const { shape } = predictions;
  if (shape.length === 0 || `${shape}` !== `${targets.shape}`) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `${op} cannot take predictions of shape [${shape}] with targets of shape [${targets.shape}]`,
      fix: 'Give two tensors of one shape, samples first',
    });
  }
  const samples = shape[0]!;
  const entries = predictions.size / samples;
  const scalar = entries % 4 !== 0;
  const size = scalar ? entries : entries / 4;
  const conditions = { [loss]: true, SCALAR: scalar };
  const pieces = batchRuns(samples, [entries * 4], gpu.maxBindingBytes);
  const losses = gpu.empty([samples], 'f32');
  gpu.scope(() => {
    const runs = Math.ceil(entries / RUN);
    const partial = runs === 1 ? losses : gpu.empty([samples, runs], 'f32');
    for (const { start, count } of pieces) {
      gpu.dispatch(
        gpu.kernel('entry_loss', conditions),
        { predictions: predictions.slice(start, count), targets: targets.slice(start, count), partial },
        {
          count: count * runs,
          size,
          run: scalar ? RUN : RUN / 4,
          runs,
          first: start,
          scale: runs === 1 ? 1 / entries : 1,
        },
        Math.ceil((count * runs) / 64),
      );
    }
    if (runs > 1) {
      gpu.dispatch(
        gpu.kernel('segment_sum'),
        { source: partial, partial: losses },
        { count: partial.size, run: runs, runs: samples, scale: 1 / entries },
        Math.ceil(samples / 64),
      );
    }
  });
  return tape.record(
    op,
    [predictions],
    losses,
    {
      gradient(_, upstream) {
        const result = gpu.empty(shape, 'f32');
        gpu.scope(() => {
          for (const { start, count } of pieces) {
            const part = (tensor: Tensor<'f32'>) => tensor.slice(start, count);
            gpu.dispatch(
              gpu.kernel('entry_loss_gradient', conditions),
              { predictions: part(predictions), targets: part(targets), upstream, result: part(result) },
              { count: count * size, size, first: start, scale: 1 / entries },
              Math.ceil((count * size) / 64),
            );
          }
        });
        return result;
      },
    },
    [targets],
  );
}
