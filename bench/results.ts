import { z } from 'zod';

const milliseconds = z.number().nonnegative();
const count = z.number().int().nonnegative();

const caseSchema = z.strictObject({
  /** The file of this folder it comes of. */
  family: z.string(),
  name: z.string(),
  /** Floating-point operations, and bytes read and written at the least, of one run. */
  flop: count.optional(),
  bytes: count.optional(),
  /** Images or pairs of one run. */
  images: count.optional(),
  /** The first run on a fresh device, with compilation. */
  firstMs: milliseconds,
  /** The best run of each round; of short runs several are waited for together, and their mean counts. */
  rounds: z.array(milliseconds).min(1),
  medianMs: milliseconds,
  samples: count,
  /** What a whole step asks of the device once it has settled. */
  step: z
    .strictObject({
      dispatches: count,
      submits: count,
      /** Made in the step. */
      buffers: count,
      bindGroups: count,
      /** Of tensors, at one time. */
      peakBytes: count,
      /** How long the host is busy with it. */
      hostMs: milliseconds,
    })
    .optional(),
});

const lapSchema = z.strictObject({
  side: z.string(),
  /** As the side calls it. */
  device: z.string().optional(),
  version: z.string().optional(),
  /** Why it did not take part, or dropped out. */
  problem: z.string().optional(),
  /** The first call in a fresh process, with compilation and without cached shaders. */
  firstMs: milliseconds.optional(),
  /** The best step of each round, and the median of all steps. */
  rounds: z.array(milliseconds),
  medianMs: milliseconds.optional(),
  samples: count,
  /** Largest relative difference of its result from Fathom's. */
  difference: z.number().nonnegative().optional(),
});

/** What the bench suite writes: figures of one machine, adapter and run. */
export const benchSchema = z.strictObject({
  format: z.literal('fathom-bench'),
  formatVersion: z.literal(1),
  version: z.string(),
  createdAt: z.iso.datetime(),
  seconds: z.number().nonnegative(),
  /** Shortened: figures of such a run are a check that it works, no record. */
  quick: z.boolean(),
  runtime: z.string(),
  adapter: z.strictObject({
    label: z.string(),
    driver: z.enum(['system', 'embedded', 'browser']),
    kind: z.enum(['hardware', 'software']),
  }),
  cpu: z.strictObject({ model: z.string(), cores: count }),
  /** Load average of one minute, before and after. */
  load: z.tuple([z.number(), z.number()]),
  peaks: z.strictObject({ gflops: z.number().positive(), gbps: z.number().positive() }),
  cases: z.array(caseSchema),
  races: z.array(
    z.strictObject({ name: z.string(), title: z.string(), flop: count, laps: z.array(lapSchema) }),
  ),
});

export type BenchResults = z.infer<typeof benchSchema>;
export type CaseResult = z.infer<typeof caseSchema>;
export type LapResult = z.infer<typeof lapSchema>;
export type RaceResult = BenchResults['races'][number];

/** The best of all rounds, in milliseconds. */
export function bestOf({ rounds }: Pick<CaseResult, 'rounds'>): number {
  return Math.min(...rounds);
}

/** GFLOP/s, GB/s and shares of the peaks at the best run; undefined what it has no count of. */
export function rates(result: CaseResult, { peaks }: Pick<BenchResults, 'peaks'>) {
  const seconds = bestOf(result) / 1000;
  const gflops = result.flop === undefined ? undefined : result.flop / seconds / 1e9;
  const gbps = result.bytes === undefined ? undefined : result.bytes / seconds / 1e9;
  return {
    gflops,
    gbps,
    ofFlops: gflops === undefined ? undefined : gflops / peaks.gflops,
    ofBytes: gbps === undefined ? undefined : gbps / peaks.gbps,
  };
}
