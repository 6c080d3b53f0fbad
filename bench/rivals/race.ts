import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type SafetensorsTensor, serializeSafetensors } from '../../engine/index.ts';
import { type Contest, contests, type Rival, type Side } from './contests.ts';
import { installedVersion, SideProcess } from './process.ts';

/** What one side did in a contest. */
export interface Lap {
  side: Side;
  /** Where it ran, or why it did not. */
  device?: string;
  version?: string;
  problem?: string;
  /** Milliseconds of the first call, with compilation, in a fresh process without cached shaders. */
  firstMs?: number;
  /** Milliseconds of the steps of each round after it. */
  rounds: number[][];
  /** Largest relative difference from what Fathom computes. */
  difference?: number;
}

export interface RaceOptions {
  rounds: number;
  /** How long a side steps in each round. */
  milliseconds: number;
  /** Sides beside ours; only those take part that the contest and this machine have. */
  rivals: readonly Rival[];
  onProgress?: (line: string) => void;
}

/** Runs a contest: all sides in processes of their own on one adapter, taking turns round by round. */
export async function race(name: string, options: RaceOptions): Promise<Lap[]> {
  const contest = contests[name]!;
  const folder = mkdtempSync(join(tmpdir(), 'fathom-race-'));
  const inputs = join(folder, 'inputs.safetensors');
  const running = new Map<Lap, SideProcess>();
  try {
    writeFileSync(inputs, serializeSafetensors(safetensors(contest), {}));
    const laps: Lap[] = [];
    const sides: Side[] = ['ours', ...contest.rivals.filter((rival) => options.rivals.includes(rival))];
    let expected: number[] | undefined;
    for (const side of sides) {
      const lap: Lap = { side, rounds: [] };
      laps.push(lap);
      await attempt(lap, running, async () => {
        if (side !== 'ours') {
          lap.version = installedVersion(side);
          if (!lap.version) throw new Error('not installed');
        }
        options.onProgress?.(`${name}: ${side}, first call`);
        const started = await SideProcess.start(side, name, inputs);
        running.set(lap, started);
        lap.device = started.device;
        lap.firstMs = (await started.times(0))[0]!;
        const values = await started.values();
        expected ??= values;
        lap.difference = difference(values, expected);
        if (!(lap.difference <= contest.tolerance)) {
          throw new Error(`it computes something else (off by ${lap.difference.toExponential(1)})`);
        }
      });
    }
    for (let round = 1; round <= options.rounds; round++) {
      options.onProgress?.(`${name}: round ${round} of ${options.rounds}`);
      for (const [lap, side] of [...running]) {
        await attempt(lap, running, async () => {
          lap.rounds.push(await side.times(options.milliseconds));
        });
      }
    }
    return laps;
  } finally {
    for (const side of running.values()) side[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A side that fails drops out, and its lap says why. */
async function attempt(lap: Lap, running: Map<Lap, SideProcess>, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    lap.problem = error instanceof Error ? error.message : String(error);
    running.get(lap)?.[Symbol.dispose]();
    running.delete(lap);
  }
}

function difference(values: readonly number[], expected: readonly number[]): number {
  return Math.max(
    ...expected.map((value, i) => Math.abs(values[i]! - value) / Math.max(1e-12, Math.abs(value))),
  );
}

function safetensors(contest: Contest): Map<string, SafetensorsTensor> {
  return new Map(
    [...contest.inputs()].map(([name, { shape, data }]) => [name, { dtype: 'F32' as const, shape, data }]),
  );
}
