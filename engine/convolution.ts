import type { ShaderName } from '../shaders/index.ts';
import type { Gpu } from './gpu.ts';
import type { Param } from './kernel.ts';
import {
  batchRuns,
  type GemmPlan,
  gcd,
  type Line,
  planGemm,
  planWeightGradient,
  type WeightGradientPlan,
} from './planner.ts';
import type { SampleSum } from './sample_sums.ts';
import { sizeOf, type Tensor } from './tensor.ts';

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

/** What is done to a result as it is stored. */
export interface Epilogue {
  /** Added, one entry a channel. */
  bias?: F32;
  /** Rectifies the sum. */
  relu?: boolean;
  /** Of the result's shape: where it is not positive, the result is zero. */
  mask?: F32;
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
export function convolve(x: F32, weights: F32, y: F32, g: ConvGeometry, epilogue: Epilogue = {}): void {
  const shape = { ...g, columns: g.outChannels, channels: g.inChannels };
  gemm(x, weights, y, shape, g, epilogue);
}

/**
 * dX = the transposed convolution of dY by W: for each phase of the stride, a convolution of dY with the taps that its
 * pixels meet, flipped.
 * @param mask see {@link Epilogue}
 */
export function convolveTransposed(dy: F32, weights: F32, dx: F32, g: ConvGeometry, mask?: F32): void {
  const step = g.stride / gcd(g.stride, g.dilation);
  for (let y = 0; y < Math.min(g.stride, g.height); y++) {
    for (let x = 0; x < Math.min(g.stride, g.width); x++) {
      const [down, across] = [
        phase(y, g.kernelHeight, g.paddingY, g),
        phase(x, g.kernelWidth, g.paddingX, g),
      ];
      const shape: GemmShape = {
        samples: g.samples,
        height: g.outHeight,
        width: g.outWidth,
        outHeight: Math.ceil((g.height - y) / g.stride),
        outWidth: Math.ceil((g.width - x) / g.stride),
        kernelHeight: down.taps,
        kernelWidth: across.taps,
        stride: 1,
        dilation: (g.dilation * step) / g.stride,
        paddingY: down.padding,
        paddingX: across.padding,
        columns: g.inChannels,
        channels: g.outChannels,
        isLine: g.isLine,
        flipped: { step, lastY: down.last, lastX: across.last, y, x },
      };
      gemm(dy, weights, dx, shape, g, { mask });
    }
  }
}

/** Along one axis: the taps that meet input pixels at `offset` from a multiple of the stride, and where they begin. */
function phase(
  offset: number,
  kernel: number,
  padding: number,
  { stride, dilation }: ConvGeometry,
): { taps: number; last: number; padding: number } {
  const all = Array.from({ length: kernel }, (_, k) => k);
  const met = all.filter((k) => (offset + padding - dilation * k) % stride === 0);
  const last = met.at(-1) ?? 0;
  return { taps: met.length, last, padding: Math.ceil((dilation * last - offset - padding) / stride) };
}

interface GemmShape extends PatchGeometry {
  columns: number;
  isLine?: boolean | undefined;
  /** Channels of the source. */
  channels: number;
  /** Set for the input gradient: every which tap is used, from which last ones, and the phase of the result. */
  flipped?: { step: number; lastY: number; lastX: number; y: number; x: number };
}

function gemm(
  source: F32,
  weights: F32,
  result: F32,
  shape: GemmShape,
  g: ConvGeometry,
  { bias, relu, mask }: Epilogue,
): void {
  const { gpu } = source;
  const strided = shape.flipped !== undefined && g.stride > 1;
  gpu.scope(() => {
    for (const run of sampleRuns(gpu, [source, result], shape)) {
      const rows = run.lines * shape.outHeight * run.size.outWidth;
      const line = lineOf(shape, shape.channels);
      const facts = {
        rows,
        columns: shape.columns,
        steps: stepsOf(shape, shape.channels),
        pixels: shape.isLine ? 1 : shape.outHeight * shape.outWidth,
        line,
        ...gpu.facts,
      };
      const plan = planGemm(facts, gpu.tileOf({ kind: 'product', facts }));
      const { packed, steps } = packWeights(weights, plan, shape, g);
      const vec4 = shape.channels % 4 === 0;
      const conditions = {
        CHANNELS_VEC4: vec4,
        COLUMNS_VEC4: shape.columns % 4 === 0,
        STRIDED: strided,
        SPLIT: plan.splits > 1,
        MATRIX: !plan.direct && isMatrix(shape),
        TAPS_5: plan.direct && shape.kernelWidth === 5,
        ...familyConditions(plan),
      };
      const parts = plan.splits > 1 ? gpu.empty([plan.splits, rows, shape.columns], 'f32') : undefined;
      const epilogue = { bias, relu, mask: mask && run.of(mask) };
      const own = parts ? {} : epilogue;
      gpu.dispatch(
        gpu.kernel(kernelOf(plan), { ...conditions, ...epilogueConditions(own) }),
        { image: run.of(source), weights: packed, result: parts ?? run.of(result), ...tensorsOf(own) },
        {
          ...patchParams({ ...shape, ...run.size }, shape.channels, vec4),
          ...(strided && {
            result_height: g.height,
            result_width: g.width,
            result_stride: g.stride,
            result_y: shape.flipped!.y,
            result_x: shape.flipped!.x,
          }),
          rows,
          columns: shape.columns,
          steps,
          splits: plan.splits,
          column_tiles: plan.columnTiles,
          samples: run.lines,
          first_lane: 0,
          lanes: 1,
          out_channels: g.outChannels,
          in_channels: g.inChannels,
        },
        plan.workgroups,
      );
      packed.dispose();
      if (parts) addPartials(parts, run.of(result), plan.splits, epilogue);
      parts?.dispose();
    }
  });
}

function epilogueConditions({ bias, relu = false, mask }: Epilogue): Record<string, boolean> {
  return { BIAS: bias !== undefined, RECTIFY: relu, MASKED: mask !== undefined };
}

function tensorsOf({ bias, mask }: Epilogue): Record<string, F32> {
  return { ...(bias && { bias }), ...(mask && { mask }) };
}

/** What the four rows of a block are in shaders/pack_weights.wgsl, where they are not four consecutive k. */
const CHANNELS_OF_LINE = 1;
const TAPS_OF_LINE = 2;

function kernelOf({ family, direct }: GemmPlan): ShaderName {
  if (direct) return 'direct_convolution';
  return family === 'tiled' ? 'gemm_tiled' : 'gemm_register';
}

/** B in the plan's blocks, [column tiles, steps, columns of a tile, blocks of a step and column, 16], and its steps. */
function packWeights(weights: F32, plan: GemmPlan, shape: GemmShape, g: ConvGeometry) {
  const { gpu } = weights;
  const vec4 = shape.channels % 4 === 0;
  const { kernelHeight, flipped } = shape;
  const { imagePixels = 1 } = g;
  const imageColumns = flipped !== undefined && imagePixels > 1;
  // Pixels of images are taken as taps of a kernel as large.
  const taps = flipped ? 1 : imagePixels;
  const kernelWidth = shape.kernelWidth * taps;
  const kernelSize = g.kernelHeight * g.kernelWidth * imagePixels;
  const inChannels = g.inChannels / imagePixels;
  const [steps, blocks] = plan.direct
    ? vec4
      ? [(kernelHeight * shape.channels) / 4, kernelWidth]
      : [kernelHeight * shape.channels, Math.ceil(kernelWidth / 4)]
    : [stepsOf(shape, shape.channels), 1];
  // A phase may have no taps; a binding must still hold a block.
  const size = [plan.columnTiles, Math.max(1, steps), plan.tileColumns, Math.max(1, blocks), 16];
  if (steps === 0) return { packed: gpu.empty(size, 'f32'), steps };
  const count = sizeOf(size) / 4;
  const params = {
    count,
    steps,
    tile_columns: plan.tileColumns,
    depth: shape.channels / taps,
    columns: shape.columns,
    rows_of: plan.direct ? (vec4 ? CHANNELS_OF_LINE : TAPS_OF_LINE) : 0,
    depth_stride: flipped ? inChannels * kernelSize : kernelSize,
    column_stride: flipped ? kernelSize : inChannels * kernelSize,
    kernel_height: kernelHeight,
    kernel_width: kernelWidth,
    blocks,
    weights_width: g.kernelWidth * taps,
    tap_step: flipped ? -flipped.step : 1,
    first_y: flipped?.lastY ?? 0,
    first_x: flipped?.lastX ?? 0,
    ...(imageColumns && { image_channels: inChannels }),
  };
  const packed = gpu.once(`packed ${Object.values(params)}`, [weights], () => {
    const made = gpu.empty(size, 'f32');
    const kernel = gpu.kernel('pack_weights', { IMAGE_COLUMNS: imageColumns });
    gpu.dispatch(kernel, { weights, packed: made }, params, Math.ceil(count / 64));
    return made;
  });
  return { packed, steps };
}

/** dW summed over samples, in `shape`. */
export function weightGradient(x: F32, dy: F32, shape: readonly number[], g: ConvGeometry): F32 {
  const { gpu } = x;
  return gpu.scope(() => {
    const plan = weightPlan(gpu, 'plain', g);
    const lanes = Math.min(plan.lanes, g.samples);
    const sums = gpu.empty([lanes, ...packedShape(g)], 'f32');
    for (const [i, run] of sampleRuns(gpu, [x, dy], g).entries()) {
      addWeightGradients(
        run.of(x),
        run.of(dy),
        sums,
        plan,
        'plain',
        { ...g, ...run.size, samples: run.lines },
        { lanes, first: run.start % lanes, accumulate: i > 0 },
      );
    }
    return unpackWeightGradients(sums, shape, g);
  });
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
  const kind = sum.summand === 'square' ? squares : 'plain';
  const plan = weightPlan(gpu, kind, g);
  const lane = {
    shape: packedShape(g),
    total: (sums: F32) => unpackWeightGradients(sums, sum.shape, g),
  };
  gpu.scope(() => {
    for (const run of sampleRuns(gpu, [x, dy], g)) {
      const { sums, first } = sum.take(plan.lanes, run.start, lane);
      addWeightGradients(
        run.of(x),
        run.of(dy),
        sums,
        plan,
        kind,
        { ...g, ...run.size, samples: run.lines },
        { lanes: plan.lanes, first, accumulate: true },
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
  return x.gpu.scope(() => {
    const packed = x.gpu.empty([g.samples, ...packedShape(g)], 'f32');
    const plan = weightPlan(x.gpu, 'plain', g);
    addWeightGradients(x, dy, packed, plan, 'plain', g, { lanes: g.samples, first: 0, accumulate: false });
    return unpackWeightGradients(packed, [g.samples, ...weightShape], g);
  });
}

/** What a lane of packed weight gradients takes; see shaders/weight_gradient.wgsl. */
function packedShape(g: ConvGeometry): [number, number] {
  return [4 * stepsOf(g, g.inChannels), 4 * Math.ceil(g.outChannels / 4)];
}

/** Packed weight gradients in PyTorch's layout: one for each in `shape`, else the lanes' sum. */
function unpackWeightGradients(packed: F32, shape: readonly number[], g: ConvGeometry): F32 {
  const { gpu } = packed;
  const result = gpu.empty(shape, 'f32');
  const { imagePixels = 1 } = g;
  const taps = g.kernelHeight * g.kernelWidth * imagePixels;
  const inChannels = g.inChannels / imagePixels;
  const depth = taps * inChannels;
  const results = result.size / (depth * g.outChannels);
  const count = results * depth * Math.ceil(g.outChannels / 4);
  gpu.dispatch(
    gpu.kernel('unpack_weight_gradient'),
    { packed, result },
    {
      count,
      chunks: packed.shape[0]! / results,
      rows: packed.shape[1]!,
      in_channels: inChannels,
      out_channels: g.outChannels,
      taps,
    },
    Math.ceil(count / 64),
  );
  return result;
}

/** result = the sum of `chunks` partial results, in order. */
export function addPartials(partial: F32, result: F32, chunks: number, epilogue: Epilogue = {}): void {
  const { gpu } = partial;
  const { bias } = epilogue;
  gpu.dispatch(
    gpu.kernel('partial_sum', epilogueConditions(epilogue)),
    { partial, result, ...tensorsOf(epilogue) },
    { size: result.size, chunks, scale: 1, ...(bias && { columns: bias.size }) },
    Math.ceil(result.size / 64),
  );
}

/** Lanes of a sum, the one that takes the first sample, and whether they already hold something. */
interface Lanes {
  lanes: number;
  first: Param;
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
    gpu.kernel(plan.direct ? 'wgrad_direct' : plan.family === 'tiled' ? 'wgrad_tiled' : 'wgrad_register', {
      CHANNELS_VEC4: vec4,
      OUT_VEC4: g.outChannels % 4 === 0,
      FISHER: sum === 'fisher',
      SQUARED: sum === 'squared',
      ACCUMULATE: accumulate,
      TAPS_5: plan.direct && g.kernelWidth === 5,
      MATRIX: !plan.direct && isMatrix(g),
      ...familyConditions(plan),
    }),
    { image: x, gradient: dy, partial: sums },
    {
      ...patchParams(g, g.inChannels, vec4),
      rows: g.samples * g.outHeight * g.outWidth,
      columns: g.outChannels,
      steps: stepsOf(g, g.inChannels),
      column_tiles: plan.columnTiles,
      samples: g.samples,
      first_lane: first,
      lanes,
      out_channels: g.outChannels,
      in_channels: g.inChannels,
    },
    plan.workgroups(Math.min(lanes, g.samples)),
  );
}

function weightPlan(gpu: Gpu, sum: WeightSum, g: ConvGeometry): WeightGradientPlan {
  const facts = {
    steps: stepsOf(g, g.inChannels),
    outChannels: g.outChannels,
    pixels: g.isLine ? 1 : g.outHeight * g.outWidth,
    size: sizeOf(packedShape(g)),
    maxBindingBytes: gpu.maxBindingBytes,
    line: lineOf(g, g.inChannels),
    ...gpu.facts,
  };
  const kind = sum === 'plain' ? 'gradient' : 'squares';
  return planWeightGradient(facts, gpu.tileOf({ kind, facts }));
}

/** Whether the patches are the image as it lies in memory: one tap, and as many pixels out as in. */
function isMatrix(shape: PatchGeometry): boolean {
  const sameSize = shape.height === shape.outHeight && shape.width === shape.outWidth;
  const unmoved = shape.stride === 1 && shape.paddingY === 0 && shape.paddingX === 0;
  return shape.kernelHeight * shape.kernelWidth === 1 && sameSize && unmoved;
}

/** What direct convolution needs to know, where it is possible. */
function lineOf(shape: PatchGeometry & { isLine?: boolean | undefined }, channels: number): Line | undefined {
  if (shape.stride !== 1 || shape.dilation !== 1 || shape.isLine) return undefined;
  const { kernelWidth, kernelHeight, outWidth } = shape;
  return { taps: kernelWidth, kernelHeight, outWidth, channels };
}

function stepsOf({ kernelHeight, kernelWidth }: PatchGeometry, channels: number): number {
  return Math.ceil((kernelHeight * kernelWidth * channels) / 4);
}

function familyConditions(plan: GemmPlan | WeightGradientPlan): Record<string, boolean> {
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
function sampleRuns(
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
