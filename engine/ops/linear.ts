import {
  accumulateWeightGradient,
  type ConvGeometry,
  convolve,
  convolveTransposed,
  perSampleWeightGradient,
  weightGradient,
} from '../convolution.ts';
import { FathomError } from '../errors.ts';
import type { Rule, Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';

/**
 * y = x W^T, without bias. The sum of squared per-sample gradients is (dY * dY)^T (X * X): one product.
 * @param x [samples, in]
 * @param weights [out, in]
 * @returns [samples, out]
 * @throws FathomError `shape-mismatch`
 */
export function linear(tape: Tape, x: Tensor<'f32'>, weights: Tensor<'f32'>): Tensor<'f32'> {
  const [samples = 0, inChannels = 0] = x.shape;
  const [outChannels = 0, weightChannels] = weights.shape;
  if (x.shape.length !== 2 || weights.shape.length !== 2 || weightChannels !== inChannels) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `linear cannot take an input of shape [${x.shape}] with weights of shape [${weights.shape}]`,
      fix: 'Give [samples, in] and [out, in]; flatten images first',
    });
  }
  const line: ConvGeometry = {
    samples: 1,
    height: 1,
    width: samples,
    outHeight: 1,
    outWidth: samples,
    inChannels,
    outChannels,
    kernelHeight: 1,
    kernelWidth: 1,
    stride: 1,
    dilation: 1,
    isLine: true,
    paddingY: 0,
    paddingX: 0,
  };
  const y = tape.gpu.empty([samples, outChannels], 'f32');
  convolve(x, weights, y, line);
  const rule: Rule = {
    gradient(i, upstream) {
      if (i === 1) return weightGradient(x, upstream, weights.shape, line);
      const dx = tape.gpu.empty(x.shape, 'f32');
      convolveTransposed(upstream, weights, dx, line);
      return dx;
    },
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
  return tape.record('linear', [x, weights], y, rule);
}
