import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { type BenchResults, benchSchema, type CaseResult, type LapResult } from './results.ts';

/** How one figure changed between two files. */
export interface Change {
  name: string;
  /** New over old, each in units of its own file's multiply-add peak: 1.2 is a fifth slower. */
  ratio: number;
  /** Up to here (and down to its inverse) the ratio may be noise. */
  noise: number;
  verdict: 'slower' | 'faster' | 'same';
}

/** Two runs of the same code on a quiet machine differ by as much. */
const LEAST_NOISE = 0.1;

/**
 * Holds the steady state of every case, and of our side of every race, that both files have against each other.
 * Times are taken in multiply-adds of the peak measured in the same run, so that a slower machine is no regression;
 * what may be noise follows from how far the rounds of both files lie apart.
 */
export function compare(before: BenchResults, after: BenchResults): Change[] {
  const old = figures(before);
  return [...figures(after)].flatMap(([name, rounds]) => {
    const reference = old.get(name);
    return reference ? [change(name, reference, rounds)] : [];
  });
}

function change(name: string, before: readonly number[], after: readonly number[]): Change {
  const ratio = Math.min(...after) / Math.min(...before);
  const noise = 1 + LEAST_NOISE + spread(before) + spread(after);
  const verdict = ratio > noise ? 'slower' : ratio < 1 / noise ? 'faster' : 'same';
  return { name, ratio, noise, verdict };
}

/** How far the middle one of the rounds' best times lies above the best, as a share of it. */
function spread(rounds: readonly number[]): number {
  const sorted = [...rounds].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]! / sorted[0]! - 1;
}

/** Rounds by name, in operations of the peak. */
function figures({ cases, races, peaks }: BenchResults): Map<string, number[]> {
  const scaled = (rounds: readonly number[]) => rounds.map((ms) => ms * peaks.gflops);
  const ours = races.flatMap(({ name, laps }): [string, LapResult][] => {
    const lap = laps.find(({ side, rounds }) => side === 'ours' && rounds.length > 0);
    return lap ? [[`race: ${name}`, lap]] : [];
  });
  const all: [string, Pick<CaseResult, 'rounds'>][] = [
    ...cases.map((each): [string, CaseResult] => [`${each.family}: ${each.name}`, each]),
    ...ours,
  ];
  return new Map(all.map(([name, { rounds }]) => [name, scaled(rounds)]));
}

/** Reads a file of the suite. @throws ZodError where it is none */
export async function readResults(path: string | URL): Promise<BenchResults> {
  return benchSchema.parse(JSON.parse(await readFile(path, 'utf8')));
}

async function main(paths: readonly string[]): Promise<number> {
  if (paths.length !== 2) {
    console.error('Usage: node --import tsx bench/compare.ts OLD.json NEW.json');
    return 2;
  }
  const [before, after] = (await Promise.all(paths.map(readResults))) as [BenchResults, BenchResults];
  if (before.adapter.label !== after.adapter.label) {
    console.error(`The adapters differ: ${before.adapter.label} and ${after.adapter.label}`);
    return 2;
  }
  const changes = compare(before, after).sort((a, b) => b.ratio - a.ratio);
  for (const { name, ratio, noise, verdict } of changes) {
    if (verdict !== 'same')
      console.log(`${verdict} ${ratio.toFixed(2)} x (noise ${noise.toFixed(2)})  ${name}`);
  }
  const count = (wanted: Change['verdict']) => changes.filter(({ verdict }) => verdict === wanted).length;
  console.log(`${changes.length} compared: ${count('slower')} slower, ${count('faster')} faster`);
  return count('slower') > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  process.exitCode = await main(process.argv.slice(2));
