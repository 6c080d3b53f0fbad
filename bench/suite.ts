import { cpus, loadavg } from 'node:os';
import process from 'node:process';
import type { AdapterMode, Gpu } from '../engine/index.ts';
import { convolutionCases } from './convolution.ts';
import { elementwiseCases } from './elementwise.ts';
import { matmulCases } from './matmul.ts';
import { type Case, measure, measureInTurns, median } from './measure.ts';
import { measurePeaks, type Peaks } from './peaks.ts';
import type { BenchResults, CaseResult, LapResult, RaceResult } from './results.ts';
import { contests, type Rival } from './rivals/contests.ts';
import { type Lap, race } from './rivals/race.ts';
import { batchCases, growthCases, resnetCases, stepCases } from './steps.ts';

/** Parts of the suite. */
const PARTS = {
  matmul: matmulCases,
  convolution: convolutionCases,
  elementwise: elementwiseCases,
  steps: stepCases,
  resnet: resnetCases,
  batches: batchCases,
  growth: growthCases,
} satisfies Record<string, () => Case[]>;
/** Those whose cases are held against each other. */
const IN_TURNS: readonly string[] = ['batches', 'growth'];

export type Part = keyof typeof PARTS;
export const parts = Object.keys(PARTS) as Part[];

export interface SuiteOptions {
  /** Fathom's version. */
  version: string;
  adapter: AdapterMode;
  /** Opens a device of that adapter. */
  open: () => Promise<Gpu>;
  /** All of them if left out. */
  only?: readonly Part[];
  /** Contests by name to run against these rivals; none if left out. */
  races?: { contests: readonly string[]; rivals: readonly Rival[] };
  /** A short run of a few cases, which shows that all works and gives rough figures. */
  quick?: boolean;
  onProgress?: (line: string) => void;
}

/** Rounds of every case or race, and milliseconds of each. */
const FULL = { rounds: 3, milliseconds: 400 };
const QUICK = { rounds: 1, milliseconds: 50 };

/** Runs the parts asked for, with the adapter's peaks measured in the same run. */
export async function runSuite(options: SuiteOptions): Promise<BenchResults> {
  const begin = performance.now();
  const loadBefore = loadavg()[0]!;
  // Mesa would take compiled shaders from the disk; it looks at this when a device is opened.
  process.env.MESA_SHADER_CACHE_DISABLE = 'true';
  const effort = options.quick ? QUICK : FULL;
  const { onProgress } = options;

  // Before and after, for other work on the machine at either time would flatter every share.
  const before = await peaksNow(options.open, effort.milliseconds / 2, onProgress);

  const cases: CaseResult[] = [];
  for (const part of options.only ?? parts) {
    const all = PARTS[part]();
    const chosen = options.quick ? all.slice(0, 3) : all;
    const run = IN_TURNS.includes(part) ? measureInTurns : measure;
    cases.push(...(await run(part, chosen, { ...effort, open: options.open, onProgress })));
  }
  const races: RaceResult[] = [];
  if (options.adapter !== 'auto') process.env.FATHOM_ADAPTER = options.adapter;
  for (const name of options.races?.contests ?? []) {
    const laps = await race(name, { ...effort, rivals: options.races!.rivals, onProgress });
    const { title, flop } = contests[name]!;
    races.push({ name, title, flop, laps: laps.map(lapResult) });
  }

  const { gpu, ...after } = await peaksNow(options.open, effort.milliseconds / 2, onProgress);
  const { label, driver, kind } = gpu.opened;
  return {
    format: 'fathom-bench',
    formatVersion: 1,
    version: options.version,
    createdAt: new Date().toISOString(),
    seconds: (performance.now() - begin) / 1000,
    quick: options.quick ?? false,
    runtime: gpu.runtime.version,
    adapter: { label, driver, kind },
    cpu: { model: cpus()[0]?.model ?? 'unknown', cores: cpus().length },
    load: [loadBefore, loadavg()[0]!],
    peaks: {
      gflops: Math.max(before.gflops, after.gflops),
      gbps: Math.max(before.gbps, after.gbps),
    },
    cases,
    races,
  };
}

async function peaksNow(
  open: SuiteOptions['open'],
  milliseconds: number,
  onProgress: SuiteOptions['onProgress'],
): Promise<Peaks & { gpu: Gpu }> {
  onProgress?.('peaks');
  using gpu = await open();
  return { ...(await measurePeaks(gpu, { milliseconds })), gpu };
}

function lapResult({ rounds, ...lap }: Lap): LapResult {
  const all = rounds.flat();
  return {
    ...lap,
    rounds: rounds.map((times) => Math.min(...times)),
    medianMs: all.length > 0 ? median(all) : undefined,
    samples: all.length,
  };
}
