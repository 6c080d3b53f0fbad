import { checkShapes, meansOf, type SourceDistances, smallest } from './bootstrap.ts';
import { mean, standardDeviation, studentTail } from './summary.ts';

export interface EarlyStop {
  stop: boolean;
  /** The closest source so far. */
  source: number;
  /** At least this sure that it is the closest on samples without end, for these trials' networks. */
  probability: number;
}

/**
 * Whether the closest source of a target is known well enough to leave its other samples unmeasured. More samples say
 * no more about how trials differ, so the trials are taken as they are and only samples vary. Each other source's lead
 * over the closest, in its standard deviation over replicates, has Student's t tail of as many degrees of freedom as
 * blocks less one; the tails' sum bounds the probability that any is closer. Because a target is looked at up to
 * `looks` times and any look may end it, one look may be wrong with (1 - level) / looks: by the union bound the whole
 * then is with at most 1 - level.
 * @param samples with replicates, of the blocks measured so far
 * @param blocks how many those are
 * @param looks how many times at most this is asked for one target
 */
export function decideEarly(
  samples: Required<SourceDistances>,
  { blocks, level, looks }: { blocks: number; level: number; looks: number },
): EarlyStop {
  checkShapes(samples);
  const means = meansOf(samples);
  const source = smallest(means)[0]!;
  const count = samples.replicates[0]![0]!.length;
  const resampled = (of: number, r: number) => mean(samples.replicates.map((trial) => trial[of]![r]!));
  let doubt = 0;
  for (const other of means.keys()) {
    if (other === source) continue;
    const leads = Float64Array.from({ length: count }, (_, r) => resampled(other, r) - resampled(source, r));
    // Less what few samples overstate it by, as resampling shows.
    const lead = 2 * (means[other]! - means[source]!) - mean(leads);
    doubt += blocks < 2 || lead === 0 ? 0.5 : studentTail(lead / standardDeviation(leads), blocks - 1);
  }
  return { stop: doubt <= (1 - level) / looks, source, probability: Math.max(0, 1 - doubt) };
}
