import { convolve, convolveTransposed } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import {
  accumulateGroupedWeightGradient,
  convolveGroups,
  convolveGroupsTransposed,
  type GroupedGeometry,
  groupedWeightGradient,
  perSampleGroupedWeightGradient,
} from '../grouped_convolution.ts';
import type { SampleSum } from '../sample_sums.ts';
import type { Rule, Tape } from '../tape.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { accumulateWeightGradient, perSampleWeightGradient, weightGradient } from '../weight_gradient.ts';
import { type After, bias, biasRelu, recordBefore, requireFit } from './bias.ts';

type F32 = Tensor<'f32'>;

export interface Conv2dOptions {
  stride?: number;
  /** Distance of the kernel's taps. */
  dilation?: number;
  /** Zeros added at each edge: one number, or [vertical, horizontal]. */
  padding?: number | readonly [number, number];
  /** Parts into which the channels fall; an output channel reads the input channels of its own part. */
  groups?: number;
}

/** One group is an implicit GEMM, several are summed directly. */
const DENSE = {
  weightGradient,
  perSampleWeightGradient,
  accumulate: (x: F32, upstream: F32, sum: SampleSum, g: GroupedGeometry) =>
    accumulateWeightGradient(x, upstream, sum, 'fisher', g),
};
const GROUPED = {
  weightGradient: groupedWeightGradient,
  perSampleWeightGradient: perSampleGroupedWeightGradient,
  accumulate: accumulateGroupedWeightGradient,
};

/**
 * 2-D cross-correlation as in PyTorch, without bias. As many groups as channels make it depthwise.
 * @param x [samples, height, width, in channels]
 * @param weights [out channels, in channels / groups, kernel height, kernel width]
 * @param after a bias and a rectifier in the same pass where there is one group: as {@link bias} and {@link biasRelu}
 * @returns [samples, out height, out width, out channels]
 * @throws FathomError `shape-mismatch`
 */
export function conv2d(tape: Tape, x: F32, weights: F32, options: Conv2dOptions = {}, after?: After): F32 {
  const g = conv2dGeometry(x.shape, weights.shape, options);
  const shape = [g.samples, g.outHeight, g.outWidth, g.outChannels];
  if (after) requireFit({ shape }, after.bias);
  if (after && g.groups > 1) {
    const addBias = after.relu ? biasRelu : bias;
    return addBias(tape, conv2d(tape, x, weights, options), after.bias);
  }
  const y = tape.gpu.empty(shape, 'f32');
  if (g.groups === 1) convolve(x, weights, y, g, after);
  else convolveGroups(x, weights, y, g);
  return recordBefore(tape, y, after, (output) =>
    tape.record('conv2d', [x, weights], output, ruleOf(x, weights, g), [options]),
  );
}

function ruleOf(x: F32, weights: F32, g: GroupedGeometry): Rule {
  const kernels = g.groups === 1 ? DENSE : GROUPED;
  const inputGradient = (run: (dx: F32) => void) => {
    const dx = x.gpu.empty(x.shape, 'f32');
    run(dx);
    return dx;
  };
  return {
    gradient(i, upstream) {
      if (i === 1) return kernels.weightGradient(x, upstream, weights.shape, g);
      const transposed = g.groups === 1 ? convolveTransposed : convolveGroupsTransposed;
      return inputGradient((dx) => transposed(upstream, weights, dx, g));
    },
    ...(g.groups === 1 && {
      maskedGradient: (upstream: F32) =>
        inputGradient((dx) => convolveTransposed(upstream, weights, dx, g, x)),
    }),
    parameters: {
      1: {
        perSample: (upstream) => kernels.perSampleWeightGradient(x, upstream, weights.shape, g),
        accumulate: (upstream, sum) => kernels.accumulate(x, upstream, sum, g),
      },
    },
  };
}

/** Checks shapes and derives the output's. @throws FathomError `shape-mismatch` */
export function conv2dGeometry(x: Shape, weights: Shape, options: Conv2dOptions): GroupedGeometry {
  const { stride = 1, padding = 0, dilation = 1, groups = 1 } = options;
  const [paddingY, paddingX] = typeof padding === 'number' ? [padding, padding] : padding;
  const [samples = 0, height = 0, width = 0, inChannels = 0] = x;
  const [outChannels = 0, groupChannels = 0, kernelHeight = 0, kernelWidth = 0] = weights;
  const outHeight = Math.floor((height + 2 * paddingY - dilation * (kernelHeight - 1) - 1) / stride) + 1;
  const outWidth = Math.floor((width + 2 * paddingX - dilation * (kernelWidth - 1) - 1) / stride) + 1;
  const images = x.length === 4 && weights.length === 4;
  const grouped = groupChannels * groups === inChannels && outChannels % groups === 0;
  const positive = Math.min(outHeight, outWidth, stride, dilation, groups) >= 1;
  if (!images || !grouped || !positive || Math.min(paddingY, paddingX) < 0) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `conv2d cannot take an input of shape [${x}] with weights of shape [${weights}], stride ${stride}, padding ${padding}, dilation ${dilation} and groups ${groups}`,
      fix: 'Give [samples, height, width, channels] and [out, channels / groups, kernel height, kernel width] with the kernel inside the padded image',
    });
  }
  return {
    samples,
    height,
    width,
    inChannels,
    outChannels,
    groups,
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
