import { addPartials } from '../convolution.ts';
import { FathomError } from '../errors.ts';
import { batchRuns, planBiasGradient } from '../planner.ts';
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
    gradient: (i, upstream) => (i === 0 ? upstream.reshape(x.shape) : summed(upstream, channels, false)),
    parameter: {
      input: 1,
      perSample: (upstream) => partialSums(upstream, channels, 1, false),
      fisher: (upstream) => summed(upstream, channels, true),
    },
  });
}

function summed(upstream: Tensor<'f32'>, channels: number, fisher: boolean): Tensor<'f32'> {
  const { gpu } = upstream;
  const samples = upstream.shape[0]!;
  const result = gpu.empty([channels], 'f32');
  gpu.scope(() => {
    for (const { start, count } of batchRuns(samples, [upstream.bytes / samples], gpu.maxBindingBytes)) {
      const samplesPerChunk = planBiasGradient(count, channels, gpu.software);
      const partial = partialSums(upstream.slice(start, count), channels, samplesPerChunk, fisher);
      addPartials(partial, result, partial.shape[0]!, start > 0);
    }
  });
  return result;
}

function partialSums(
  upstream: Tensor<'f32'>,
  channels: number,
  samplesPerChunk: number,
  fisher: boolean,
): Tensor<'f32'> {
  const { gpu } = upstream;
  const samples = upstream.shape[0]!;
  const chunks = Math.ceil(samples / samplesPerChunk);
  const partial = gpu.empty([chunks, channels], 'f32');
  gpu.dispatch(
    gpu.kernel('bias_gradient', { FISHER: fisher }),
    { gradient: upstream, partial },
    {
      channels,
      pixels: upstream.size / samples / channels,
      samples,
      samples_per_chunk: samplesPerChunk,
    },
    Math.ceil(partial.size / 64),
  );
  return partial;
}
