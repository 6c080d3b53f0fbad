import { FathomError } from '../errors.ts';
import type { Gpu } from '../gpu.ts';
import {
  affineRule,
  blockSums,
  fixedGradient,
  normalise,
  normaliseGradient,
  requireChannels,
  rowsOf,
  type Statistics,
  sumBlocks,
} from '../normalisation.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { mapElements } from './elementwise.ts';

export interface NormOptions {
  /** Added to variances; 1e-5 if left out, as in PyTorch. */
  epsilon?: number;
}

/** A batch normalisation's mean and variance, [channels] each. */
export interface ChannelStatistics {
  mean: Tensor<'f32'>;
  variance: Tensor<'f32'>;
}

/**
 * Batch normalisation (Ioffe & Szegedy 2015) as PyTorch evaluates it: by running statistics, sample by sample.
 * @param x [samples, height, width, channels] or [samples, channels]
 * @param weight [channels]
 * @param bias [channels]
 * @param statistics running ones
 * @throws FathomError `shape-mismatch`
 */
export function batchNorm(
  tape: Tape,
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { mean, variance }: ChannelStatistics,
  { epsilon = 1e-5 }: NormOptions = {},
): Tensor<'f32'> {
  requireChannels('batchNorm', x, { weight, bias, mean, variance });
  const statistics: Statistics = { by: 'channel', mean, variance, epsilon };
  const y = normalise(x, weight, bias, statistics);
  const affine = affineRule(x, statistics);
  return tape.record(
    'batchNorm',
    [x, weight, bias],
    y,
    {
      gradient: (i, upstream) =>
        i === 0 ? fixedGradient(upstream, weight, statistics) : affine.gradient(i, upstream),
      parameters: affine.parameters,
    },
    [mean, variance, epsilon],
  );
}

/**
 * Batch normalisation as PyTorch trains it: by the batch's own mean and biased variance. Its samples interact, so
 * the tape refuses per-sample gradients of what comes of it.
 * @param x [samples, height, width, channels] or [samples, channels], more than one value a channel
 * @param weight [channels]
 * @param bias [channels]
 * @returns the output, and the batch's mean and unbiased variance for {@link updateRunning}
 * @throws FathomError `shape-mismatch`
 */
export function batchNormTraining(
  tape: Tape,
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { epsilon = 1e-5 }: NormOptions = {},
): { y: Tensor<'f32'> } & ChannelStatistics {
  requireChannels('batchNormTraining', x, { weight, bias });
  const { samples, pixels } = rowsOf(x);
  const count = samples * pixels;
  if (count < 2) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `batchNormTraining cannot take the variance of one value a channel, of an input of shape [${x.shape}]`,
      fix: 'Use a batch of two samples or more, or running statistics (training: false)',
    });
  }
  const { gpu } = tape;
  const { mean, variance } = gpu.scope(() => {
    const means = sumBlocks(blockSums(x), 1 / count);
    return { mean: means, variance: sumBlocks(blockSums(x, { by: 'channel', mean: means }), 1 / count) };
  });
  const statistics: Statistics = { by: 'channel', mean, variance, epsilon };
  const y = normalise(x, weight, bias, statistics);
  const affine = affineRule(x, statistics);
  tape.record(
    'batchNormTraining',
    [x, weight, bias],
    y,
    {
      gradient: (i, upstream) =>
        i === 0
          ? normaliseGradient(x, upstream, weight, statistics, affine.totals(upstream), 1 / count)
          : affine.gradient(i, upstream),
      mixesSamples: {
        code: 'batch-statistics',
        message:
          'Samples interact in batch normalisation with batch statistics, so there is no per-sample gradient',
        fix: 'Evaluate with running statistics (training: false)',
      },
    },
    [epsilon],
  );
  // Handles of their own, which the caller may dispose before the gradient is taken.
  return {
    y,
    mean: mean.reshape(mean.shape),
    variance: mapElements(gpu, 'SCALE', variance, undefined, count / (count - 1)),
  };
}

/** running = (1 - momentum) * running + momentum * batch, in place. Any shape, both the same. */
export function updateRunning(
  gpu: Gpu,
  running: Tensor<'f32'>,
  batch: Tensor<'f32'>,
  momentum: number,
): void {
  gpu.dispatch(
    gpu.kernel('moving_average'),
    { running, batch },
    { count: running.size, momentum },
    Math.ceil(running.size / 64),
  );
}
