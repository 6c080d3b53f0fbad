import { convolve, convolveTransposed } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import type { ConvGeometry } from '../patches.ts';
import type { Rule, Tape } from '../tape.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { accumulateWeightGradient, perSampleWeightGradient, weightGradient } from '../weight_gradient.ts';

export interface ConvTranspose2dOptions {
  stride?: number;
  /** Distance of the kernel's taps. */
  dilation?: number;
  /** Pixels cut from each edge of the output: one number, or [vertical, horizontal]. */
  padding?: number | readonly [number, number];
  /** Lines added to the output at the bottom and at the right; fewer than the stride or the dilation. */
  outputPadding?: number | readonly [number, number];
}

/**
 * Transposed 2-D convolution as in PyTorch, without bias: the input gradient of the convolution of the output by
 * `weights`, whose kernels serve with the roles of input and output swapped.
 * @param x [samples, height, width, in channels]
 * @param weights [in channels, out channels, kernel height, kernel width]
 * @returns [samples, out height, out width, out channels],
 * out height = (height - 1) stride - 2 padding + dilation (kernel height - 1) + outputPadding + 1
 * @throws FathomError `shape-mismatch`
 */
export function convTranspose2d(
  tape: Tape,
  x: Tensor<'f32'>,
  weights: Tensor<'f32'>,
  options: ConvTranspose2dOptions = {},
): Tensor<'f32'> {
  const g = transposedGeometry(x.shape, weights.shape, options);
  const y = tape.gpu.empty([g.samples, g.height, g.width, g.inChannels], 'f32');
  convolveTransposed(x, weights, y, g);
  const rule: Rule = {
    gradient(i, upstream) {
      if (i === 1) return weightGradient(upstream, x, weights.shape, g);
      const dx = tape.gpu.empty(x.shape, 'f32');
      convolve(upstream, weights, dx, g);
      return dx;
    },
    parameters: {
      1: {
        perSample: (upstream) => perSampleWeightGradient(upstream, x, weights.shape, g),
        accumulate: (upstream, sum) => accumulateWeightGradient(upstream, x, sum, 'fisher', g),
      },
    },
  };
  return tape.record('convTranspose2d', [x, weights], y, rule, [options]);
}

/** The convolution of which this op is the input gradient: its output is `x`. */
function transposedGeometry(x: Shape, weights: Shape, options: ConvTranspose2dOptions): ConvGeometry {
  const { stride = 1, padding = 0, outputPadding = 0, dilation = 1 } = options;
  const [paddingY, paddingX] = typeof padding === 'number' ? [padding, padding] : padding;
  const [addedY, addedX] = typeof outputPadding === 'number' ? [outputPadding, outputPadding] : outputPadding;
  const [samples = 0, outHeight = 0, outWidth = 0, outChannels = 0] = x;
  const [weightChannels = 0, inChannels = 0, kernelHeight = 0, kernelWidth = 0] = weights;
  const height = (outHeight - 1) * stride - 2 * paddingY + dilation * (kernelHeight - 1) + addedY + 1;
  const width = (outWidth - 1) * stride - 2 * paddingX + dilation * (kernelWidth - 1) + addedX + 1;
  const images = x.length === 4 && weights.length === 4 && weightChannels === outChannels;
  const positive = Math.min(height, width, stride, dilation) >= 1;
  const paddings = Math.min(paddingY, paddingX, addedY, addedX) >= 0;
  if (!images || !positive || !paddings || Math.max(addedY, addedX) >= Math.max(stride, dilation)) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `convTranspose2d cannot take an input of shape [${x}] with weights of shape [${weights}], stride ${stride}, padding ${padding}, output padding ${outputPadding} and dilation ${dilation}`,
      fix: 'Give [samples, height, width, channels] and [channels, out, kernel height, kernel width], padding that leaves an output, and output padding below the stride or the dilation',
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
