import type { Command } from 'commander';
import { fisherDistance, trace } from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';
import { addCommand, type CommonOptions, percent, printResult, table } from './command.ts';
import { type FisherFile, readFisherFile, traceShares } from './fisher-file.ts';

export function addDistance(program: Command): void {
  addCommand(program, 'distance', {
    description: 'the Fisher task distance from a source to a target, of two files of `fathom fisher`',
    example: 'distance source-fisher.safetensors target-fisher.safetensors',
    adapter: 'accepted as everywhere, but no adapter is needed: a distance is computed on the CPU',
  })
    .argument('<source>', "Fisher of the source's network on the target's images")
    .argument('<target>', "Fisher of the target's own network on the same images")
    .action(run);
}

async function run(sourcePath: string, targetPath: string, options: CommonOptions): Promise<void> {
  const source = await readFisherFile(sourcePath);
  const target = await readFisherFile(targetPath);
  checkComparable(source, sourcePath, target, targetPath);
  if (source.fisher.samples !== target.fisher.samples) {
    console.error(
      `Warning: ${sourcePath} was measured on ${source.fisher.samples} images and ${targetPath} on ${target.fisher.samples}; both should be measured on the same images of the target.`,
    );
  }
  const distance = naming(sourcePath, targetPath, () => fisherDistance(source.fisher, target.fisher));
  const side = ({ fisher }: FisherFile, file: string) => ({
    file,
    samples: fisher.samples,
    trace: trace(fisher),
    parameters: traceShares(fisher),
  });
  const document = {
    net: source.net,
    estimator: source.estimator,
    distance,
    distanceSquared: distance ** 2,
    source: side(source, sourcePath),
    target: side(target, targetPath),
  };
  printResult(options, document, () => {
    const rows = document.source.parameters.map(({ name, share }, i) => {
      return [name, percent(share), percent(document.target.parameters[i]!.share)];
    });
    return [
      table(['share of the trace', 'source', 'target'], rows),
      `d   ${distance.toFixed(6)}  (0: the same, 1: nothing in common)`,
      `d^2 ${document.distanceSquared.toFixed(6)}`,
    ].join('\n');
  });
}

function checkComparable(
  source: FisherFile,
  sourcePath: string,
  target: FisherFile,
  targetPath: string,
): void {
  for (const [what, a, b] of [
    ['network', source.net, target.net],
    ['estimator', source.estimator, target.estimator],
  ] as const) {
    if (a === b) continue;
    throw new FathomError({
      code: 'fisher-mismatch',
      message: `${sourcePath} is of the ${what} ${a}, but ${targetPath} of ${b}`,
      fix: `Measure both with the same ${what}`,
    });
  }
}

/** Puts the two files' names before what is wrong with their Fishers. */
function naming<T>(source: string, target: string, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    if (!(cause instanceof FathomError)) throw cause;
    const { code, message, fix } = cause;
    throw new FathomError({
      code,
      message: `${source} (source) and ${target} (target): ${message}`,
      fix,
      cause,
    });
  }
}
