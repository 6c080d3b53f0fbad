import type { Array64, ReferenceOp } from '../reference.ts';
import { type Shape, sizeOf } from '../tensor.ts';
import { addProducts, addTransposedProducts, dotProducts, type ProductShape } from './products.ts';

type Pair = number | readonly [number, number];

export interface ConvolutionOptions {
  stride?: number;
  dilation?: number;
  padding?: Pair;
  groups?: number;
}

interface Geometry {
  samples: number;
  height: number;
  width: number;
  channels: number;
  outHeight: number;
  outWidth: number;
  outChannels: number;
  kernelHeight: number;
  kernelWidth: number;
  stride: number;
  dilation: number;
  paddingY: number;
  paddingX: number;
  groups: number;
}

/** Rows of patches that are gathered at a time. */
const BLOCK = 32;

export const convolutionReference = {
  /** Inputs: x [samples, height, width, in], weights [out, in / groups, kernel height, kernel width]. */
  conv2d(options: ConvolutionOptions = {}): ReferenceOp {
    return {
      forward: (x, w) => convolve(x!, w!, geometryOf(x!.shape, w!.shape, options)),
      gradient([x, w], upstream) {
        const g = geometryOf(x!.shape, w!.shape, options);
        return [convolveTransposed(upstream, w!, g), weightGradient(x!, upstream, w!.shape, g)];
      },
    };
  },

  /** Inputs: x [samples, height, width, in], weights [in, out, kernel height, kernel width]. */
  convTranspose2d(options: Omit<ConvolutionOptions, 'groups'> & { outputPadding?: Pair } = {}): ReferenceOp {
    return {
      forward: (x, w) => convolveTransposed(x!, w!, transposedGeometryOf(x!.shape, w!.shape, options)),
      gradient([x, w], upstream) {
        const g = transposedGeometryOf(x!.shape, w!.shape, options);
        return [convolve(upstream, w!, g), weightGradient(upstream, x!, w!.shape, g)];
      },
    };
  },

  /** Inputs: x [samples, in], weights [out, in]. */
  linear(): ReferenceOp {
    return {
      forward(x, w) {
        const y = zeros([x!.shape[0]!, w!.shape[0]!]);
        dotProducts(x!.data, w!.data, y.data, linearShape(x!, w!));
        return y;
      },
      gradient([x, w], upstream) {
        const [dx, dw] = [zeros(x!.shape), zeros(w!.shape)];
        addProducts(upstream.data, w!.data, dx.data, linearShape(x!, w!));
        addTransposedProducts(upstream.data, x!.data, dw.data, linearShape(x!, w!));
        return [dx, dw];
      },
    };
  },
} satisfies Record<string, (...options: never[]) => ReferenceOp>;

function zeros(shape: Shape): Array64 {
  return { shape, data: new Float64Array(sizeOf(shape)) };
}

function linearShape(x: Array64, w: Array64): ProductShape {
  const [columns, size] = w.shape as [number, number];
  return { rows: x.shape[0]!, columns, size, first: 0, stride: columns };
}

function pair(value: Pair): readonly [number, number] {
  return typeof value === 'number' ? [value, value] : value;
}

function geometryOf(x: Shape, w: Shape, options: ConvolutionOptions): Geometry {
  const { stride = 1, dilation = 1, groups = 1 } = options;
  const [paddingY, paddingX] = pair(options.padding ?? 0);
  const [samples, height, width, channels] = x as [number, number, number, number];
  const [outChannels, , kernelHeight, kernelWidth] = w as [number, number, number, number];
  const outHeight = Math.floor((height + 2 * paddingY - dilation * (kernelHeight - 1) - 1) / stride) + 1;
  const outWidth = Math.floor((width + 2 * paddingX - dilation * (kernelWidth - 1) - 1) / stride) + 1;
  const kernel = { kernelHeight, kernelWidth, stride, dilation, paddingY, paddingX, groups };
  return { samples, height, width, channels, outHeight, outWidth, outChannels, ...kernel };
}

/** The convolution whose input gradient a transposed convolution of `x` is. */
function transposedGeometryOf(
  x: Shape,
  w: Shape,
  options: ConvolutionOptions & { outputPadding?: Pair },
): Geometry {
  const { stride = 1, dilation = 1 } = options;
  const [paddingY, paddingX] = pair(options.padding ?? 0);
  const [addedY, addedX] = pair(options.outputPadding ?? 0);
  const [samples, outHeight, outWidth, outChannels] = x as [number, number, number, number];
  const [, channels, kernelHeight, kernelWidth] = w as [number, number, number, number];
  const height = (outHeight - 1) * stride - 2 * paddingY + dilation * (kernelHeight - 1) + addedY + 1;
  const width = (outWidth - 1) * stride - 2 * paddingX + dilation * (kernelWidth - 1) + addedX + 1;
  const kernel = { kernelHeight, kernelWidth, stride, dilation, paddingY, paddingX, groups: 1 };
  return { samples, height, width, channels, outHeight, outWidth, outChannels, ...kernel };
}

function convolve(x: Array64, w: Array64, g: Geometry): Array64 {
  const y = zeros([g.samples, g.outHeight, g.outWidth, g.outChannels]);
  const weights = repacked(w, g, false);
  forBlocks(g, (block, patches, shape) => {
    movePatches(x.data, patches, g, block, false);
    dotProducts(patches, weightsOf(weights, block, shape), pixelsOf(y.data, block, shape), shape);
  });
  return y;
}

function convolveTransposed(dy: Array64, w: Array64, g: Geometry): Array64 {
  const dx = zeros([g.samples, g.height, g.width, g.channels]);
  const weights = repacked(w, g, false);
  forBlocks(g, (block, patches, shape) => {
    patches.fill(0);
    addProducts(pixelsOf(dy.data, block, shape), weightsOf(weights, block, shape), patches, shape);
    movePatches(dx.data, patches, g, block, true);
  });
  return dx;
}

function weightGradient(x: Array64, dy: Array64, shapeOfWeights: Shape, g: Geometry): Array64 {
  const packed = zeros(shapeOfWeights);
  forBlocks(g, (block, patches, shape) => {
    movePatches(x.data, patches, g, block, false);
    const own = weightsOf(packed.data, block, shape);
    addTransposedProducts(pixelsOf(dy.data, block, shape), patches, own, shape);
  });
  return { shape: shapeOfWeights, data: repacked(packed, g, true) };
}

/** Output pixels, counted over the batch, of which one group's channels are taken. */
interface Block {
  pixel: number;
  rows: number;
  group: number;
}

function weightsOf(weights: Float64Array, { group }: Block, { columns, size }: ProductShape): Float64Array {
  return weights.subarray(group * columns * size, (group + 1) * columns * size);
}

function pixelsOf(outputs: Float64Array, { pixel, rows }: Block, { stride }: ProductShape): Float64Array {
  return outputs.subarray(pixel * stride, (pixel + rows) * stride);
}

function forBlocks(
  g: Geometry,
  visit: (block: Block, patches: Float64Array, shape: ProductShape) => void,
): void {
  const pixels = g.samples * g.outHeight * g.outWidth;
  const columns = g.outChannels / g.groups;
  const size = g.kernelHeight * g.kernelWidth * (g.channels / g.groups);
  const patches = new Float64Array(BLOCK * size);
  for (let pixel = 0; pixel < pixels; pixel += BLOCK) {
    const rows = Math.min(BLOCK, pixels - pixel);
    for (let group = 0; group < g.groups; group++) {
      const shape = { rows, columns, size, first: group * columns, stride: g.outChannels };
      visit({ pixel, rows, group }, patches, shape);
    }
  }
}

/** Weights [out, in, ky, kx] as [out, ky, kx, in], or back. */
function repacked({ data }: Array64, g: Geometry, back: boolean): Float64Array {
  const channels = g.channels / g.groups;
  const taps = g.kernelHeight * g.kernelWidth;
  const result = new Float64Array(data.length);
  let packed = 0;
  for (let o = 0; o < g.outChannels; o++) {
    for (let tap = 0; tap < taps; tap++) {
      for (let c = 0; c < channels; c++, packed++) {
        const plain = (o * channels + c) * taps + tap;
        if (back) result[plain] = data[packed]!;
        else result[packed] = data[plain]!;
      }
    }
  }
  return result;
}

/**
 * Gathers a group's patches [rows, ky, kx, in] of an image, zeros outside it; with `add` adds patches to the image.
 */
function movePatches(
  image: Float64Array,
  patches: Float64Array,
  g: Geometry,
  { pixel, rows, group }: Block,
  add: boolean,
): void {
  const { height, width, channels, outHeight, outWidth, kernelHeight, kernelWidth, dilation } = g;
  const count = channels / g.groups;
  let at = 0;
  for (let row = pixel; row < pixel + rows; row++) {
    const line = Math.floor(row / outWidth);
    const y = (line % outHeight) * g.stride - g.paddingY;
    const x = (row % outWidth) * g.stride - g.paddingX;
    const base = Math.floor(line / outHeight) * height;
    for (let ky = 0; ky < kernelHeight; ky++) {
      const iy = y + ky * dilation;
      for (let kx = 0; kx < kernelWidth; kx++, at += count) {
        const ix = x + kx * dilation;
        const inside = iy >= 0 && iy < height && ix >= 0 && ix < width;
        const from = ((base + iy) * width + ix) * channels + group * count;
        if (add) {
          if (inside) for (let c = 0; c < count; c++) image[from + c]! += patches[at + c]!;
        } else if (inside) {
          for (let c = 0; c < count; c++) patches[at + c] = image[from + c]!;
        } else patches.fill(0, at, at + count);
      }
    }
  }
}
