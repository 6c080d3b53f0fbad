import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import type { TopLevelSpec } from 'vega-lite';
import { toPng, toSvg } from '../report/render.ts';
import { batchesChart, racesChart, sharesChart } from './charts.ts';
import { readResults } from './compare.ts';
import { type BenchResults, bestOf, type CaseResult, type LapResult, rates } from './results.ts';
import { type Side, sideNames } from './rivals/contests.ts';

const BEGIN = '<!-- figures: written by bench/report.ts, do not edit by hand -->';
const END = '<!-- end of figures -->';

/** A case with the run it comes of, whose peaks it is held against. */
interface Figure {
  each: CaseResult;
  run: BenchResults;
}

/** What is known of one adapter: of several files the newest figure of each name. */
interface Adapter {
  name: string;
  runs: BenchResults[];
  cases: Map<string, Figure>;
  races: Map<string, { title: string; laps: LapResult[] }>;
}

/** A report: Markdown that refers to charts by file name. */
export interface Report {
  markdown: string;
  charts: Map<string, TopLevelSpec>;
}

/** Puts a report in the place of the last one; what people wrote around it stays. */
export function replaceFigures(page: string, markdown: string): string {
  const [start, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`The page lacks the lines "${BEGIN}" and "${END}"`);
  return `${page.slice(0, start)}${BEGIN}\n\n${markdown}\n\n${page.slice(end)}`;
}

/** Tables and charts of one or more runs. */
export function makeReport(files: readonly BenchResults[]): Report {
  const adapters = byAdapter(files);
  const charts = chartsOf(adapters);
  const picture = (name: string, about: string) =>
    charts.has(name) ? [`![${about}](performance/${name})`] : [];
  return {
    charts,
    markdown: [
      ...picture('races.png', "Steady state of other libraries in multiples of Fathom's time"),
      ...picture('first-calls.png', "First calls of other libraries in multiples of Fathom's"),
      ...picture('shares.png', 'Kernels as shares of the multiply-add peak'),
      ...picture('batches.png', 'Time an image takes by batch size'),
      ...adapters.flatMap(adapterSection),
    ].join('\n\n'),
  };
}

function byAdapter(files: readonly BenchResults[]): Adapter[] {
  const adapters = new Map<string, Adapter>();
  for (const run of [...files].sort((a, b) => a.createdAt.localeCompare(b.createdAt))) {
    const name = shortName(run.adapter.label);
    const adapter: Adapter = adapters.get(name) ?? { name, runs: [], cases: new Map(), races: new Map() };
    adapters.set(name, adapter);
    adapter.runs.push(run);
    for (const each of run.cases) adapter.cases.set(`${each.family}: ${each.name}`, { each, run });
    for (const each of run.races) adapter.races.set(each.name, each);
  }
  return [...adapters.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function shortName(label: string): string {
  const mesa = label.match(/llvmpipe.*Mesa ([\d.]+)/);
  if (mesa) return `Mesa ${mesa[1]} lavapipe`;
  return /swiftshader/i.test(label) ? 'SwiftShader' : label;
}

function adapterSection({ name, runs, cases, races }: Adapter): string[] {
  const figures = [...cases.values()];
  const of = (...families: string[]) => figures.filter(({ each }) => families.includes(each.family));
  return [
    `## ${name}`,
    markdownTable(
      ['run', 'on', 'load', 'peak GFLOP/s', 'peak GB/s'],
      runs.map((run) => [
        `${run.createdAt.slice(0, 16).replace('T', ' ')}${run.quick ? ' (quick)' : ''}`,
        `${run.cpu.cores} cores of ${run.cpu.model}, ${run.runtime}`,
        run.load.map((load) => load.toFixed(1)).join(' to '),
        run.peaks.gflops.toFixed(1),
        run.peaks.gbps.toFixed(1),
      ]),
    ),
    ...section('Beside other libraries', [...races.values()], raceTables),
    ...section('Kernels', of('matmul', 'convolution'), kernelTable),
    ...section('What moves memory', of('elementwise'), memoryTable),
    ...section('Whole steps', of('steps', 'resnet'), stepTable),
    ...section('Growth with batch, images and pairs', of('batches', 'growth'), growthTable),
  ];
}

function section<T>(title: string, rows: readonly T[], table: (rows: readonly T[]) => string): string[] {
  return rows.length > 0 ? [`### ${title}`, table(rows)] : [];
}

function raceTables(races: readonly { title: string; laps: LapResult[] }[]): string {
  const head = [
    '',
    'first call ms',
    'best step ms',
    'median ms',
    'first, of ours',
    'step, of ours',
    'result differs by',
  ];
  const rows = races.flatMap(({ title, laps }) => {
    const ours = laps.find((lap) => lap.side === 'ours' && ran(lap));
    return laps.map((lap): string[] => {
      const name = `${lap.side === 'ours' ? `**${title}**: ` : ''}${sideNames[lap.side as Side] ?? lap.side}`;
      const version = lap.version ? ` ${lap.version}` : '';
      if (!ran(lap)) return [`${name}${version}`, lap.problem ?? '', '', '', '', '', ''];
      const [first, step] =
        ours?.side === 'ours' ? [lap.firstMs! / ours.firstMs!, bestOf(lap) / bestOf(ours)] : [];
      return [
        `${name}${version}`,
        ...[lap.firstMs!, bestOf(lap), lap.medianMs!].map(ms),
        ...[first, step].map((times) => (times === undefined ? '' : `${times.toFixed(2)} x`)),
        lap.side === 'ours' ? '' : lap.difference!.toExponential(0),
      ];
    });
  });
  return markdownTable(head, rows);
}

/** Whether a side got to its rounds. */
function ran(lap: LapResult): boolean {
  return lap.problem === undefined && lap.rounds.length > 0;
}

function kernelTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ each, run }) => {
    const { gflops, ofFlops } = rates(each, run);
    return [
      each.name,
      ms(each.firstMs),
      ms(bestOf(each)),
      ms(each.medianMs),
      gflops!.toFixed(1),
      percent(ofFlops!),
    ];
  });
  return markdownTable(['', 'first ms', 'best ms', 'median ms', 'GFLOP/s', 'of peak'], rows);
}

function memoryTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ each, run }) => {
    const { gbps, ofBytes } = rates(each, run);
    return [
      each.name,
      ms(each.firstMs),
      ms(bestOf(each)),
      ms(each.medianMs),
      gbps!.toFixed(2),
      percent(ofBytes!),
    ];
  });
  return markdownTable(['', 'first ms', 'best ms', 'median ms', 'GB/s', "of a copy's"], rows);
}

function stepTable(figures: readonly Figure[]): string {
  const head = [
    '',
    'first ms',
    'best ms',
    'median ms',
    'of the gradient pass',
    'dispatches',
    'buffers + bind groups made',
    'MiB at most',
    'host µs a dispatch',
  ];
  const rows = figures.map(({ each }) => {
    const plain = figures.find(
      (other) => other.each.name === each.name.replace('Fisher pass', 'gradient pass'),
    );
    const isFisher = plain !== undefined && plain.each !== each;
    const { dispatches, buffers, bindGroups, peakBytes, hostMs } = each.step!;
    return [
      ...[each.name, ms(each.firstMs), ms(bestOf(each)), ms(each.medianMs)],
      isFisher ? `${(bestOf(each) / bestOf(plain.each)).toFixed(2)} x` : '',
      ...[
        `${dispatches}`,
        `${buffers} + ${bindGroups}`,
        (peakBytes / 2 ** 20).toFixed(1),
        ((1000 * hostMs) / dispatches).toFixed(0),
      ],
    ];
  });
  return markdownTable(head, rows);
}

function growthTable(figures: readonly Figure[]): string {
  const rows = figures.map(({ each }) => [
    ...[each.name, ms(bestOf(each)), ms(each.medianMs), ms(bestOf(each) / each.images!)],
    each.step ? (each.step.peakBytes / 2 ** 20).toFixed(1) : '',
  ]);
  return markdownTable(['', 'best ms', 'median ms', 'ms an image or pair', 'MiB at most'], rows);
}

function chartsOf(adapters: readonly Adapter[]): Map<string, TopLevelSpec> {
  const figures = adapters.flatMap(({ name, cases }) =>
    [...cases.values()].map((figure) => ({ adapter: name, ...figure })),
  );
  const shares = figures
    .filter(({ each }) => ['matmul', 'convolution'].includes(each.family))
    .map(({ adapter, each, run }) => ({ adapter, name: each.name, share: rates(each, run).ofFlops! }));
  const batches = figures
    .filter(({ each }) => each.family === 'batches')
    .map(({ adapter, each }) => ({
      adapter,
      pass: each.name.split(', ').at(-1)!,
      batch: each.images!,
      msAnImage: bestOf(each) / each.images!,
    }));
  const laps = (value: (lap: LapResult) => number) =>
    adapters.flatMap(({ name, races }) =>
      [...races].flatMap(([contest, { laps }]) => {
        const ours = laps.find((lap) => lap.side === 'ours' && ran(lap));
        const others = laps.filter((lap) => lap.side !== 'ours' && ran(lap));
        return others.map((lap) => ({
          adapter: name,
          contest,
          side: sideNames[lap.side as Side] ?? lap.side,
          times: ours ? value(lap) / value(ours) : 1,
        }));
      }),
    );
  const steady = laps(bestOf);
  const first = laps(({ firstMs }) => firstMs!);
  const charts: [string, TopLevelSpec, number][] = [
    ['races.png', racesChart(steady, 'Steady state beside other libraries'), steady.length],
    ['first-calls.png', racesChart(first, 'First call, compilation included'), first.length],
    ['shares.png', sharesChart(shares), shares.length],
    ['batches.png', batchesChart(batches), batches.length],
  ];
  return new Map(charts.filter(([, , rows]) => rows > 0).map(([name, spec]) => [name, spec]));
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    line(head),
    `|${head.map((_, i) => (i === 0 ? '---' : '---:')).join('|')}|`,
    ...rows.map(line),
  ].join('\n');
}

function ms(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** Writes docs/performance.md and its charts anew from docs/performance/*.json. */
async function main(): Promise<void> {
  const folder = new URL('../docs/performance/', import.meta.url);
  const page = new URL('../docs/performance.md', import.meta.url);
  await mkdir(folder, { recursive: true });
  const names = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  const { markdown, charts } = makeReport(
    await Promise.all(names.map((name) => readResults(new URL(name, folder)))),
  );
  for (const [name, spec] of charts) await writeFile(new URL(name, folder), await toPng(await toSvg(spec)));
  await writeFile(page, replaceFigures(await readFile(page, 'utf8'), markdown));
  console.error(`Wrote docs/performance.md and ${charts.size} charts from ${names.length} files`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main();
