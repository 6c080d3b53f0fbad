import { type Command, InvalidArgumentError } from 'commander';
import { type BenchResults, bestOf, type CaseResult, type RaceResult, rates } from '../bench/results.ts';
import { contests, rivals, type Side, sideNames } from '../bench/rivals/contests.ts';
import { type Part, parts, runSuite } from '../bench/suite.ts';
import { addCommand, type CommonOptions, openGpu, printResult, table, version } from './command.ts';
import { checkWritable, writeOutput } from './files.ts';
import { startStatus } from './progress.ts';

interface BenchOptions extends CommonOptions {
  only?: Part[] | [];
  rivals?: true | string[];
  quick?: boolean;
  out: string;
}

export function addBench(program: Command): void {
  addCommand(program, 'bench', {
    description: 'measure kernels and whole steps on this machine, and write figures to share',
    example: 'bench --quick',
    adapter: 'the adapter to measure',
  })
    .option('--only <parts>', `some of ${parts.join(',')}, or none`, listOf(['none', ...parts]))
    .option(
      '--rivals [contests]',
      `race other libraries that are installed: ${Object.keys(contests).join(',')}`,
      listOf(Object.keys(contests)),
    )
    .option('--quick', 'a short run of a few cases of each part')
    .option('--out <file>', 'where the figures go', 'fathom-bench.json')
    .action(run);
}

function listOf<T extends string>(known: readonly T[]): (text: string) => T[] {
  return (text) => {
    const names = text.split(',') as T[];
    const wrong = names.find((name) => !known.includes(name));
    if (wrong === undefined) return names;
    throw new InvalidArgumentError(`There is no ${wrong}; give some of ${known.join(',')}.`);
  };
}

async function run(options: BenchOptions): Promise<void> {
  await checkWritable(options.out);
  using status = startStatus();
  const results = await runSuite({
    version,
    adapter: options.adapter,
    open: () => openGpu(options),
    only: options.only?.filter((part) => parts.includes(part)),
    races: options.rivals && {
      contests: options.rivals === true ? Object.keys(contests) : options.rivals,
      rivals,
    },
    quick: options.quick,
    onProgress: (line) => status.show(line),
  });
  status[Symbol.dispose]();
  await writeOutput(options.out, `${JSON.stringify(results, null, 1)}\n`);
  printResult(options, results, () => `${describeBench(results)}\nWrote ${options.out}`);
}

/** The figures as tables for a terminal. */
export function describeBench(results: BenchResults): string {
  const { adapter, runtime, cpu, load, peaks, cases, races } = results;
  const head = ['', 'first ms', 'best ms', 'median ms', 'GFLOP/s', 'of peak', 'GB/s', 'of peak'];
  const families = [...new Set(cases.map(({ family }) => family))].filter(
    (family) => !cases.some((each) => each.family === family && each.images !== undefined),
  );
  const whole = cases.filter(({ images }) => images !== undefined);
  return [
    `${adapter.label}, ${runtime}`,
    `${cpu.model}, ${cpu.cores} cores, load ${load.map((value) => value.toFixed(1)).join(' to ')}`,
    `peaks: ${peaks.gflops.toFixed(1)} GFLOP/s of multiply-adds, ${peaks.gbps.toFixed(1)} GB/s of a copy`,
    ...families.map((family) => {
      const rows = cases.filter((each) => each.family === family).map((each) => kernelRow(each, results));
      return table([family, ...head.slice(1)], rows);
    }),
    ...(whole.length > 0 ? [stepTable(whole)] : []),
    ...races.map(raceTable),
  ].join('\n');
}

function kernelRow(each: CaseResult, results: BenchResults): string[] {
  const { gflops, ofFlops, gbps, ofBytes } = rates(each, results);
  return [
    ...[each.name, ms(each.firstMs), ms(bestOf(each)), ms(each.medianMs)],
    ...[gflops?.toFixed(1) ?? '', share(ofFlops), gbps?.toFixed(2) ?? '', share(ofBytes)],
  ];
}

function stepTable(cases: readonly CaseResult[]): string {
  const head = ['step', 'first ms', 'best ms', 'median ms', 'ms each', 'dispatches', 'MiB', 'host ms'];
  const rows = cases.map((each) => [
    ...[each.name, ms(each.firstMs), ms(bestOf(each)), ms(each.medianMs), ms(bestOf(each) / each.images!)],
    ...(each.step
      ? [`${each.step.dispatches}`, (each.step.peakBytes / 2 ** 20).toFixed(1), ms(each.step.hostMs)]
      : ['', '', '']),
  ]);
  return table(head, rows);
}

function raceTable({ title, laps }: RaceResult): string {
  const ours = laps.find(({ side }) => side === 'ours');
  const rows = laps.map((lap) => {
    const name = sideNames[lap.side as Side] ?? lap.side;
    if (lap.problem !== undefined || lap.rounds.length === 0) return [name, lap.problem ?? '', '', '', ''];
    const times = ours && ours.rounds.length > 0 ? `${(bestOf(lap) / bestOf(ours)).toFixed(2)} x` : '';
    return [name, ms(lap.firstMs!), ms(bestOf(lap)), ms(lap.medianMs!), times];
  });
  return table([title, 'first ms', 'best ms', 'median ms', 'of ours'], rows);
}

function ms(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : value.toFixed(0);
}

function share(value: number | undefined): string {
  return value === undefined ? '' : `${(100 * value).toFixed(0)} %`;
}
