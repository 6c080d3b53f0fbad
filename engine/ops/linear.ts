import { convolve, convolveTransposed } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import type { ConvGeometry } from '../patches.ts';
import type { Rule, Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { accumulateWeightGradient, perSampleWeightGradient, weightGradient } from '../weight_gradient.ts';
import { type After, recordBefore, requireFit } from './bias.ts';

/**
 * y = x W^T. The sum of squared per-sample gradients is (dY * dY)^T (X * X): one product.
 * @param x [samples, in], or images [samples, height, width, channels], which are taken as if flattened into PyTorch's
 * order (channel, row, column)
 * @param weights [out, in]
 * @param after a bias and a rectifier in the same pass, as {@link bias} and {@link biasRelu}
 * @returns [samples, out]
 * @throws FathomError `shape-mismatch`
 */
export function linear(tape: Tape, x: Tensor<'f32'>, weights: Tensor<'f32'>, after?: After): Tensor<'f32'> {
  const [samples = 0, height = 1, width = 1] = x.shape;
  const [outChannels = 0, inChannels] = weights.shape;
  const rows = x.shape.length === 2 || x.shape.length === 4;
  if (!rows || weights.shape.length !== 2 || x.size !== samples * inChannels!) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `linear cannot take an input of shape [${x.shape}] with weights of shape [${weights.shape}]`,
      fix: 'Give [samples, in] or images, and [out, in]',
    });
  }
  if (after) requireFit({ shape: [samples, outChannels] }, after.bias);
  const line: ConvGeometry = {
    samples: 1,
    height: 1,
    width: samples,
    outHeight: 1,
    outWidth: samples,
    inChannels: inChannels!,
    outChannels,
    ...(x.shape.length === 4 && { imagePixels: height * width }),
    kernelHeight: 1,
    kernelWidth: 1,
    stride: 1,
    dilation: 1,
    isLine: true,
    paddingY: 0,
    paddingX: 0,
  };
  const y = tape.gpu.empty([samples, outChannels], 'f32');
  convolve(x, weights, y, line, after);
  const inputGradient = (upstream: Tensor<'f32'>, mask?: Tensor<'f32'>) => {
    const dx = tape.gpu.empty(x.shape, 'f32');
    convolveTransposed(upstream, weights, dx, line, mask);
    return dx;
  };
  const rule: Rule = {
    gradient: (i, upstream) =>
      i === 1 ? weightGradient(x, upstream, weights.shape, line) : inputGradient(upstream),
    maskedGradient: (upstream) => inputGradient(upstream, x),
    parameters: {
      1: {
        perSample(upstream) {
          const points = { ...line, samples, width: 1, outWidth: 1, isLine: false };
          return perSampleWeightGradient(x, upstream, weights.shape, points);
        },
        accumulate: (upstream, sum) => accumulateWeightGradient(x, upstream, sum, 'squared', line),
      },
    },
  };
  return recordBefore(tape, y, after, (output) => tape.record('linear', [x, weights], output, rule));
}
