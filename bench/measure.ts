import { Bench } from 'tinybench';
import type { Gpu } from '../engine/index.ts';
import type { CaseResult } from './results.ts';

/** Something to measure. */
export interface Case {
  name: string;
  /** Floating-point operations of one run. */
  flop?: number;
  /** Bytes that have to be read and written at the least. */
  bytes?: number;
  /** Images (or pairs) of one run, where time per image is what counts. */
  images?: number;
  /** A whole step, of which dispatches, memory and host time are to be counted. */
  step?: boolean;
  /** Makes the inputs; what it returns records one run. */
  prepare(gpu: Gpu): () => void | Promise<void>;
}

export interface MeasureOptions {
  /** Opens a device. */
  open: () => Promise<Gpu>;
  rounds: number;
  /** How long a case runs in each round. */
  milliseconds: number;
  onProgress?: (line: string) => void;
}

/** Measures cases one after another, each on a device of its own: its first run compiles all it needs. */
export async function measure(
  family: string,
  cases: readonly Case[],
  options: MeasureOptions,
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  for (const each of cases) {
    options.onProgress?.(`${family}: ${each.name}`);
    using gpu = await options.open();
    const { round, result } = await start(gpu, family, each, options);
    for (let i = 0; i < options.rounds; i++) await round();
    results.push(result());
  }
  return results;
}

/** Measures cases that are to be held against each other on one device, in turns; only the first case begins cold. */
export async function measureInTurns(
  family: string,
  cases: readonly Case[],
  options: MeasureOptions,
): Promise<CaseResult[]> {
  using gpu = await options.open();
  const started: Started[] = [];
  for (const each of cases) {
    options.onProgress?.(`${family}: ${each.name}`);
    started.push(await start(gpu, family, each, options));
  }
  for (let i = 1; i <= options.rounds; i++) {
    options.onProgress?.(`${family}: round ${i} of ${options.rounds}`);
    for (const { round } of started) await round();
  }
  return started.map(({ result }) => result());
}

/** A case that has run for the first time. */
interface Started {
  round(): Promise<void>;
  result(): CaseResult;
}

async function start(
  gpu: Gpu,
  family: string,
  each: Case,
  { milliseconds }: MeasureOptions,
): Promise<Started> {
  const record = each.prepare(gpu);
  await gpu.finish();
  const run = async (repeats = 1) => {
    for (let i = 0; i < repeats; i++) await record();
    await gpu.finish();
  };
  const begin = performance.now();
  await run();
  const firstMs = performance.now() - begin;
  const again = performance.now();
  await run();
  const repeats = each.step ? 1 : repeatsOf(performance.now() - again);
  const step = each.step ? await countStep(gpu, record) : undefined;
  const rounds: number[] = [];
  const medians: number[] = [];
  let samples = 0;
  return {
    async round() {
      const bench = new Bench({ time: milliseconds, iterations: 1, warmup: false, throws: true });
      // Told that it is asynchronous, for it would find out by a call that nothing waits for.
      await bench.add(each.name, () => run(repeats), { async: true }).run();
      const { result } = bench.tasks[0]!;
      if (!('latency' in result)) throw new Error(`${each.name} was not measured`);
      rounds.push(result.latency.min / repeats);
      medians.push(result.latency.p50 / repeats);
      samples += result.latency.samplesCount;
    },
    result() {
      const { name, flop, bytes, images } = each;
      return { family, name, flop, bytes, images, firstMs, rounds, medianMs: median(medians), samples, step };
    },
  };
}

/** Runs to wait for together, for a wait ends up to a millisecond late. */
function repeatsOf(milliseconds: number): number {
  return Math.min(16, Math.max(1, Math.ceil(8 / milliseconds)));
}

/** What is slower than this is run once where others are run three times. */
const PATIENCE_MS = 1000;

/** Counts what one step asks of the device, and how long the host is busy with it. */
async function countStep(gpu: Gpu, record: () => unknown): Promise<NonNullable<CaseResult['step']>> {
  gpu.trim();
  const before = { ...gpu.stats };
  record();
  await gpu.finish();
  const counts = { dispatches: 0, submits: 0, buffers: 0, bindGroups: 0 };
  for (const key of Object.keys(counts) as (keyof typeof counts)[])
    counts[key] = gpu.stats[key] - before[key];
  const { peakBytes } = gpu;
  const hostMs: number[] = [];
  for (let spent = 0; hostMs.length === 0 || (hostMs.length < 3 && spent < PATIENCE_MS); ) {
    const begin = performance.now();
    record();
    const finished = gpu.finish();
    hostMs.push(performance.now() - begin);
    await finished;
    spent += performance.now() - begin;
  }
  return { ...counts, peakBytes, hostMs: Math.min(...hostMs) };
}

/** Runs `body` with nothing compiled or dispatched: for the rules an op leaves on a tape, not its values. */
export function withoutRunning<T>(gpu: Gpu, body: () => T): T {
  const idle: Partial<Pick<Gpu, 'kernel' | 'dispatch'>> = {
    kernel: () => ({}) as ReturnType<Gpu['kernel']>,
    dispatch: () => undefined,
  };
  Object.assign(gpu, idle);
  try {
    return body();
  } finally {
    for (const name of Object.keys(idle)) Reflect.deleteProperty(gpu, name);
  }
}

/** The middle one; the mean of the middle two of an even number. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1]! + sorted[Math.floor(half)]!) / 2;
}
