import { batchRuns } from '../planner.ts';
import type { Tape } from '../tape.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor.ts';

/**
 * Images to rows in PyTorch's order (channel, row, column), so that weights of a following linear layer carry over.
 * @param x [samples, height, width, channels]
 * @returns [samples, channels * height * width]
 */
export function flatten(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  const [samples = 0, height = 0, width = 0, channels = 0] = x.shape;
  const pixels = height * width;
  const y = transposed(x, pixels, channels, [samples, channels * pixels]);
  return tape.record('flatten', [x], y, {
    gradient: (_, upstream) => transposed(upstream, channels, pixels, x.shape),
  });
}

/** The same values under another shape of equal size. */
export function reshape(tape: Tape, x: Tensor<'f32'>, shape: Shape): Tensor<'f32'> {
  return tape.record(
    'reshape',
    [x],
    x.reshape(shape),
    {
      gradient: (_, upstream) => upstream.reshape(x.shape),
    },
    [shape],
  );
}

function transposed(x: Tensor<'f32'>, rows: number, columns: number, shape: Shape): Tensor<'f32'> {
  const { gpu } = x;
  const result = gpu.empty(shape, 'f32');
  const samples = shape[0]!;
  const perSample = sizeOf(shape) / samples;
  gpu.scope(() => {
    for (const { start, count } of batchRuns(samples, [perSample * 4], gpu.maxBindingBytes)) {
      gpu.dispatch(
        gpu.kernel('transpose'),
        { source: x.slice(start, count), result: result.slice(start, count) },
        { count: perSample * count, rows, columns },
        Math.ceil((perSample * count) / 64),
      );
    }
  });
  return result;
}
