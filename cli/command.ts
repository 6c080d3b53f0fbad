import { createRequire } from 'node:module';
import process from 'node:process';
import Table from 'cli-table3';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type AdapterMode, Gpu, type Profiler } from '../engine/index.ts';

/** Fathom's own version. */
export const version: string = createRequire(import.meta.url)('fathom/package.json').version;

/** What every command takes. */
export interface CommonOptions {
  json?: boolean;
  adapter: AdapterMode;
  /** Whether what `fathom tune` found is used. */
  tune: boolean;
  /** The file named by `--profile`, and what collects its content. */
  profile?: string;
  profiler?: Profiler;
}

/** Adds a command with the options common to all, an example under its help, and `--adapter` described as told. */
export function addCommand(
  program: Command,
  usage: string,
  about: { description: string; example: string; adapter?: string },
): Command {
  const modes: AdapterMode[] = ['auto', 'hardware', 'software', 'embedded'];
  const adapter = about.adapter ?? 'where to compute';
  return program
    .command(usage)
    .description(about.description)
    .addOption(new Option('--adapter <mode>', adapter).choices(modes).default('auto'))
    .option('--no-tune', 'leave tiles to the planner, whatever fathom tune found')
    .option('--json', 'print one JSON document instead of text')
    .option('--profile <file>', 'write a trace of host and GPU for ui.perfetto.dev')
    .addHelpText('after', `\nExample:\n  $ fathom ${about.example}`);
}

/** Opens the GPU that a command computes on. @throws FathomError `no-adapter` */
export function openGpu({ adapter, profiler, tune }: CommonOptions): Promise<Gpu> {
  return Gpu.create({ mode: adapter, profiler, tuning: tune });
}

/** Writes a command's result to stdout: the document where JSON is asked for, else the text. */
export function printResult(options: CommonOptions, document: unknown, text: () => string): void {
  process.stdout.write(`${options.json ? JSON.stringify(document, null, 2) : text()}\n`);
}

/** Parses an option that is a whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Give a whole number of at least ${least}.`);
  };
}

/** A table for a terminal; columns after the first are aligned to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const made = new Table({
    head: [...head],
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  made.push(...rows.map((row) => [...row]));
  return made.toString();
}

/** A share as a percentage with two decimals. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
