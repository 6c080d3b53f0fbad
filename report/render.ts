import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import process from 'node:process';
import type { TopLevelSpec } from 'vega-lite';
import { drawSvg, loadSvg } from '../data/svg.ts';

/** What charts set their text in. */
export const FONT = 'DejaVu Sans, sans-serif';
/** Pixels of the PNG for one of the SVG. */
const ZOOM = 2;

/** Draws a Vega-Lite chart as SVG. */
export async function toSvg(spec: TopLevelSpec): Promise<string> {
  // Loaded here since it takes a while; a dependency of Vega's uses a module that Deno warns about.
  process.noDeprecation = true;
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const { textMetrics, resetSVGDefIds } = vega as unknown as Untyped;
  textMetrics.width = ({ fontSize = 11, fontWeight }, text) =>
    textWidth(String(text), fontSize, fontWeight === 'bold');
  // Otherwise a chart's bytes would depend on what was drawn before it.
  resetSVGDefIds();
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none', logLevel: vega.Warn });
  try {
    return (await view.toSVG()).replaceAll(/ (d|transform)="[^"]*"/g, rounded);
  } finally {
    view.finalize();
  }
}

/** A hundredth of a pixel is enough. */
function rounded(attribute: string): string {
  return attribute.replaceAll(
    /-?\d+\.\d{3,}(e-\d+)?/g,
    (number) => `${Math.round(Number(number) * 100) / 100}`,
  );
}

/** What Vega exports beside what it has types for. */
interface Untyped {
  textMetrics: { width: (item: { fontSize?: number; fontWeight?: string }, text: unknown) => number };
  resetSVGDefIds(): void;
}

/** How wide a text in {@link FONT} is, within some per cent; Vega's own guess without a canvas is far too wide. */
export function textWidth(text: string, fontSize: number, bold = false): number {
  let ems = 0;
  for (const character of text) {
    if (/\p{M}/u.test(character)) continue;
    if (/[iljftrI.,:;'|!()[\] ]/.test(character)) ems += 0.36;
    else if (/[mwMW@%…]/.test(character)) ems += 0.94;
    else if (/[A-Z&<>=+±~_-]/.test(character)) ems += 0.72;
    else ems += character >= '\u2e80' ? 1 : 0.62;
  }
  return ems * fontSize * (bold ? 1.1 : 1);
}

const require = createRequire(import.meta.url);

/** The SVG as PNG of twice its size; its text is set in the font that comes with the package. */
export async function toPng(svg: string): Promise<Uint8Array> {
  await loadSvg();
  const fonts = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'];
  const fontBuffers = await Promise.all(
    fonts.map((name) => readFile(require.resolve(`dejavu-fonts-ttf/ttf/${name}`))),
  );
  return drawSvg(
    svg,
    {
      fitTo: { mode: 'zoom', value: ZOOM },
      font: { fontBuffers, defaultFontFamily: 'DejaVu Sans', sansSerifFamily: 'DejaVu Sans' },
    },
    (image) => image.asPng(),
  );
}
