import { basename, join, relative } from 'node:path';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { decodeImage, fit, type Picture } from '../image.ts';
import { list } from './folder.ts';
import { checkShape, pictureShape, pictures, readPicture, readPictures } from './pictures.ts';
import {
  common,
  type Part,
  pathOf,
  type ReaderContext,
  type Source,
  shapeFor,
  type Values,
} from './reader.ts';

const { name, size, channels } = common;

export const taskonomySpec = z.strictObject({
  format: z
    .literal('taskonomy')
    .describe('Images and other domains to predict from them, in the folders of Taskonomy'),
  path: z
    .string()
    .min(1)
    .describe(
      'The folder with one folder a domain, and in it, or a folder a building, point_P_view_V_domain_D.png',
    ),
  input: z.string().min(1).default('rgb').describe('The domain that networks are given'),
  domains: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      'The domains to predict. Values of 8 bits are divided by 255 and those of 16 by 65535, but depth d of 16 bits, in 1/512 m, becomes log2(1 + d) / 16: 1 m is 0.56, 8 m 0.75, 128 m and unknown 1',
    ),
  name,
  size,
  channels: channels.describe(
    'Channels of the input; with 3, domains of one channel are given three times, otherwise they keep theirs',
  ),
  limit: z.int().min(1).optional().describe('Most views, the first ones'),
});

type Spec = z.infer<typeof taskonomySpec>;

const FILE = /^(point_\d+_view_\d+)_domain_.+\.png$/;

export async function openTaskonomy(spec: Spec, context: ReaderContext): Promise<Source> {
  const root = pathOf(context, spec.path);
  const domains = [...new Set([spec.input, ...spec.domains])];
  const found = new Map<string, Map<string, string>>();
  for (const domain of domains) {
    if (domain.split(/[/\\]/).length > 1 || domain === '..') throw noViews(join(root, domain));
    found.set(domain, await listViews(root, join(root, domain)));
  }
  const all = new Set([...found.values()].flatMap((views) => [...views.keys()]));
  const complete = [...all].filter((view) => domains.every((domain) => found.get(domain)!.has(view))).sort();
  if (complete.length === 0) throw noViews(root);
  if (complete.length < all.size) {
    context.warn(`Views of ${root} that lack a domain are passed over: ${all.size - complete.length}`);
  }
  const views = complete.slice(0, spec.limit);
  const pathsOf = (domain: string) => views.map((view) => found.get(domain)!.get(view)!);
  return {
    name: spec.name ?? basename(root),
    files: domains.flatMap(pathsOf),
    cheap: false,
    async open() {
      const labels = new Uint8Array(views.length);
      const input = pathsOf(spec.input);
      const shape = await pictureShape(readPictures(input), spec);
      const parts = [
        pictures({ ...shape, split: 'train', count: views.length, labels }, spec, () => readPictures(input)),
      ];
      for (const domain of spec.domains) parts.push(await openDomain(domain, pathsOf(domain), labels, spec));
      return { classNames: [], parts };
    },
  };
}

async function openDomain(domain: string, paths: string[], labels: Uint8Array, spec: Spec): Promise<Part> {
  const first = await decode(paths[0]!);
  const shape = shapeFor(first, { size: spec.size, channels: spec.channels === 3 ? 3 : undefined });
  const type = first.white === 255 ? 'bytes' : 'floats';
  return {
    ...shape,
    split: 'train',
    domain,
    count: paths.length,
    type,
    labels,
    async *images(): AsyncGenerator<Values> {
      for (const path of paths) {
        const picture = await decode(path);
        checkShape(picture, shape, { size: spec.size }, path);
        if (picture.white !== first.white) {
          throw new FathomError({
            code: 'image-shape',
            message: `${path} has other bits a value than the images before it`,
            fix: 'Save all images of a domain with 8 or all with 16 bits',
          });
        }
        yield fit(domain.startsWith('depth') ? scaleDepth(picture) : picture, shape, type);
      }
    },
  };
}

async function decode(path: string): Promise<Picture> {
  const { bytes, name } = await readPicture(path);
  return decodeImage(bytes, name);
}

function scaleDepth(picture: Picture): Picture {
  if (picture.white === 255) return picture;
  return {
    ...picture,
    values: Float32Array.from(picture.values, (depth) => Math.log2(1 + depth) / 16),
    white: 1,
  };
}

/** Paths of the views of a domain, by building and view. */
async function listViews(root: string, folder: string): Promise<Map<string, string>> {
  const views = new Map<string, string>();
  for (const { name, isFolder } of await list(root, folder)) {
    const inner = isFolder ? await list(root, join(folder, name)) : [{ name, isFolder }];
    for (const one of inner) {
      const view = FILE.exec(one.name)?.[1];
      const path = isFolder ? join(folder, name, one.name) : join(folder, one.name);
      if (view !== undefined && !one.isFolder)
        views.set(join(relative(folder, join(path, '..')), view), path);
    }
  }
  return views;
}

function noViews(folder: string): FathomError {
  return new FathomError({
    code: 'data-empty',
    message: `${folder} has no views with all of the domains`,
    fix: 'Put point_P_view_V_domain_D.png of the same views into a folder for each domain',
  });
}
