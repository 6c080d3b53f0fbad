import { join } from 'node:path';
import type { Command } from 'commander';
import { type StudyResults, studyResultsSchema } from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';
import { writeReport } from '../report/index.ts';
import { addCommand, type CommonOptions, printResult } from './command.ts';
import { readInput } from './files.ts';

const NO_ADAPTER = 'accepted as everywhere, but no adapter is needed';

export function addReport(program: Command): void {
  addCommand(program, 'report', {
    description: "draw a study's report anew from its results.json",
    example: 'report mnist-results',
    adapter: NO_ADAPTER,
  })
    .argument('<folder>', 'the folder of a study, with its results.json')
    .option('--out <folder>', 'where the report goes (default: the same folder)')
    .action(async (folder: string, options: CommonOptions & { out?: string }) => {
      const files = await writeReport(await readResults(folder), options.out ?? folder);
      printResult(options, { files }, () => files.join('\n'));
    });
}

/**
 * Reads `results.json` of a study's folder.
 * @throws FathomError `bad-results` where it is not such a file, or what {@link readInput} throws
 */
export async function readResults(folder: string): Promise<StudyResults> {
  const path = join(folder, 'results.json');
  const text = new TextDecoder().decode(await readInput(path));
  const refuse = (why: string): FathomError =>
    new FathomError({
      code: 'bad-results',
      message: `${path} is not the results of a study: ${why}`,
      fix: 'Name the folder that fathom run wrote, or run the study again',
    });
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw refuse(`it is not JSON (${(error as Error).message})`);
  }
  const parsed = studyResultsSchema.safeParse(document);
  if (!parsed.success) {
    const { path: at, message } = parsed.error.issues[0]!;
    throw refuse(`${at.join('.') || 'the whole'}: ${message}`);
  }
  const wrong = misshapen(parsed.data);
  if (wrong) throw refuse(wrong);
  return parsed.data;
}

/** What is not of as many tasks as there are; a schema cannot tell. */
function misshapen({
  tasks,
  distance,
  closest,
  rankings,
  layers,
  comparators,
}: StudyResults): string | undefined {
  const n = tasks.length;
  const square = (matrix: readonly (readonly unknown[])[]) =>
    matrix.length === n && matrix.every((row) => row.length === n);
  const bounds = [distance.overTrials, distance.overSamples].flatMap((of) =>
    of ? [of.lower, of.upper] : [],
  );
  const matrices: [string, readonly (readonly unknown[])[]][] = [
    ...distance.trials.map((matrix, i): [string, number[][]] => [`distance.trials.${i}`, matrix]),
    ['distance.mean', distance.mean],
    ['distance.sigma', distance.sigma],
    ...bounds.map((matrix): [string, number[][]] => ['an interval of distance', matrix]),
    ...layers.map(({ name, share }): [string, number[][]] => [`the layer ${name}`, share]),
    ...comparators.flatMap(({ name, mean, sigma }): [string, (number | null)[][]][] => [
      [`the comparator ${name}`, mean],
      [`the comparator ${name}`, sigma],
    ]),
  ];
  const bad = matrices.find(([, matrix]) => !square(matrix));
  if (bad) return `${bad[0]} is not ${n} by ${n}, as there are ${n} tasks`;
  if (n === 0 || distance.trials.length === 0) return `it has no ${n === 0 ? 'task' : 'trial'}`;
  const inside = (task: number) => task < n;
  const known =
    closest.length === n &&
    closest.every(inside) &&
    rankings.every(
      ({ target, order, wins, probability }) =>
        [target, ...order].every(inside) && wins.length === n && probability.length === n,
    ) &&
    comparators.every(
      (each) => each.closest.length === n && each.kendall.length === n && each.closest.every(inside),
    );
  return known ? undefined : `a ranking names tasks that are not there`;
}
