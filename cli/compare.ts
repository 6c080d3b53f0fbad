import type { Command } from 'commander';
import { compareStudies, overview, type StudyComparison } from '../report/compare.ts';
import { addCommand, type CommonOptions, printResult, table } from './command.ts';
import { readResults } from './report.ts';

/** Pairs and settings that the text lists; JSON has all. */
const LISTED = 30;

export function addCompare(program: Command): void {
  addCommand(program, 'compare', {
    description: 'compare the distances of two studies, task by task',
    example: 'compare mnist-results mnist-again-results',
    adapter: 'accepted as everywhere, but no adapter is needed',
  })
    .argument('<a>', 'the folder of a study, with its results.json')
    .argument('<b>', 'that of another, with tasks of the same names')
    .action(async (a: string, b: string, options: CommonOptions) => {
      const comparison = compareStudies(await readResults(a), await readResults(b));
      printResult(options, { a, b, ...comparison }, () => describeComparison(comparison));
    });
}

/** The comparison as tables and sentences for a terminal. */
export function describeComparison(comparison: StudyComparison): string {
  const { tasks, onlyA, onlyB, pairs, targets, spearman, settings } = comparison;
  const { largest, mean, apart } = overview(comparison);
  const changed = targets.filter(({ closestA, closestB }) => closestA !== closestB);
  const known = pairs.filter(({ error }) => error !== null).length;
  const size = (value: number) => `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(4)}`;
  const rows = pairs
    .toSorted((x, y) => Math.abs(y.t ?? y.difference) - Math.abs(x.t ?? x.difference))
    .slice(0, LISTED)
    .map(({ source, target, a, b, difference, error, t }) => [
      `${source} → ${target}`,
      a.toFixed(4),
      b.toFixed(4),
      size(difference),
      error === null ? '-' : error.toFixed(4),
      t === null ? '-' : t.toFixed(1),
    ]);
  return [
    `${tasks.length} tasks in common${missing('only in A', onlyA)}${missing('only in B', onlyB)}`,
    table(['source → target', 'A', 'B', 'B - A', 'its error', 'in errors'], rows),
    ...more(pairs.length, 'pairs'),
    `Mean difference ${mean.toFixed(4)}, largest ${size(largest.difference)} (${largest.source} → ${largest.target})`,
    known === 0
      ? 'A study has a single trial, so nothing says which differences are chance.'
      : `${apart} of ${known} pairs differ by more than two standard errors; of pairs that do not differ about one in twenty would, and more with few trials.`,
    '',
    table(
      ['target', 'closest in A', 'closest in B', 'Kendall'],
      targets.map(({ target, closestA, closestB, kendall }) => [
        target,
        closestA,
        closestA === closestB ? 'the same' : closestB,
        kendall === null ? '-' : kendall.toFixed(2),
      ]),
    ),
    `Closest sources: ${changed.length === 0 ? 'none changed' : `${changed.length} of ${targets.length} changed`}. Spearman of all distances: ${spearman === null ? 'none, one side is constant' : spearman.toFixed(3)}`,
    '',
    ...(settings.length === 0
      ? ['No setting differs.']
      : [
          table(
            ['differs', 'A', 'B'],
            settings.slice(0, LISTED).map(({ path, a, b }) => [path, short(a), short(b)]),
          ),
          ...more(settings.length, 'settings'),
        ]),
  ].join('\n');
}

function missing(what: string, names: readonly string[]): string {
  return names.length === 0 ? '' : `; ${what}: ${names.join(', ')}`;
}

function more(count: number, what: string): string[] {
  return count > LISTED ? [`and ${count - LISTED} more ${what}; --json has all`] : [];
}

function short(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 39)}…` : text;
}
