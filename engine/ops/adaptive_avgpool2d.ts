import { FathomError } from '../errors.ts';
import { overSamples } from '../over_samples.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/**
 * Mean over as many bins as the output has pixels, as in PyTorch; [1, 1] is global average pooling.
 * @param x [samples, height, width, channels]
 * @param size [out height, out width]
 * @returns [samples, out height, out width, channels]
 * @throws FathomError `shape-mismatch`
 */
export function adaptiveAvgpool2d(
  tape: Tape,
  x: Tensor<'f32'>,
  size: readonly [number, number],
): Tensor<'f32'> {
  const { gpu } = tape;
  const [samples = 0, height = 0, width = 0, channels = 0] = x.shape;
  const [outHeight, outWidth] = size;
  if (x.shape.length !== 4 || !size.every((extent) => Number.isInteger(extent) && extent >= 1)) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `adaptiveAvgpool2d cannot take an input of shape [${x.shape}] to ${outHeight} x ${outWidth} pixels`,
      fix: 'Give [samples, height, width, channels] and whole output extents of at least 1',
    });
  }
  const vec4 = channels % 4 === 0;
  const conditions = { CHANNELS_VEC4: vec4, GLOBAL: outHeight === 1 && outWidth === 1 };
  const run = (
    module: 'adaptive_avgpool2d' | 'adaptive_avgpool2d_gradient',
    tensors: Record<string, Tensor<'f32'>>,
  ) =>
    overSamples(tensors, (parts) => {
      const count = parts.result!.size / (vec4 ? 4 : 1);
      gpu.dispatch(
        gpu.kernel(module, conditions),
        parts,
        {
          count,
          height,
          width,
          channels: vec4 ? channels / 4 : channels,
          out_height: outHeight,
          out_width: outWidth,
        },
        Math.ceil(count / 64),
      );
    });
  const y = gpu.empty([samples, outHeight, outWidth, channels], 'f32');
  run('adaptive_avgpool2d', { image: x, result: y });
  return tape.record(
    'adaptiveAvgpool2d',
    [x],
    y,
    {
      gradient(_, upstream) {
        const dx = gpu.empty(x.shape, 'f32');
        run('adaptive_avgpool2d_gradient', { gradient: upstream, result: dx });
        return dx;
      },
    },
    [size],
  );
}
