import { affineRule, requireChannels, rowsOf } from '../normalisation.ts';
import { overSamples } from '../over_samples.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import type { NormOptions } from './batch_norm.ts';

/**
 * Layer normalisation (Ba et al. 2016) over the last axis, as PyTorch's LayerNorm(features); of images it is
 * ConvNeXt's, pixel by pixel.
 * @param x [samples, ..., features]
 * @param weight [features]
 * @param bias [features]
 * @throws FathomError `shape-mismatch`
 */
export function layerNorm(
  tape: Tape,
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { epsilon = 1e-5 }: NormOptions = {},
): Tensor<'f32'> {
  requireChannels('layerNorm', x, { weight, bias });
  const { gpu } = tape;
  const { samples, pixels, channels } = rowsOf(x);
  const vec4 = channels % 4 === 0;
  const params = { columns: vec4 ? channels / 4 : channels, share: 1 / channels };
  const mean = gpu.empty([samples, pixels], 'f32');
  const inverse = gpu.empty([samples, pixels], 'f32');
  const rows = { row_mean: mean, row_inverse: inverse };
  const y = gpu.empty(x.shape, 'f32');
  overSamples({ x, result: y, ...rows }, (parts, count) => {
    gpu.dispatch(
      gpu.kernel('layer_norm', { CHANNELS_VEC4: vec4 }),
      { ...parts, weight, bias },
      { ...params, rows: count * pixels, epsilon },
      Math.ceil((count * pixels) / 64),
    );
  });
  const affine = affineRule(x, { by: 'row', mean, inverse });
  return tape.record(
    'layerNorm',
    [x, weight, bias],
    y,
    {
      gradient(i, upstream) {
        if (i > 0) return affine.gradient(i, upstream);
        const result = gpu.empty(x.shape, 'f32');
        overSamples({ x, gradient: upstream, result, ...rows }, (parts, count) => {
          gpu.dispatch(
            gpu.kernel('layer_norm_gradient', { CHANNELS_VEC4: vec4 }),
            { ...parts, weight },
            { ...params, rows: count * pixels },
            Math.ceil((count * pixels) / 64),
          );
        });
        return result;
      },
      parameters: affine.parameters,
    },
    [{ epsilon }],
  );
}
