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
import type { Shape, Tensor } from '../tensor.ts';

export interface Conv2dOptions {
  stride?: number;
  /** Distance of the kernel's taps. */
  dilation?: number;
  /** Zeros added at each edge: one number, or [vertical, horizontal]. */
  padding?: number | readonly [number, number];
}

/**
 * 2-D cross-correlation as in PyTorch, without bias.
 * @param x [samples, height, width, in channels]
 * @param weights [out channels, in channels, kernel height, kernel width]
 * @returns [samples, out height, out width, out channels]
 * @throws FathomError `shape-mismatch`
 */
export function conv2d(
  tape: Tape,
  x: Tensor<'f32'>,
  weights: Tensor<'f32'>,
  options: Conv2dOptions = {},
): Tensor<'f32'> {
  const g = conv2dGeometry(x.shape, weights.shape, options);
  const y = tape.gpu.empty([g.samples, g.outHeight, g.outWidth, g.outChannels], 'f32');
  convolve(x, weights, y, g);
  const rule: Rule = {
    gradient(i, upstream) {
      if (i === 1) return weightGradient(x, upstream, weights.shape, g);
      const dx = tape.gpu.empty(x.shape, 'f32');
      convolveTransposed(upstream, weights, dx, g);
      return dx;
    },
    parameters: {
      1: {
        perSample: (upstream) => perSampleWeightGradient(x, upstream, weights.shape, g),
        accumulate: (upstream, sum) => accumulateWeightGradient(x, upstream, sum, 'fisher', g),
      },
    },
  };
  return tape.record('conv2d', [x, weights], y, rule, [options]);
}

/** Checks shapes and derives the output's. @throws FathomError `shape-mismatch` */
export function conv2dGeometry(x: Shape, weights: Shape, options: Conv2dOptions): ConvGeometry {
  const { stride = 1, padding = 0, dilation = 1 } = options;
  const [paddingY, paddingX] = typeof padding === 'number' ? [padding, padding] : padding;
  const [samples = 0, height = 0, width = 0, inChannels = 0] = x;
  const [outChannels = 0, weightChannels = 0, kernelHeight = 0, kernelWidth = 0] = weights;
  const outHeight = Math.floor((height + 2 * paddingY - dilation * (kernelHeight - 1) - 1) / stride) + 1;
  const outWidth = Math.floor((width + 2 * paddingX - dilation * (kernelWidth - 1) - 1) / stride) + 1;
  const fits = x.length === 4 && weights.length === 4 && weightChannels === inChannels;
  if (!fits || Math.min(outHeight, outWidth, stride, dilation) < 1 || Math.min(paddingY, paddingX) < 0) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `conv2d cannot take an input of shape [${x}] with weights of shape [${weights}], stride ${stride}, padding ${padding} and dilation ${dilation}`,
      fix: 'Give [samples, height, width, channels] and [out, channels, kernel height, kernel width] with the kernel inside the padded image',
    });
  }
  return {
    samples,
    height,
    width,
    inChannels,
    outChannels,
    kernelHeight,
    kernelWidth,
    stride,
    dilation,
    paddingY,
    paddingX,
    outHeight,
    outWidth,
  };
}
