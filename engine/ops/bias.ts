import { addPartials } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import type { Param } from '../kernel.ts';
import { batchRuns, planLanes } from '../planner.ts';
import type { SampleSum } from '../sample_sums.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { mapElements } from './elementwise.ts';

/**
 * x + b along the last axis.
 * @param x [samples, ..., channels]
 * @param b [channels]
 * @throws FathomError `shape-mismatch`
 */
export function bias(tape: Tape, x: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> {
  const channels = b.size;
  if (b.shape.length !== 1 || x.shape.at(-1) !== channels) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `bias cannot add a vector of shape [${b.shape}] to an input of shape [${x.shape}]`,
      fix: 'Give one entry for each of the last axis',
    });
  }
  const y = mapElements(tape.gpu, 'ADD_BIAS', x, b);
  return tape.record('bias', [x, b], y, {
    gradient: (i, upstream) => (i === 0 ? upstream.reshape(x.shape) : summed(upstream, channels)),
    parameters: {
      1: {
        perSample: perSampleBias,
        accumulate: accumulateBias,
      },
    },
  });
}

/** Each sample's sums over the axes between the first and the last, [samples, channels]. */
export function perSampleBias(upstream: Tensor<'f32'>): Tensor<'f32'> {
  const samples = upstream.shape[0]!;
  const result = upstream.gpu.empty([samples, upstream.shape.at(-1)!], 'f32');
  addSums(upstream, result, { lanes: samples, first: 0, accumulate: false }, false);
  return result;
}

function summed(upstream: Tensor<'f32'>, channels: number): Tensor<'f32'> {
  const { gpu } = upstream;
  const result = gpu.empty([channels], 'f32');
  gpu.scope(() => {
    const lanes = Math.min(upstream.shape[0]!, lanesOf(upstream, channels));
    const sums = lanes === 1 ? result : gpu.empty([lanes, channels], 'f32');
    for (const [i, { start, part }] of runs(upstream).entries()) {
      addSums(part, sums, { lanes, first: start % lanes, accumulate: i > 0 }, false);
    }
    if (lanes > 1) addPartials(sums, result, lanes);
  });
  return result;
}

/** Adds each sample's sums over those axes, or their squares, to a running sum. */
export function accumulateBias(upstream: Tensor<'f32'>, sum: SampleSum): void {
  const lanes = lanesOf(upstream, sum.shape[0]!);
  upstream.gpu.scope(() => {
    for (const { start, part } of runs(upstream)) {
      const { sums, first } = sum.take(lanes, start);
      addSums(part, sums, { lanes, first, accumulate: true }, sum.summand === 'square');
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

function runs(upstream: Tensor<'f32'>): { start: number; part: Tensor<'f32'> }[] {
  const samples = upstream.shape[0]!;
  return batchRuns(samples, [upstream.bytes / samples], upstream.gpu.maxBindingBytes).map(
    ({ start, count }) => ({ start, part: upstream.slice(start, count) }),
  );
}

/** Adds sums over pixels, or their squares, to lanes of sums over samples. */
function addSums(
  upstream: Tensor<'f32'>,
  sums: Tensor<'f32'>,
  { lanes, first, accumulate }: { lanes: number; first: Param; accumulate: boolean },
  squared: boolean,
): void {
  const { gpu } = upstream;
  const samples = upstream.shape[0]!;
  const channels = upstream.shape.at(-1)!;
  gpu.dispatch(
    gpu.kernel('bias_gradient', { FISHER: squared, ACCUMULATE: accumulate }),
    { gradient: upstream, partial: sums },
    { channels, pixels: upstream.size / samples / channels, samples, first_lane: first, lanes },
    Math.ceil(sums.size / 64),
  );
}
