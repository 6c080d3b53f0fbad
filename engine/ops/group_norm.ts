import { FathomError } from '../errors.ts';
import {
  affineRule,
  blockSums,
  normalise,
  normaliseGradient,
  requireChannels,
  rowsOf,
  type Statistics,
  sumGroups,
} from '../normalisation.ts';
import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import type { NormOptions } from './batch_norm.ts';

export interface GroupNormOptions extends NormOptions {
  /** A divisor of the number of channels. */
  groups: number;
}

/**
 * Group normalisation (Wu & He 2018) as in PyTorch: by the mean and biased variance over a sample's pixels and the
 * channels of a group.
 * @param x [samples, height, width, channels] or [samples, channels]
 * @param weight [channels]
 * @param bias [channels]
 * @throws FathomError `shape-mismatch`
 */
export function groupNorm(
  tape: Tape,
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias: Tensor<'f32'>,
  { groups, epsilon = 1e-5 }: GroupNormOptions,
): Tensor<'f32'> {
  requireChannels('groupNorm', x, { weight, bias });
  const { pixels, channels } = rowsOf(x);
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `groupNorm cannot cut ${channels} channels into ${groups} groups`,
      fix: 'Give a number of groups that divides the channels',
    });
  }
  const share = groups / (pixels * channels);
  const statistics = tape.gpu.scope((): Statistics => {
    const mean = sumGroups(blockSums(x), groups, share);
    const variance = sumGroups(blockSums(x, { by: 'group', mean }), groups, share);
    return { by: 'group', mean, variance, epsilon };
  });
  const y = normalise(x, weight, bias, statistics);
  const affine = affineRule(x, statistics);
  return tape.record(
    'groupNorm',
    [x, weight, bias],
    y,
    {
      gradient(i, upstream) {
        if (i > 0) return affine.gradient(i, upstream);
        const { sums, products } = affine.blocks(upstream);
        const weighted = {
          sums: sumGroups(sums, groups, 1, weight),
          products: sumGroups(products, groups, 1, weight),
        };
        return normaliseGradient(x, upstream, weight, statistics, weighted, share);
      },
      parameters: affine.parameters,
    },
    [{ groups, epsilon }],
  );
}
