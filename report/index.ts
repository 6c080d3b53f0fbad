import { join } from 'node:path';
import type { StudyResults } from '../algorithms/study/results.ts';
import { matrixCsv, summaryCsv } from './csv.ts';
import { figures } from './figures.ts';
import { checkFolder, writeOutput } from './files.ts';
import { type DrawnFigure, FEW, page } from './page.ts';
import { toPng, toSvg } from './render.ts';

export { type Answer, answers } from './answer.ts';
export { compareStudies, type StudyComparison } from './compare.ts';

/** Widths charts are drawn for, in pixels: on a desk (and in files and print), beside another one, and on a phone. */
const WIDE = 1080;
const HALF = 530;
const NARROW = 352;

/**
 * A study's report, by file name: `report.html` (one page that needs no other file), `matrix.csv` (every distance of
 * every trial), `summary.csv` (a line for each pair) and each chart as `figures/NAME.svg` and `.png`. The same results
 * give the same bytes.
 */
export async function makeReport(results: StudyResults): Promise<Map<string, string | Uint8Array>> {
  const drawn: DrawnFigure[] = [];
  const files = new Map<string, string | Uint8Array>();
  // One after the other: what Vega numbers its gradients by is shared.
  for (const { name, alt, caption, chart } of figures(results)) {
    const few = results.tasks.length <= FEW;
    const half = few && ['matrix', 'graph', 'tree', 'map'].includes(name);
    const wide = await toSvg(chart(half ? HALF : WIDE));
    drawn.push({ name, alt, caption, wide, narrow: await toSvg(chart(NARROW)) });
    const file = half ? await toSvg(chart(WIDE)) : wide;
    files.set(`figures/${name}.svg`, file);
    files.set(`figures/${name}.png`, await toPng(file));
  }
  return new Map<string, string | Uint8Array>([
    ['report.html', page(results, drawn)],
    ['matrix.csv', matrixCsv(results)],
    ['summary.csv', summaryCsv(results)],
    ...files,
  ]);
}

/**
 * Writes a study's report into a folder, which is made where there is none.
 * @returns the paths written
 * @throws FathomError `unwritable`
 */
export async function writeReport(results: StudyResults, folder: string): Promise<string[]> {
  const files = await makeReport(results);
  await checkFolder(
    folder,
    [...files.keys()].filter((name) => !name.includes('/')),
  );
  await checkFolder(join(folder, 'figures'), []);
  const paths: string[] = [];
  for (const [name, content] of files) {
    const path = join(folder, name);
    await writeOutput(path, content);
    paths.push(path);
  }
  return paths;
}
