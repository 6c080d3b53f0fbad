import type { ShaderName } from '../shaders/index.ts';
import {
  type ConvGeometry,
  familyConditions,
  isMatrix,
  lineOf,
  type PatchGeometry,
  patchParams,
  sampleRuns,
  stepsOf,
} from './patches.ts';
import { type GemmPlan, gcd, planGemm } from './planner.ts';
import { sizeOf, type Tensor } from './tensor.ts';

type F32 = Tensor<'f32'>;

/** What is done to a result as it is stored. */
export interface Epilogue {
  /** Added, one entry a channel. */
  bias?: F32;
  /** Rectifies the sum. */
  relu?: boolean;
  /** Of the result's shape: where it is not positive, the result is zero. */
  mask?: F32;
}

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
