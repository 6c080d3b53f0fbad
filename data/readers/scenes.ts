import { z } from 'zod';
import { FathomError, type Gpu } from '../../engine/index.ts';
import type { DataSet } from '../dataset.ts';
import { renderScenes } from '../scenes/index.ts';

export const scenesSpec = z.strictObject({
  format: z
    .literal('scenes')
    .describe('Rooms with balls, boxes and cylinders, rendered on the GPU with the truths of ten domains'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(0)
    .describe('Fixes every scene'),
  count: z.int().min(1).default(2000).describe('Scenes to train on'),
  testCount: z.int().min(1).optional().describe('Scenes to test on; a quarter of count unless told'),
  size: z.int().min(8).max(256).default(32).describe('Pixels a side'),
  name: z.string().min(1).optional().describe('What the data set is called; scenes and the seed unless told'),
});

/**
 * Renders the scenes of a spec; they are not kept in a cache, since rendering is quick.
 * @throws FathomError `scenes-need-gpu`
 */
export async function openScenes(
  { name, ...options }: z.infer<typeof scenesSpec>,
  gpu: (() => Promise<Gpu>) | undefined,
): Promise<DataSet> {
  if (!gpu) {
    throw new FathomError({
      code: 'scenes-need-gpu',
      message: 'Scenes are rendered on a GPU, and none was given',
      fix: 'Give openData a gpu',
    });
  }
  const sets = await renderScenes(await gpu(), options);
  return name === undefined ? sets : { ...sets, name };
}
