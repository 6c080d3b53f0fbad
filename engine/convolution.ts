import type { Gpu } from './gpu.ts';
import { batchRuns, planGemm, planWeightGradient, type WeightGradientPlan } from './planner.ts';
import type { SampleSum } from './sample_sums.ts';
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
}

/** How patches are taken from an image; see shaders/patches.wgsl. */
interface PatchGeometry {
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
      spread: 1,
    },
    g,
  );
}

/** dX = the transposed convolution of dY by W: a convolution of dY, spread by the stride, with flipped weights. */
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
      dilation: g.dilation,
      paddingY: g.dilation * (g.kernelHeight - 1) - g.paddingY,
      paddingX: g.dilation * (g.kernelWidth - 1) - g.paddingX,
      columns: g.inChannels,
      channels: g.outChannels,
      flipped: true,
      isLine: g.isLine,
      spread: g.stride,
    },
    g,
  );
}

interface GemmShape extends PatchGeometry {
  columns: number;
  isLine?: boolean;
  /** Channels of the source. */
  channels: number;
  /** Whether weights are packed for the input gradient. */
  flipped: boolean;
  /** Distance of the source's pixels, zeros between them. */
  spread: number;
}

function gemm(source: F32, weights: F32, result: F32, shape: GemmShape, g: ConvGeometry): void {
  const { gpu } = source;
  const steps = Math.ceil((shape.kernelHeight * shape.kernelWidth * shape.channels) / 4);
  gpu.scope(() => {
    for (const run of sampleRuns(gpu, [source, result], shape)) {
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
        SPREAD: shape.spread > 1,
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
          spread: shape.spread,
          samples: run.lines,
          first_lane: 0,
          lanes: 1,
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

/** dW summed over samples, in `shape`. */
export function weightGradient(x: F32, dy: F32, shape: readonly number[], g: ConvGeometry): F32 {
  const { gpu } = x;
  const result = gpu.empty(shape, 'f32');
  gpu.scope(() => {
    const plan = planWeightGradient(weightFacts(gpu, g, result.size));
    const lanes = Math.min(plan.lanes, g.samples);
    const sums = lanes === 1 ? result : gpu.empty([lanes, ...shape], 'f32');
    for (const [i, run] of sampleRuns(gpu, [x, dy], g).entries()) {
      addWeightGradients(
        run.of(x),
        run.of(dy),
        sums,
        plan,
        'plain',
        { ...g, ...run.size, samples: run.lines },
        {
          lanes,
          first: run.start % lanes,
          accumulate: i > 0,
        },
      );
    }
    if (lanes > 1) addPartials(sums, result, lanes, false);
  });
  return result;
}

/**
 * Adds every sample's dW, or its square, to a running sum.
 * @param squares how squares are formed: `squared` where each pixel is a sample of its own (linear layers)
 */
export function accumulateWeightGradient(
  x: F32,
  dy: F32,
  sum: SampleSum,
  squares: 'fisher' | 'squared',
  g: ConvGeometry,
): void {
  const { gpu } = x;
  const size = sum.shape.reduce((a, b) => a * b, 1);
  const plan = planWeightGradient(weightFacts(gpu, g, size));
  const kind = sum.summand === 'square' ? squares : 'plain';
  gpu.scope(() => {
    for (const run of sampleRuns(gpu, [x, dy], g)) {
      const { sums, first } = sum.take(plan.lanes, run.start);
      const lanes = { lanes: plan.lanes, first, accumulate: true };
      addWeightGradients(
        run.of(x),
        run.of(dy),
        sums,
        plan,
        kind,
        { ...g, ...run.size, samples: run.lines },
        lanes,
      );
    }
  });
}

/** Explicit per-sample weight gradients, [samples, ...weightShape]. */
export function perSampleWeightGradient(
  x: F32,
  dy: F32,
  weightShape: readonly number[],
  g: ConvGeometry,
): F32 {
  const result = x.gpu.empty([g.samples, ...weightShape], 'f32');
  const plan = planWeightGradient(weightFacts(x.gpu, g, result.size / g.samples));
  addWeightGradients(x, dy, result, plan, 'plain', g, { lanes: g.samples, first: 0, accumulate: false });
  return result;
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

/** Lanes of a sum, the one that takes the first sample, and whether they already hold something. */
interface Lanes {
  lanes: number;
  first: number;
  accumulate: boolean;
}

function addWeightGradients(
  x: F32,
  dy: F32,
  sums: F32,
  plan: WeightGradientPlan,
  sum: WeightSum,
  g: ConvGeometry,
  { lanes, first, accumulate }: Lanes,
): void {
  const { gpu } = x;
  const vec4 = g.inChannels % 4 === 0;
  gpu.dispatch(
    gpu.kernel(plan.family === 'register' ? 'wgrad_register' : 'wgrad_tiled', {
      CHANNELS_VEC4: vec4,
      OUT_VEC4: g.outChannels % 4 === 0,
      FISHER: sum === 'fisher',
      SQUARED: sum === 'squared',
      ACCUMULATE: accumulate,
      ...(plan.family === 'register' && columnConditions(plan.tileColumns)),
    }),
    { image: x, gradient: dy, partial: sums },
    {
      ...patchParams(g, g.inChannels, vec4),
      rows: g.samples * g.outHeight * g.outWidth,
      columns: g.outChannels,
      steps: stepsOf(g),
      column_tiles: plan.columnTiles,
      spread: 1,
      samples: g.samples,
      first_lane: first,
      lanes,
      out_channels: g.outChannels,
      in_channels: g.inChannels,
    },
    plan.workgroups(lanes),
  );
}

function weightFacts(gpu: Gpu, g: ConvGeometry, size: number) {
  return {
    steps: stepsOf(g),
    outChannels: g.outChannels,
    pixels: g.isLine ? 1 : g.outHeight * g.outWidth,
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
    dilation: shape.dilation,
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
  tensors: readonly F32[],
  shape: { width: number; outWidth: number; isLine?: boolean },
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
