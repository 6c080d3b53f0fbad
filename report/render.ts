import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import process from 'node:process';
import { initWasm, Resvg } from '@resvg/resvg-wasm';
import type { TopLevelSpec } from 'vega-lite';

/** What charts set their text in. */
export const FONT = 'DejaVu Sans, sans-serif';
/** Pixels of the PNG for one of the SVG. */
const ZOOM = 2;

/** Draws a Vega-Lite chart as SVG. */
export async function toSvg(spec: TopLevelSpec): Promise<string> {
  // Loaded here since it takes a while; a dependency of Vega's uses a module that Deno warns about.
  process.noDeprecation = true;
  const [vega, { compile }] = await Promise.all([import('vega'), import('vega-lite')]);
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none', logLevel: vega.Warn });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}

const require = createRequire(import.meta.url);
let wasm: Promise<void> | undefined;

/** The SVG as PNG of twice its size; its text is set in the font that comes with the package. */
export async function toPng(svg: string): Promise<Uint8Array> {
  wasm ??= readFile(require.resolve('@resvg/resvg-wasm/index_bg.wasm')).then(initWasm);
  await wasm;
  const fonts = ['DejaVuSans.ttf', 'DejaVuSans-Bold.ttf'];
  const fontBuffers = await Promise.all(
    fonts.map((name) => readFile(require.resolve(`dejavu-fonts-ttf/ttf/${name}`))),
  );
  const resvg = new Resvg(svg, {
    fitTo: { mode: 'zoom', value: ZOOM },
    font: { fontBuffers, defaultFontFamily: 'DejaVu Sans', sansSerifFamily: 'DejaVu Sans' },
  });
  const image = resvg.render();
  try {
    return image.asPng();
  } finally {
    image.free();
    resvg.free();
  }
}
