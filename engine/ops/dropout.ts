import { FathomError } from '../errors.ts';
import { batchRuns } from '../planner.ts';
import type { Random, WordRange } from '../random.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { mapElements } from './elementwise.ts';

/**
 * Sets entries to zero at random and scales the others by 1 / (1 - probability), as PyTorch does in training. Entry i
 * is dropped where word i of the stream is below probability x 2^32.
 * @param x any shape; returned as it is where the probability is 0
 * @param probability of an entry to be dropped, at least 0 and below 1
 * @param random gives as many words as x has entries
 * @throws FathomError `bad-probability`
 */
export function dropout(tape: Tape, x: Tensor<'f32'>, probability: number, random: Random): Tensor<'f32'> {
  if (!(probability >= 0 && probability < 1)) {
    throw new FathomError({
      code: 'bad-probability',
      message: `dropout cannot drop entries with probability ${probability}`,
      fix: 'Give a probability of at least 0 and below 1',
    });
  }
  if (probability === 0) return x;
  const mask = dropoutMask(x, probability, random);
  const y = mapElements(tape.gpu, 'MULTIPLY', x, mask);
  return tape.record(
    'dropout',
    [x],
    y,
    { gradient: (_, upstream) => mapElements(tape.gpu, 'MULTIPLY', upstream, mask) },
    [mask],
  );
}

function dropoutMask(
  { gpu, shape, size }: Tensor<'f32'>,
  probability: number,
  random: Random,
): Tensor<'f32'> {
  let words: WordRange;
  gpu.eachRun(() => {
    words = random.reserve(size);
  });
  const threshold = Math.min(Math.round(probability * 2 ** 32), 2 ** 32 - 1);
  const mask = gpu.empty(shape, 'f32');
  gpu.scope(() => {
    const entries = mask.reshape([size]);
    for (const run of batchRuns(Math.ceil(size / 4), [16], gpu.maxBindingBytes)) {
      const part = entries.slice(4 * run.start, Math.min(4 * run.count, size - 4 * run.start));
      gpu.dispatch(
        gpu.kernel('dropout_mask'),
        { mask: part },
        {
          count: run.count,
          seed: random.seed,
          stream: random.stream,
          start: () => words.start + 2 * run.start,
          threshold,
          scale: 1 / (1 - probability),
        },
        Math.ceil(run.count / 64),
      );
    }
  });
  return mask;
}
