import { z } from 'zod';

const matrix = z.array(z.array(z.number()));
const count = z.number().int().nonnegative();

/**
 * `results.json` of `fathom demo`. Matrices are [source][target]. Of two runs of one command on one adapter only
 * `createdAt` and `seconds` differ.
 */
export const resultsSchema = z.strictObject({
  format: z.literal('fathom-demo'),
  version: z.string(),
  createdAt: z.iso.datetime(),
  seconds: z.number().nonnegative(),
  options: z.strictObject({
    trials: count.min(1),
    epochs: count.min(1),
    seed: count,
    trainImages: count,
    validationImages: count,
    testImages: count,
    fisherSamples: count,
    batch: count,
    learningRate: z.number().positive(),
  }),
  runtime: z.string(),
  adapter: z.strictObject({
    label: z.string(),
    driver: z.enum(['system', 'embedded', 'browser']),
    kind: z.enum(['hardware', 'software']),
  }),
  tasks: z.array(
    z.strictObject({
      name: z.string(),
      description: z.string(),
      classes: count,
      /** Images of each split, after balancing. */
      splits: z.strictObject({ train: count, validation: count, test: count }),
      /** On the test split: mean over trials, and the worst trial's. */
      accuracy: z.strictObject({ mean: z.number(), worst: z.number() }),
    }),
  ),
  trials: z.array(
    z.strictObject({
      seed: count,
      tasks: z.array(
        z.strictObject({ name: z.string(), accuracy: z.number(), loss: z.number(), bestEpoch: count }),
      ),
      distance: matrix,
    }),
  ),
  mean: matrix,
  /** Sample standard deviation over trials. */
  sigma: matrix,
  meanSquared: matrix,
  /** For each target the source with the smallest mean, and the one the paper finds. */
  closest: z.array(z.number().int()),
  paperClosest: z.array(z.number().int()),
});

export type Results = z.infer<typeof resultsSchema>;
