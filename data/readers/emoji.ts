import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { FathomError } from '../../engine/errors.ts';
import { drawSvg, loadSvg } from '../svg.ts';
import { adapt, common, packLabels, pathOf, type ReaderContext, type Source, type Values } from './reader.ts';

const STYLES = ['noto', 'twemoji', 'openmoji', 'fluent-emoji-flat', 'fluent-emoji-high-contrast'] as const;

const { name, channels, limit } = common;

export const emojiSpec = z.strictObject({
  format: z
    .literal('emoji')
    .describe(
      'Emoji of eight categories on white, from the npm packages @iconify-json/*: the same emoji, in the same order, in every style',
    ),
  style: z.enum(STYLES).describe('Who drew them'),
  size: z.int().min(8).max(256).default(32).describe('Height and width to draw them at'),
  name,
  channels,
  limit,
});

/** By code point; resvg cannot draw these in one of the styles, so no style has them. */
const NOT_DRAWN = ['1f4e6', '1f3f3-200d-1f308'];
/** Far fewer than of the others. */
const LEFT_OUT = 'Flags';

interface Icons {
  width: number;
  height: number;
  icons: Record<string, { body: string; width?: number; height?: number; left?: number; top?: number }>;
}

/** Code points, lower-case and without the mark of colour, by which emoji are the same in two styles. */
type Names = ReadonlyMap<string, string>;

export async function openEmoji(spec: z.infer<typeof emojiSpec>, context: ReaderContext): Promise<Source> {
  const files = findEmoji([import.meta.url, pathOf(context, 'study.yaml')]);
  const chars = STYLES.map((style) => files.get(`${style}/chars.json`)!);
  const metadata = files.get('noto/metadata.json')!;
  const iconsFile = files.get(`${spec.style}/icons.json`)!;
  return {
    name: spec.name ?? `emoji ${spec.style}`,
    files: [iconsFile, metadata, ...chars],
    cheap: false,
    async open() {
      const names = await Promise.all(chars.map(readNames));
      const { categories } = (await readJson(metadata)) as { categories: Record<string, string[]> };
      const { codes, labels, classNames } = align(names, categories);
      const icons = (await readJson(iconsFile)) as unknown as Icons;
      const own = names[STYLES.indexOf(spec.style)]!;
      await loadSvg();
      const shape = { height: spec.size, width: spec.size, channels: 3 };
      const part = {
        ...shape,
        split: 'train' as const,
        count: codes.length,
        type: 'bytes' as const,
        labels: packLabels(labels, classNames.length),
        *images(): Generator<Values> {
          for (const code of codes) yield draw(icons, own.get(code)!, spec.size);
        },
      };
      return { classNames, parts: [adapt(part, { channels: spec.channels, limit: spec.limit })] };
    },
  };
}

/** Emoji drawn in every style, in the order of their code points, with the category that Noto puts them in. */
function align(
  names: readonly Names[],
  categories: Record<string, string[]>,
): { codes: string[]; labels: number[]; classNames: string[] } {
  const byName = new Map<string, string>();
  for (const [category, members] of Object.entries(categories)) {
    for (const member of members) byName.set(member, category.split(' ')[0]!);
  }
  const noto = names[STYLES.indexOf('noto')]!;
  const all = [...noto.keys()]
    .filter((code) => names.every((some) => some.has(code)) && !NOT_DRAWN.includes(code))
    .map((code) => ({ code, category: byName.get(noto.get(code)!) ?? LEFT_OUT }))
    .filter(({ category }) => category !== LEFT_OUT)
    .sort((a, b) => (a.code < b.code ? -1 : 1));
  const classNames = [...new Set(all.map(({ category }) => category))].sort();
  const labels = all.map(({ category }) => classNames.indexOf(category));
  return { codes: all.map(({ code }) => code), labels, classNames };
}

function draw(icons: Icons, name: string, size: number): Uint8Array {
  const { body, left = 0, top = 0, width = icons.width, height = icons.height } = icons.icons[name]!;
  const view = `viewBox="${left} ${top} ${width} ${height}" width="${size}" height="${size}"`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${view}>${body}</svg>`;
  // Looking for fonts of the system would take most of the time.
  const options = { background: '#fff', font: { loadSystemFonts: false } };
  return drawSvg(svg, options, ({ pixels }) => pixels.filter((_, i) => i % 4 < 3));
}

async function readNames(path: string): Promise<Names> {
  const chars = Object.entries(await readJson(path)) as [string, string][];
  return new Map(chars.map(([code, name]) => [code.toLowerCase().replaceAll('-fe0f', ''), name]));
}

async function readJson(path: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(path, 'utf8'));
}

/**
 * Paths of the files of all five packages, by `<style>/<file>`.
 *
 * @param from files beside which, or above, packages may be installed
 * @throws FathomError `data-missing` naming the packages that are not
 */
export function findEmoji(from: readonly string[]): Map<string, string> {
  const resolve = from.map((file) => createRequire(file).resolve);
  const found = new Map<string, string>();
  const missing: string[] = [];
  for (const style of STYLES) {
    for (const file of ['chars.json', 'icons.json', 'metadata.json']) {
      const path = firstThat(resolve, `@iconify-json/${style}/${file}`);
      if (path !== undefined) found.set(`${style}/${file}`, path);
      else if (file === 'chars.json') missing.push(`@iconify-json/${style}`);
    }
  }
  if (missing.length === 0) return found;
  throw new FathomError({
    code: 'data-missing',
    message: `Emoji need the npm packages ${missing.join(', ')}, which are not installed`,
    fix: `Run npm install ${missing.join(' ')}`,
  });
}

function firstThat(resolve: ((name: string) => string)[], name: string): string | undefined {
  for (const from of resolve) {
    try {
      return from(name);
    } catch {}
  }
  return undefined;
}
