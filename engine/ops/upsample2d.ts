import { FathomError } from '../errors.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { spreadWindows, sumWindows } from './avgpool2d.ts';

/**
 * Nearest-neighbour upsampling by a whole factor: each pixel becomes a square of its copies.
 * @param x [samples, height, width, channels]
 * @returns [samples, factor * height, factor * width, channels]
 * @throws FathomError `shape-mismatch`
 */
export function upsample2d(tape: Tape, x: Tensor<'f32'>, factor: number): Tensor<'f32'> {
  const [samples = 0, height = 0, width = 0, channels = 0] = x.shape;
  if (x.shape.length !== 4 || !Number.isInteger(factor) || factor < 1) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `upsample2d cannot take an input of shape [${x.shape}] with factor ${factor}`,
      fix: 'Give [samples, height, width, channels] and a whole factor of at least 1',
    });
  }
  const squares = { kernel: factor, stride: factor, padding: 0, scale: 1 };
  const y = tape.gpu.empty([samples, factor * height, factor * width, channels], 'f32');
  spreadWindows(x, y, squares);
  return tape.record(
    'upsample2d',
    [x],
    y,
    {
      gradient(_, upstream) {
        const dx = tape.gpu.empty(x.shape, 'f32');
        sumWindows(upstream, dx, squares);
        return dx;
      },
    },
    [factor],
  );
}
