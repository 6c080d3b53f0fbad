import { addPartials } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import type { Param } from '../kernel.ts';
import { batchRuns, planLanes } from '../planner.ts';
import type { SampleSum } from '../sample_sums.ts';
import type { Tape } from '../tape.ts';
import type { Shape, Tensor } from '../tensor.ts';
import { mapElements } from './elementwise.ts';

/**
 * x + b along the last axis.
 * @param x [samples, ..., channels]
 * @param b [channels]
 * @throws FathomError `shape-mismatch`
 */
export function bias(tape: Tape, x: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> {
  requireFit(x, b);
  return recordBias(tape, x, mapElements(tape.gpu, 'ADD_BIAS', x, b), b);
}

/** Notes that y is x + b. */
function recordBias(tape: Tape, x: Tensor<'f32'>, y: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> {
  return tape.record('bias', [x, b], y, {
    gradient: (i, upstream) => (i === 0 ? upstream.reshape(x.shape) : summed(upstream, b.size)),
    parameters: {
      1: {
        perSample: (upstream) => perSampleBias(upstream),
        accumulate: (upstream, sum) => accumulateBias(upstream, sum),
      },
    },
  });
}

/**
 * max(x + b, 0), keeping NaN, in one pass: {@link bias} and then a rectifier.
 * @throws FathomError `shape-mismatch`
 */
export function biasRelu(tape: Tape, x: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> {
  requireFit(x, b);
  return recordBiasRelu(tape, x, mapElements(tape.gpu, 'ADD_BIAS_RELU', x, b), b);
}

/** Notes that y is max(x + b, 0). */
function recordBiasRelu(tape: Tape, x: Tensor<'f32'>, y: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> {
  return tape.record('biasRelu', [x, b], y, {
    rectifies: true,
    gradient(i, upstream, masked) {
      if (i === 1) return summed(upstream, b.size, masked ? undefined : y);
      return masked ? upstream : mapElements(tape.gpu, 'RELU_GRADIENT', upstream, y);
    },
    parameters: {
      1: {
        perSample: (upstream, masked) => perSampleBias(upstream, masked ? undefined : y),
        accumulate: (upstream, sum, masked) => accumulateBias(upstream, sum, masked ? undefined : y),
      },
    },
  });
}

/** What an op's own kernels do to its result before they store it: add a bias, and rectify the sum. */
export interface After {
  /** One entry a channel. */
  bias: Tensor<'f32'>;
  relu?: boolean;
}

/**
 * Records an op and what comes after it, of which the kernels give `y`, the result of both.
 * @param record records the op with the output it is given
 */
export function recordBefore(
  tape: Tape,
  y: Tensor<'f32'>,
  after: After | undefined,
  record: (output: Tensor<'f32'>) => Tensor<'f32'>,
): Tensor<'f32'> {
  if (!after) return record(y);
  const before = record(y.reshape(y.shape));
  return (after.relu ? recordBiasRelu : recordBias)(tape, before, y, after.bias);
}

/** @throws FathomError `shape-mismatch` where a bias does not fit the channels it is added to */
export function requireFit(x: { shape: Shape }, b: Tensor): void {
  if (b.shape.length === 1 && x.shape.at(-1) === b.size) return;
  throw new FathomError({
    code: 'shape-mismatch',
    message: `bias cannot add a vector of shape [${b.shape}] to an input of shape [${x.shape}]`,
    fix: 'Give one entry for each of the last axis',
  });
}

/**
 * Each sample's sums over the axes between the first and the last, [samples, channels].
 * @param rectified of the same shape: only where it is positive does the gradient pass
 */
export function perSampleBias(upstream: Tensor<'f32'>, rectified?: Tensor<'f32'>): Tensor<'f32'> {
  const samples = upstream.shape[0]!;
  const result = upstream.gpu.empty([samples, upstream.shape.at(-1)!], 'f32');
  addSums({ gradient: upstream, rectified }, result, { lanes: samples, first: 0, accumulate: false }, false);
  return result;
}

function summed(upstream: Tensor<'f32'>, channels: number, rectified?: Tensor<'f32'>): Tensor<'f32'> {
  const { gpu } = upstream;
  const result = gpu.empty([channels], 'f32');
  gpu.scope(() => {
    const lanes = Math.min(upstream.shape[0]!, lanesOf(upstream, channels));
    const sums = lanes === 1 ? result : gpu.empty([lanes, channels], 'f32');
    for (const [i, { start, parts }] of runs(upstream, rectified).entries()) {
      addSums(parts, sums, { lanes, first: start % lanes, accumulate: i > 0 }, false);
    }
    if (lanes > 1) addPartials(sums, result, lanes);
  });
  return result;
}

/** Adds each sample's sums over those axes, or their squares, to a running sum; `rectified` as above. */
export function accumulateBias(upstream: Tensor<'f32'>, sum: SampleSum, rectified?: Tensor<'f32'>): void {
  const lanes = lanesOf(upstream, sum.shape[0]!);
  upstream.gpu.scope(() => {
    for (const { start, parts } of runs(upstream, rectified)) {
      const { sums, first } = sum.take(lanes, start);
      addSums(parts, sums, { lanes, first, accumulate: true }, sum.summand === 'square');
    }
  });
}

function lanesOf({ gpu }: Tensor, channels: number): number {
  return planLanes(channels, {
    size: channels,
    software: gpu.software,
    maxBindingBytes: gpu.maxBindingBytes,
  });
}

/** A gradient, and what it is masked by. */
interface Parts {
  gradient: Tensor<'f32'>;
  rectified: Tensor<'f32'> | undefined;
}

function runs(upstream: Tensor<'f32'>, rectified?: Tensor<'f32'>): { start: number; parts: Parts }[] {
  const samples = upstream.shape[0]!;
  return batchRuns(samples, [upstream.bytes / samples], upstream.gpu.maxBindingBytes).map(
    ({ start, count }) => ({
      start,
      parts: { gradient: upstream.slice(start, count), rectified: rectified?.slice(start, count) },
    }),
  );
}

/** Adds sums over pixels, or their squares, to lanes of sums over samples. */
function addSums(
  { gradient, rectified }: Parts,
  sums: Tensor<'f32'>,
  { lanes, first, accumulate }: { lanes: number; first: Param; accumulate: boolean },
  squared: boolean,
): void {
  const { gpu } = gradient;
  const samples = gradient.shape[0]!;
  const channels = gradient.shape.at(-1)!;
  const vec4 = channels % 4 === 0;
  gpu.dispatch(
    gpu.kernel('bias_gradient', {
      CHANNELS_VEC4: vec4,
      FISHER: squared,
      ACCUMULATE: accumulate,
      RECTIFIED: rectified !== undefined,
    }),
    { gradient, partial: sums, ...(rectified && { rectified }) },
    {
      channels: vec4 ? channels / 4 : channels,
      pixels: gradient.size / samples / channels,
      samples,
      first_lane: first,
      lanes,
    },
    Math.ceil(sums.size / (vec4 ? 256 : 64)),
  );
}
