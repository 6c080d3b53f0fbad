import type { Gpu } from './gpu.ts';
import type { Param } from './kernel.ts';
import {
  type ConvGeometry,
  familyConditions,
  isMatrix,
  lineOf,
  patchParams,
  sampleRuns,
  stepsOf,
} from './patches.ts';
import { planWeightGradient, type WeightGradientPlan } from './planner.ts';
import type { SampleSum } from './sample_sums.ts';
import { sizeOf, type Tensor } from './tensor.ts';

type F32 = Tensor<'f32'>;

/** What a weight-gradient pass sums: gradients, squared per-sample gradients, or squares of one-pixel samples. */
type WeightSum = 'plain' | 'fisher' | 'squared';

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
