import { FathomError } from '../errors.ts';
import { batchRuns } from '../planner.ts';
import type { Tape } from '../tape.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor.ts';

/**
 * Images to rows in PyTorch's order (channel, row, column). A linear layer takes images without it.
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

/**
 * Rows in PyTorch's order (channel, row, column) to images: what undoes {@link flatten}.
 * @param x [samples, channels * height * width]
 * @param image [height, width, channels]
 * @returns [samples, height, width, channels]
 * @throws FathomError `shape-mismatch`
 */
export function unflatten(
  tape: Tape,
  x: Tensor<'f32'>,
  image: readonly [number, number, number],
): Tensor<'f32'> {
  const [height, width, channels] = image;
  if (x.shape.length !== 2 || x.shape[1] !== sizeOf(image)) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `unflatten cannot make images of shape [${image}] of an input of shape [${x.shape}]`,
      fix: 'Give [samples, channels * height * width]',
    });
  }
  const pixels = height * width;
  const y = transposed(x, channels, pixels, [x.shape[0]!, ...image]);
  const gradient = (_: number, upstream: Tensor<'f32'>) => transposed(upstream, pixels, channels, x.shape);
  return tape.record('unflatten', [x], y, { gradient }, [image]);
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
  if (rows === 1 || columns === 1) return x.reshape(shape);
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
