import type { Gpu } from './gpu.ts';
import { batchRuns, type GemmPlan, type Line, type WeightGradientPlan } from './planner.ts';
import type { Tensor } from './tensor.ts';

/**
 * A convolution of [samples, height, width, inChannels] by weights [outChannels, inChannels, kernelHeight,
 * kernelWidth] (PyTorch's layout) into [samples, outHeight, outWidth, outChannels]. A linear layer over `n` rows is
 * the case of one sample of one line of `n` pixels, and one tap.
 */
export interface ConvGeometry extends PatchGeometry {
  inChannels: number;
  outChannels: number;
  /** Set where the pixels of the one line are the samples. */
  isLine?: boolean;
  /** Of a linear layer over images as they lie in memory: their pixels. Its weights are by channel and pixel. */
  imagePixels?: number;
}

/** How patches are taken from an image; see shaders/patches.wgsl. */
export interface PatchGeometry {
  samples: number;
  height: number;
  width: number;
  kernelHeight: number;
  kernelWidth: number;
  stride: number;
  /** Distance of a kernel's taps. */
  dilation: number;
  paddingY: number;
  paddingX: number;
  outHeight: number;
  outWidth: number;
}

type F32 = Tensor<'f32'>;

/** Whether the patches are the image as it lies in memory: one tap, and as many pixels out as in. */
export function isMatrix(shape: PatchGeometry): boolean {
  const sameSize = shape.height === shape.outHeight && shape.width === shape.outWidth;
  const unmoved = shape.stride === 1 && shape.paddingY === 0 && shape.paddingX === 0;
  return shape.kernelHeight * shape.kernelWidth === 1 && sameSize && unmoved;
}

/** What direct convolution needs to know, where it is possible. */
export function lineOf(
  shape: PatchGeometry & { isLine?: boolean | undefined },
  channels: number,
): Line | undefined {
  if (shape.stride !== 1 || shape.dilation !== 1 || shape.isLine) return undefined;
  const { kernelWidth, kernelHeight, outWidth } = shape;
  return { taps: kernelWidth, kernelHeight, outWidth, channels };
}

export function stepsOf({ kernelHeight, kernelWidth }: PatchGeometry, channels: number): number {
  return Math.ceil((kernelHeight * kernelWidth * channels) / 4);
}

export function familyConditions(plan: GemmPlan | WeightGradientPlan): Record<string, boolean> {
  if (plan.family === 'tiled') return {};
  const { tileColumns } = plan;
  return {
    QUADS: plan.family === 'quad',
    GROUPS_OF_16: plan.workgroup === 16,
    COLUMNS_2: tileColumns >= 2,
    COLUMNS_4: tileColumns >= 4,
    ...('tileRows' in plan
      ? { ROWS_7: plan.direct && plan.tileRows >= 7, ROWS_8: plan.tileRows === 8 }
      : { PIXELS_7: plan.tilePixels === 7, GROUPS_2: !plan.direct && plan.tileGroups === 2 }),
  };
}

export function patchParams(shape: PatchGeometry, channels: number, vec4: boolean): Record<string, number> {
  return {
    height: shape.height,
    width: shape.width,
    channels: vec4 ? channels / 4 : channels,
    out_height: shape.outHeight,
    out_width: shape.outWidth,
    kernel_height: shape.kernelHeight,
    kernel_width: shape.kernelWidth,
    stride: shape.stride,
    dilation: shape.dilation,
    padding_y: shape.paddingY,
    padding_x: shape.paddingX,
    result_height: shape.outHeight,
    result_width: shape.outWidth,
    splits: 1,
    result_stride: 1,
    result_y: 0,
    result_x: 0,
  };
}

/**
 * Runs over the batch that fit a binding. A linear layer's batch is a line of pixels in one sample, so its runs
 * shorten the line.
 */
export function sampleRuns(
  gpu: Gpu,
  tensors: readonly F32[],
  shape: { width: number; outWidth: number; isLine?: boolean | undefined },
): { start: number; lines: number; size: { width: number; outWidth: number }; of: (t: F32) => F32 }[] {
  const batch = tensors[0]!.shape[0]!;
  const perItem = tensors.map((tensor) => tensor.bytes / batch);
  return batchRuns(batch, perItem, gpu.maxBindingBytes).map(({ start, count }) => {
    const isLine = shape.isLine ?? false;
    return {
      start,
      lines: isLine ? 1 : count,
      size: isLine ? { width: count, outWidth: count } : { width: shape.width, outWidth: shape.outWidth },
      of: (tensor) => (count === batch ? tensor : tensor.slice(start, count)),
    };
  });
}
