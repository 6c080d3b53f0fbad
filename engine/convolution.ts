import type { Gpu } from './gpu.ts';
import {
  batchRuns,
  planGemm,
  planPerSampleGradient,
  planWeightGradient,
  type WeightGradientPlan,
} from './planner.ts';
import type { Tensor } from './tensor.ts';

/**
 * A convolution of [samples, height, width, inChannels] by weights [outChannels, inChannels, kernelHeight,
 * kernelWidth] (PyTorch's layout) into [samples, outHeight, outWidth, outChannels]. A linear layer over `n` rows is
 * the case of one sample of one line of `n` pixels, and one tap.
 */
export interface ConvGeometry extends PatchGeometry {
  inChannels: number;
  outChannels: number;
}

/** How patches are taken from an image; see shaders/patches.wgsl. */
interface PatchGeometry {
  samples: number;
  height: number;
  width: number;
  kernelHeight: number;
  kernelWidth: number;
  stride: number;
  paddingY: number;
  paddingX: number;
  outHeight: number;
  outWidth: number;
}

type F32 = Tensor<'f32'>;

/** What a weight-gradient pass sums: gradients, squared per-sample gradients, or squares of one-pixel samples. */
type WeightSum = 'plain' | 'fisher' | 'squared';

/** Y = conv(X, W). Shapes as in {@link ConvGeometry}; `y` is written. */
export function convolve(x: F32, weights: F32, y: F32, g: ConvGeometry): void {
  gemm(
    x,
    weights,
    y,
    {
      ...g,
      columns: g.outChannels,
      channels: g.inChannels,
      flipped: false,
      dilation: 1,
    },
    g,
  );
}

/** dX = the transposed convolution of dY by W: a convolution of dY, dilated by the stride, with flipped weights. */
export function convolveTransposed(dy: F32, weights: F32, dx: F32, g: ConvGeometry): void {
  gemm(
    dy,
    weights,
    dx,
    {
      samples: g.samples,
      height: g.outHeight,
      width: g.outWidth,
      outHeight: g.height,
      outWidth: g.width,
      kernelHeight: g.kernelHeight,
      kernelWidth: g.kernelWidth,
      stride: 1,
      paddingY: g.kernelHeight - 1 - g.paddingY,
      paddingX: g.kernelWidth - 1 - g.paddingX,
      columns: g.inChannels,
      channels: g.outChannels,
      flipped: true,
      dilation: g.stride,
    },
    g,
  );
}

interface GemmShape extends PatchGeometry {
  columns: number;
  /** Channels of the source. */
  channels: number;
  /** Whether weights are packed for the input gradient. */
  flipped: boolean;
  dilation: number;
}

function gemm(source: F32, weights: F32, result: F32, shape: GemmShape, g: ConvGeometry): void {
  const { gpu } = source;
  const steps = Math.ceil((shape.kernelHeight * shape.kernelWidth * shape.channels) / 4);
  gpu.scope(() => {
    for (const run of sampleRuns(gpu, shape.samples, [source, result], shape)) {
      const rows = run.lines * shape.outHeight * run.size.outWidth;
      const plan = planGemm({
        rows,
        columns: shape.columns,
        software: gpu.software,
        family: gpu.options.family,
      });
      const packed = packWeights(weights, plan.tileColumns, plan.columnTiles, steps, shape.flipped, g);
      const vec4 = shape.channels % 4 === 0;
      const conditions = {
        CHANNELS_VEC4: vec4,
        COLUMNS_VEC4: shape.columns % 4 === 0,
        DILATED: shape.dilation > 1,
        ...(plan.family === 'register' && columnConditions(plan.tileColumns)),
      };
      gpu.dispatch(
        gpu.kernel(plan.family === 'register' ? 'gemm_register' : 'gemm_tiled', conditions),
        { image: run.of(source), weights: packed, result: run.of(result) },
        {
          ...patchParams({ ...shape, ...run.size }, shape.channels, vec4),
          rows,
          columns: shape.columns,
          steps,
          column_tiles: plan.columnTiles,
          dilation: shape.dilation,
          samples: run.lines,
          samples_per_chunk: 0,
          out_channels: g.outChannels,
          in_channels: g.inChannels,
        },
        plan.workgroups,
      );
      packed.dispose();
    }
  });
}

function packWeights(
  weights: F32,
  tileColumns: number,
  columnTiles: number,
  steps: number,
  flipped: boolean,
  g: ConvGeometry,
): F32 {
  const { gpu } = weights;
  const packed = gpu.empty([columnTiles, steps, tileColumns, 16], 'f32');
  const count = packed.size / 4;
  gpu.dispatch(
    gpu.kernel('pack_weights', { FLIPPED: flipped }),
    { weights, packed },
    {
      count,
      steps,
      tile_columns: tileColumns,
      in_channels: g.inChannels,
      out_channels: g.outChannels,
      kernel_height: g.kernelHeight,
      kernel_width: g.kernelWidth,
    },
    Math.ceil(count / 64),
  );
  return packed;
}

/** dW in `shape`: summed over samples (`plain`), or the sum of squared per-sample gradients (see {@link WeightSum}). */
export function weightGradient(
  x: F32,
  dy: F32,
  weightShape: readonly number[],
  sum: WeightSum,
  g: ConvGeometry,
): F32 {
  const { gpu } = x;
  const result = gpu.empty(weightShape, 'f32');
  gpu.scope(() => {
    for (const [i, run] of sampleRuns(gpu, g.samples, [x, dy], g).entries()) {
      const geometry = { ...g, ...run.size, samples: run.lines };
      const plan = planWeightGradient(weightFacts(gpu, geometry, result.size));
      const partial = weightPartials(run.of(x), run.of(dy), plan, sum, geometry, result.size);
      addPartials(partial, result, plan.chunks, i > 0);
      partial.dispose();
    }
  });
  return result;
}

/** Explicit per-sample weight gradients, [samples, ...weightShape]. */
export function perSampleWeightGradient(
  x: F32,
  dy: F32,
  weightShape: readonly number[],
  g: ConvGeometry,
): F32 {
  const size = weightShape.reduce((a, b) => a * b, 1);
  const plan = planPerSampleGradient(weightFacts(x.gpu, g, size));
  return x.gpu.scope(() =>
    weightPartials(x, dy, plan, 'plain', g, size).reshape([g.samples, ...weightShape]),
  );
}

/** result = (result +) the sum of `chunks` partial results, in order. */
export function addPartials(partial: F32, result: F32, chunks: number, accumulate: boolean): void {
  const { gpu } = partial;
  gpu.dispatch(
    gpu.kernel('partial_sum', { ACCUMULATE: accumulate }),
    { partial, result },
    { size: result.size, chunks, scale: 1 },
    Math.ceil(result.size / 64),
  );
}

function weightPartials(
  x: F32,
  dy: F32,
  plan: WeightGradientPlan,
  sum: WeightSum,
  g: ConvGeometry,
  size: number,
): F32 {
  const { gpu } = x;
  const partial = gpu.empty([plan.chunks, size], 'f32');
  const vec4 = g.inChannels % 4 === 0;
  gpu.dispatch(
    gpu.kernel(plan.family === 'register' ? 'wgrad_register' : 'wgrad_tiled', {
      CHANNELS_VEC4: vec4,
      OUT_VEC4: g.outChannels % 4 === 0,
      FISHER: sum === 'fisher',
      SQUARED: sum === 'squared',
      ...(plan.family === 'register' && columnConditions(plan.tileColumns)),
    }),
    { image: x, gradient: dy, partial },
    {
      ...patchParams(g, g.inChannels, vec4),
      rows: g.samples * g.outHeight * g.outWidth,
      columns: g.outChannels,
      steps: stepsOf(g),
      column_tiles: plan.columnTiles,
      dilation: 1,
      samples: g.samples,
      samples_per_chunk: plan.samplesPerChunk,
      out_channels: g.outChannels,
      in_channels: g.inChannels,
    },
    plan.workgroups,
  );
  return partial;
}

function weightFacts(gpu: Gpu, g: ConvGeometry, size: number) {
  return {
    steps: stepsOf(g),
    outChannels: g.outChannels,
    samples: g.samples,
    pixels: g.outHeight * g.outWidth,
    size,
    maxBindingBytes: gpu.maxBindingBytes,
    software: gpu.software,
    family: gpu.options.family,
  };
}

function stepsOf(g: ConvGeometry): number {
  return Math.ceil((g.kernelHeight * g.kernelWidth * g.inChannels) / 4);
}

function columnConditions(tileColumns: number): Record<string, boolean> {
  return { COLUMNS_2: tileColumns >= 2, COLUMNS_4: tileColumns >= 4 };
}

function patchParams(shape: PatchGeometry, channels: number, vec4: boolean): Record<string, number> {
  return {
    height: shape.height,
    width: shape.width,
    channels: vec4 ? channels / 4 : channels,
    out_height: shape.outHeight,
    out_width: shape.outWidth,
    kernel_height: shape.kernelHeight,
    kernel_width: shape.kernelWidth,
    stride: shape.stride,
    padding_y: shape.paddingY,
    padding_x: shape.paddingX,
  };
}

/**
 * Runs over the batch that fit a binding. A linear layer's batch is a line of pixels in one sample, so its runs
 * shorten the line.
 */
function sampleRuns(
  gpu: Gpu,
  samples: number,
  tensors: readonly F32[],
  shape: { width: number; outWidth: number },
): { lines: number; size: { width: number; outWidth: number }; of: (t: F32) => F32 }[] {
  const batch = tensors[0]!.shape[0]!;
  const perItem = tensors.map((tensor) => tensor.bytes / batch);
  return batchRuns(batch, perItem, gpu.maxBindingBytes).map(({ start, count }) => {
    const isLine = samples === 1 && batch > 1;
    return {
      lines: isLine ? 1 : count,
      size: isLine ? { width: count, outWidth: count } : { width: shape.width, outWidth: shape.outWidth },
      of: (tensor) => (count === batch ? tensor : tensor.slice(start, count)),
    };
  });
}
