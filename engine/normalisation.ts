import { FathomError } from './errors.ts';
import { accumulateBias, perSampleBias } from './ops/bias.ts';
import { overSamples } from './over_samples.ts';
import type { SampleSum } from './sample_sums.ts';
import type { Rule } from './tape.ts';
import type { Tensor } from './tensor.ts';

type F32 = Tensor<'f32'>;

/** Means of an input: [channels] each, or [samples, groups] over a sample's pixels and a group's channels. */
export interface Means {
  by: 'channel' | 'group';
  mean: F32;
}

export interface Statistics extends Means {
  /** Of the mean's shape. */
  variance: F32;
  epsilon: number;
}

/** Statistics of every pixel over its channels, [samples, pixels]; `inverse` is 1 / sqrt(variance + epsilon). */
export interface RowStatistics {
  by: 'row';
  mean: F32;
  inverse: F32;
}

/** Sums of dY and of dY * (X - mean) / sqrt(variance + epsilon): the gradients by bias and weight. */
export interface GradientSums {
  sums: F32;
  products: F32;
}

/** Pixels that one invocation sums. It must not depend on the batch: per-sample gradients keep their bits in any. */
const SUM_BLOCK = 128;
/** Pixels that one invocation maps, so that it reads its channel's statistics once for all of them. */
const MAP_BLOCK = 16;
const WORKGROUP = 64;

/** An input as rows of channels: what lies between its first axis and its last are the pixels of a sample. */
export function rowsOf(x: F32): { samples: number; pixels: number; channels: number } {
  const samples = x.shape[0]!;
  const channels = x.shape.at(-1)!;
  return { samples, pixels: x.size / samples / channels, channels };
}

/** @throws FathomError `shape-mismatch` unless `x` is [samples, ..., channels] and the others are [channels] */
export function requireChannels(op: string, x: F32, vectors: Readonly<Record<string, F32>>): void {
  const channels = x.shape.at(-1);
  const fits = ({ shape }: F32) => shape.length === 1 && shape[0] === channels;
  if (x.shape.length >= 2 && Object.values(vectors).every(fits)) return;
  const given = Object.entries(vectors).map(([name, { shape }]) => `${name} [${shape}]`);
  throw new FathomError({
    code: 'shape-mismatch',
    message: `${op} cannot take an input of shape [${x.shape}] with ${given.join(', ')}`,
    fix: 'Give [samples, ..., channels], and vectors with one entry for each of the last axis',
  });
}

/** Sums over blocks of a sample's pixels, [samples, blocks, channels], of X, or of (X - mean)^2 where means are given. */
export function blockSums(x: F32, means?: Means): F32 {
  const sums = emptyBlocks(x);
  const conditions = { VALUE: means === undefined, DEVIATION: means !== undefined };
  overBlocks('channel_sums', conditions, SUM_BLOCK, { x, sums }, {}, means);
  return sums;
}

/** result = scale * the sum over samples and blocks of [samples, blocks, channels]; [channels]. */
export function sumBlocks(partial: F32, scale: number): F32 {
  const { gpu } = partial;
  const { pixels: blocks, channels } = rowsOf(partial);
  const result = gpu.empty([channels], 'f32');
  overSamples({ partial }, (part, samples, start) => {
    gpu.dispatch(
      gpu.kernel('partial_sum', { ACCUMULATE: start > 0 }),
      { ...part, result },
      { size: channels, chunks: samples * blocks, scale },
      Math.ceil(channels / WORKGROUP),
    );
  });
  return result;
}

/** scale * the sum of [samples, blocks, channels] (times `weight` [channels]) over blocks and groups; [samples, groups]. */
export function sumGroups(partial: F32, groups: number, scale: number, weight?: F32): F32 {
  const { gpu } = partial;
  const { samples, pixels: blocks, channels } = rowsOf(partial);
  const result = gpu.empty([samples, groups], 'f32');
  overSamples({ partial, result }, (parts, count) => {
    gpu.dispatch(
      gpu.kernel('group_sum', { WEIGHTED: weight !== undefined }),
      { ...parts, ...(weight && { weight }) },
      { count: count * groups, groups, group_channels: channels / groups, blocks, scale },
      Math.ceil((count * groups) / WORKGROUP),
    );
  });
  return result;
}

/** (x - mean) / sqrt(variance + epsilon) * weight + bias, in one pass. */
export function normalise(x: F32, weight: F32, bias: F32, statistics: Statistics): F32 {
  const result = x.gpu.empty(x.shape, 'f32');
  overBlocks('normalise', {}, MAP_BLOCK, { x, result }, { weight, bias }, statistics);
  return result;
}

/** The input gradient of {@link normalise} with statistics that do not depend on the input. */
export function fixedGradient(upstream: F32, weight: F32, statistics: Statistics): F32 {
  const result = upstream.gpu.empty(upstream.shape, 'f32');
  overBlocks(
    'normalise_gradient',
    { FIXED: true },
    MAP_BLOCK,
    { gradient: upstream, result },
    { weight },
    statistics,
  );
  return result;
}

/**
 * The input gradient of {@link normalise} through the statistics too.
 * @param sums of the statistics' shape; by groups they are those of dY times the weight
 * @param share one over the number of entries that share a mean
 */
export function normaliseGradient(
  x: F32,
  upstream: F32,
  weight: F32,
  statistics: Statistics,
  sums: GradientSums,
  share: number,
): F32 {
  const result = x.gpu.empty(x.shape, 'f32');
  const own = { x, gradient: upstream, result };
  overBlocks('normalise_gradient', {}, MAP_BLOCK, own, { weight, ...sums }, statistics, share);
  return result;
}

/** What the ops know of their weight (input 1) and bias (input 2). Both gradients come of one pass, made once. */
export interface AffineRule {
  /** [samples, blocks, channels] each, freed with the scope of the first call for this upstream. */
  blocks(upstream: F32): GradientSums;
  /** [channels] each, freed likewise. */
  totals(upstream: F32): GradientSums;
  /** The gradient by weight or bias. */
  gradient(i: number, upstream: F32): F32;
  parameters: NonNullable<Rule['parameters']>;
}

export function affineRule(x: F32, statistics: Statistics | RowStatistics): AffineRule {
  const blocks = once((upstream) => gradientSums(x, upstream, statistics));
  const totals = once((upstream) => {
    const { sums, products } = blocks(upstream);
    return { sums: sumBlocks(sums, 1), products: sumBlocks(products, 1) };
  });
  const parameter = (of: keyof GradientSums) => ({
    perSample: (upstream: F32) => perSampleBias(blocks(upstream)[of]),
    accumulate: (upstream: F32, sum: SampleSum) => accumulateBias(blocks(upstream)[of], sum),
  });
  return {
    blocks,
    totals,
    gradient(i, upstream) {
      const total = totals(upstream)[i === 1 ? 'products' : 'sums'];
      return total.reshape(total.shape);
    },
    parameters: { 1: parameter('products'), 2: parameter('sums') },
  };
}

function gradientSums(x: F32, gradient: F32, statistics: Statistics | RowStatistics): GradientSums {
  const result = { sums: emptyBlocks(x), products: emptyBlocks(x) };
  const own = { x, gradient, ...result };
  const conditions = { GRADIENT: true, ROWS: statistics.by === 'row' };
  if (statistics.by === 'row') {
    const rows = { row_mean: statistics.mean, row_inverse: statistics.inverse };
    overBlocks('channel_sums', conditions, SUM_BLOCK, { ...own, ...rows }, {});
  } else overBlocks('channel_sums', conditions, SUM_BLOCK, own, {}, statistics);
  return result;
}

/** Runs a kernel of shaders/normalisation.wgsl over blocks of pixels. `perSample` tensors have samples first. */
function overBlocks(
  module: 'channel_sums' | 'normalise' | 'normalise_gradient',
  conditions: Readonly<Record<string, boolean>>,
  block: number,
  perSample: Readonly<Record<string, F32>>,
  shared: Readonly<Record<string, F32>>,
  statistics?: Means & Partial<Statistics>,
  share = 1,
): void {
  const { pixels, channels } = rowsOf(perSample.x ?? perSample.result!);
  const gpu = Object.values(perSample)[0]!.gpu;
  const vec4 = channels % 4 === 0;
  const columns = vec4 ? channels / 4 : channels;
  const blocks = Math.ceil(pixels / block);
  const byGroup = statistics?.by === 'group';
  const groups = byGroup ? statistics.mean.shape[1]! : 1;
  const { mean, variance, epsilon = 0 } = statistics ?? {};
  const whole = { ...shared, ...(mean && { mean }), ...(variance && { variance }) };
  const kernel = gpu.kernel(module, { ...conditions, CHANNELS_VEC4: vec4, GROUPS: byGroup });
  const params = {
    pixels,
    columns,
    block,
    blocks,
    groups,
    group_channels: channels / groups,
    share,
    epsilon,
  };
  overSamples(perSample, (parts, samples, start) => {
    gpu.dispatch(
      kernel,
      { ...parts, ...whole },
      { ...params, samples, first_sample: start },
      Math.ceil((samples * blocks * columns) / WORKGROUP),
    );
  });
}

function emptyBlocks(x: F32): F32 {
  const { samples, pixels, channels } = rowsOf(x);
  return x.gpu.empty([samples, Math.ceil(pixels / SUM_BLOCK), channels], 'f32');
}

/** Keeps the result for each upstream: the tape asks for the gradients by weight, bias and input one after another. */
function once(compute: (upstream: F32) => GradientSums): (upstream: F32) => GradientSums {
  const known = new WeakMap<F32, GradientSums>();
  return (upstream) => {
    const result = known.get(upstream) ?? compute(upstream);
    known.set(upstream, result);
    return result;
  };
}
