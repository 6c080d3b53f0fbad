import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { initWasm, Resvg, type ResvgRenderOptions } from '@resvg/resvg-wasm';

let wasm: Promise<void> | undefined;

/** Loads what {@link drawSvg} needs, once a process. */
export async function loadSvg(): Promise<void> {
  const path = createRequire(import.meta.url).resolve('@resvg/resvg-wasm/index_bg.wasm');
  wasm ??= readFile(path).then(initWasm);
  await wasm;
}

/** Draws an SVG after {@link loadSvg} and takes what is wanted of the image; fonts are only those of the options. */
export function drawSvg<T>(
  svg: string,
  options: ResvgRenderOptions,
  take: (image: ReturnType<InstanceType<typeof Resvg>['render']>) => T,
): T {
  const resvg = new Resvg(svg, options);
  try {
    const image = resvg.render();
    try {
      return take(image);
    } finally {
      image.free();
    }
  } finally {
    resvg.free();
  }
}
