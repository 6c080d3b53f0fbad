import { addPartials } from './convolution.ts';
import type { Param } from './kernel.ts';
import { overSamples } from './over_samples.ts';
import type { ConvGeometry } from './patches.ts';
import { type Family, gcd, planLanes } from './planner.ts';
import type { SampleSum } from './sample_sums.ts';
import type { Shape, Tensor } from './tensor.ts';

/**
 * A convolution whose channels fall into groups: weights are [outChannels, inChannels / groups, kernelHeight,
 * kernelWidth], and an output channel reads the input channels of its own group.
 */
export interface GroupedGeometry extends ConvGeometry {
  groups: number;
}

type F32 = Tensor<'f32'>;

const WORKGROUP = 64;
/** Weights of a column that an invocation of the weight gradient owns. */
const TILE_WEIGHTS = 3;
/** Columns that a workgroup of the tiled weight gradient owns. */
const TILE_COLUMNS = 8;
/** Pixels of a sample from which on a workgroup shares them. */
const TILED_PIXELS = 64;

/** Y = conv(X, W), `y` is written. */
export function convolveGroups(x: F32, weights: F32, y: F32, g: GroupedGeometry): void {
  const direction = {
    sourceGroup: g.inChannels / g.groups,
    columnGroup: g.outChannels / g.groups,
    paddingY: g.paddingY,
    paddingX: g.paddingX,
    flipped: false,
  };
  convolve(x, weights, y, g, direction);
}

/** dX = the transposed convolution of dY by W, `dx` is written. */
export function convolveGroupsTransposed(dy: F32, weights: F32, dx: F32, g: GroupedGeometry): void {
  const direction = {
    sourceGroup: g.outChannels / g.groups,
    columnGroup: g.inChannels / g.groups,
    paddingY: g.dilation * (g.kernelHeight - 1) - g.paddingY,
    paddingX: g.dilation * (g.kernelWidth - 1) - g.paddingX,
    flipped: true,
  };
  if (g.stride === 1) convolve(dy, weights, dx, g, direction);
  else convolveSpread(dy, weights, dx, g, direction);
}

/** What is read as an image, and how. */
interface Direction {
  /** Channels of a group in the source and in the result. */
  sourceGroup: number;
  columnGroup: number;
  paddingY: number;
  paddingX: number;
  /** Whether weights are packed for the input gradient. */
  flipped: boolean;
}

function convolve(source: F32, weights: F32, result: F32, g: GroupedGeometry, to: Direction): void {
  const { gpu } = source;
  const [, , outWidth = 0, outChannels = 0] = result.shape;
  const { depthwise, vec4, unit } = vectors(outChannels, to.sourceGroup, to.columnGroup);
  const fourPixels = outWidth > 2;
  const tiles = fourPixels ? Math.ceil(outWidth / 4) : outWidth;
  const columns = outChannels / unit;
  gpu.scope(() => {
    const packed = packWeights(weights, outChannels, g, to);
    const conditions = { COLUMNS_VEC4: vec4, DEPTHWISE: depthwise, PIXELS_4: fourPixels };
    overSamples({ image: source, result }, (parts, samples) => {
      const count = samples * result.shape[1]! * tiles * columns;
      gpu.dispatch(
        gpu.kernel('grouped_convolution', conditions),
        { ...parts, weights: packed },
        {
          ...imageParams(source, result, g, to),
          count,
          tiles,
          steps: g.kernelHeight * g.kernelWidth * to.sourceGroup,
          stride: to.flipped ? 1 : g.stride,
          padding_y: to.paddingY,
          padding_x: to.paddingX,
        },
        Math.ceil(count / WORKGROUP),
      );
    });
  });
}

/** As {@link convolve}, of a source spread out by the layer's stride. */
function convolveSpread(source: F32, weights: F32, result: F32, g: GroupedGeometry, to: Direction): void {
  const { gpu } = source;
  const { depthwise, vec4, unit } = vectors(g.inChannels, to.sourceGroup, to.columnGroup);
  const backY = Math.max(0, Math.ceil(to.paddingY / g.stride));
  const backX = Math.max(0, Math.ceil(to.paddingX / g.stride));
  const tiles = g.stride * Math.ceil(Math.ceil(g.width / g.stride) / 4);
  const common = gcd(g.stride, g.dilation);
  gpu.scope(() => {
    const packed = packWeights(weights, g.inChannels, g, to);
    overSamples({ image: source, result }, (parts, samples) => {
      const count = samples * g.height * tiles * (g.inChannels / unit);
      gpu.dispatch(
        gpu.kernel('grouped_spread', { COLUMNS_VEC4: vec4, DEPTHWISE: depthwise }),
        { ...parts, weights: packed },
        {
          ...imageParams(source, result, g, to),
          count,
          tiles,
          kernel_height: g.kernelHeight,
          spread: g.stride,
          tap_step: g.stride / common,
          pixel_step: g.dilation / common,
          lead_y: backY * g.stride - to.paddingY,
          lead_x: backX * g.stride - to.paddingX,
          back_y: backY,
          back_x: backX,
        },
        Math.ceil(count / WORKGROUP),
      );
    });
  });
}

function imageParams(source: F32, result: F32, g: GroupedGeometry, to: Direction): Record<string, number> {
  const [, height = 0, width = 0, channels = 0] = source.shape;
  const [, outHeight = 0, outWidth = 0, outChannels = 0] = result.shape;
  const { depthwise, unit } = vectors(outChannels, to.sourceGroup, to.columnGroup);
  return {
    columns: outChannels / unit,
    height,
    width,
    channels: depthwise ? channels / 4 : channels,
    out_height: outHeight,
    out_width: outWidth,
    kernel_width: g.kernelWidth,
    dilation: g.dilation,
    source_group: to.sourceGroup,
    column_group: depthwise ? 1 : to.columnGroup / unit,
  };
}

function packWeights(weights: F32, columns: number, g: GroupedGeometry, to: Direction): F32 {
  const { gpu } = weights;
  const taps = g.kernelHeight * g.kernelWidth;
  const packed = gpu.empty([taps * to.sourceGroup, columns], 'f32');
  gpu.dispatch(
    gpu.kernel('pack_grouped_weights', { FLIPPED: to.flipped }),
    { weights, packed },
    { count: packed.size, columns, taps, source_group: to.sourceGroup, column_group: to.columnGroup },
    Math.ceil(packed.size / WORKGROUP),
  );
  return packed;
}

/** dW summed over samples, in `shape`. */
export function groupedWeightGradient(x: F32, dy: F32, shape: Shape, g: GroupedGeometry): F32 {
  const { gpu } = x;
  const result = gpu.empty(shape, 'f32');
  gpu.scope(() => {
    const lanes = Math.min(planOf(x, g).lanes, g.samples);
    const sums = lanes === 1 ? result : gpu.empty([lanes, ...shape], 'f32');
    overSamples({ image: x, gradient: dy }, (parts, _, start) => {
      addWeightGradients(parts, sums, false, g, { lanes, first: start % lanes, accumulate: start > 0 });
    });
    if (lanes > 1) addPartials(sums, result, lanes);
  });
  return result;
}

/** Adds every sample's dW, or its square, to a running sum. */
export function accumulateGroupedWeightGradient(x: F32, dy: F32, sum: SampleSum, g: GroupedGeometry): void {
  const { lanes } = planOf(x, g);
  overSamples({ image: x, gradient: dy }, (parts, _, start) => {
    const { sums, first } = sum.take(lanes, start);
    addWeightGradients(parts, sums, sum.summand === 'square', g, { lanes, first, accumulate: true });
  });
}

/** Explicit per-sample weight gradients, [samples, ...shape]. */
export function perSampleGroupedWeightGradient(x: F32, dy: F32, shape: Shape, g: GroupedGeometry): F32 {
  const result = x.gpu.empty([g.samples, ...shape], 'f32');
  const lanes = { lanes: g.samples, first: 0, accumulate: false };
  addWeightGradients({ image: x, gradient: dy }, result, false, g, lanes);
  return result;
}

/** Adds the gradients of a run's samples, or their squares, to lanes of sums over samples. */
function addWeightGradients(
  parts: { image: F32; gradient: F32 },
  sums: F32,
  squared: boolean,
  g: GroupedGeometry,
  { lanes, first, accumulate }: { lanes: number; first: Param; accumulate: boolean },
): void {
  const { gpu } = sums;
  const { family, depthwise, vec4, columns, steps, size } = planOf(parts.image, g);
  const invocations = lanes * steps * columns;
  gpu.dispatch(
    gpu.kernel(family === 'tiled' ? 'grouped_wgrad_tiled' : 'grouped_wgrad_register', {
      COLUMNS_VEC4: vec4,
      DEPTHWISE: depthwise,
      FISHER: squared,
      ACCUMULATE: accumulate,
    }),
    { ...parts, partial: sums },
    {
      samples: parts.image.shape[0]!,
      first_lane: first,
      lanes,
      columns,
      steps,
      size,
      taps: g.kernelHeight * g.kernelWidth,
      height: g.height,
      width: g.width,
      channels: g.inChannels / (depthwise ? 4 : 1),
      out_height: g.outHeight,
      out_width: g.outWidth,
      kernel_width: g.kernelWidth,
      stride: g.stride,
      dilation: g.dilation,
      padding_y: g.paddingY,
      padding_x: g.paddingX,
      source_group: g.inChannels / g.groups,
      column_group: g.outChannels / g.groups / (vec4 && !depthwise ? 4 : 1),
    },
    family === 'tiled'
      ? lanes * steps * Math.ceil(columns / TILE_COLUMNS)
      : Math.ceil(invocations / WORKGROUP),
  );
}

/** The weight gradient's kernel family, vectors, tiles and lanes; none depends on the batch. */
function planOf({ gpu }: F32, g: GroupedGeometry) {
  const sourceGroup = g.inChannels / g.groups;
  const { depthwise, vec4, unit } = vectors(g.outChannels, sourceGroup, g.outChannels / g.groups);
  const few = g.outHeight * g.outWidth < TILED_PIXELS;
  const family: Family = gpu.options.family ?? (gpu.software || few ? 'register' : 'tiled');
  const columns = g.outChannels / unit;
  /** Weights of a column. */
  const size = g.kernelHeight * g.kernelWidth * sourceGroup;
  const steps = Math.ceil(size / TILE_WEIGHTS);
  const workgroup = Math.ceil(columns / TILE_COLUMNS) * WORKGROUP;
  const lanes = planLanes(steps * (family === 'tiled' ? workgroup : columns), {
    size: size * g.outChannels,
    software: gpu.software,
    maxBindingBytes: gpu.maxBindingBytes,
  });
  return { family, depthwise, vec4, columns, steps, size, lanes };
}

/** How many channels of the result an invocation takes at a time: vec4s lie in one group, or hold four whole ones. */
function vectors(outChannels: number, sourceGroup: number, columnGroup: number) {
  const depthwise = sourceGroup === 1 && columnGroup === 1 && outChannels % 4 === 0;
  const vec4 = depthwise || columnGroup % 4 === 0;
  return { depthwise, vec4, unit: vec4 ? 4 : 1 };
}
