import { type Command, Option } from 'commander';
import {
  type DistanceOptions,
  distanceContributions,
  fisherDistance,
  type LayerContribution,
  trace,
} from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';
import { addCommand, type CommonOptions, percent, printResult, table } from './command.ts';
import { type FisherFile, readFisherFile, traceShares } from './fisher-file.ts';

type DistanceCommandOptions = CommonOptions & Required<Pick<DistanceOptions, 'normalise' | 'value' | 'head'>>;

/** Layers that the text lists; JSON has all. */
const LISTED = 15;

export function addDistance(program: Command): void {
  addCommand(program, 'distance', {
    description: 'the Fisher task distance from a source to a target, of two files of `fathom fisher`',
    example: 'distance source-fisher.safetensors target-fisher.safetensors',
    adapter: 'accepted as everywhere, but no adapter is needed: a distance is computed on the CPU',
  })
    .argument('<source>', "Fisher of the source's network on the target's images")
    .argument('<target>', "Fisher of the target's own network on the same images")
    .addOption(
      new Option('--normalise <how>', 'scale to unit trace: over the whole network, each layer, or not')
        .choices(['trace', 'layer', 'none'])
        .default('trace'),
    )
    .addOption(new Option('--value <which>', 'the distance or its square').choices(['d', 'd2']).default('d'))
    .addOption(
      new Option('--head <how>', 'continue the narrower task head by zeros, or leave the heads out')
        .choices(['zero-pad', 'drop'])
        .default('zero-pad'),
    )
    .action(run);
}

async function run(sourcePath: string, targetPath: string, options: DistanceCommandOptions): Promise<void> {
  const source = await readFisherFile(sourcePath);
  const target = await readFisherFile(targetPath);
  checkComparable(source, sourcePath, target, targetPath);
  if (source.fisher.samples !== target.fisher.samples) {
    console.error(
      `Warning: ${sourcePath} was measured on ${source.fisher.samples} images and ${targetPath} on ${target.fisher.samples}; both should be measured on the same images of the target.`,
    );
  }
  const { normalise, value, head } = options;
  const headNames = [...new Set([...(source.head ?? []), ...(target.head ?? [])])];
  const comparison = { normalise, head, headNames };
  const { distance, layers } = naming(sourcePath, targetPath, () => ({
    distance: fisherDistance(source.fisher, target.fisher, comparison),
    layers: distanceContributions(source.fisher, target.fisher, comparison).layers,
  }));
  const side = ({ fisher }: FisherFile, file: string) => ({
    file,
    samples: fisher.samples,
    trace: trace(fisher),
    parameters: traceShares(fisher),
  });
  const document = {
    net: source.net,
    estimator: source.estimator,
    normalise,
    head,
    value,
    distance,
    distanceSquared: distance ** 2,
    contributions: layers,
    source: side(source, sourcePath),
    target: side(target, targetPath),
  };
  printResult(options, document, () => {
    const number = (x: number) => (normalise === 'none' ? x.toPrecision(6) : x.toFixed(6));
    const name = value === 'd2' ? 'd^2' : 'd  ';
    const asked = value === 'd2' ? document.distanceSquared : distance;
    const lines = [contributionTable(layers, number), `${name} ${number(asked)}  (${MEANING[normalise]})`];
    if (head === 'drop') lines.push(`Left out as the head: ${headNames.join(', ')}`);
    return lines.join('\n');
  });
}

const MEANING = {
  trace: '0: the same, 1: nothing in common',
  layer: 'mean over layers; 0: the same, 1: nothing in common',
  none: '0: the same; not normalised, so without an upper bound',
} as const;

/** The layers that add most, and how many more there are. */
function contributionTable(layers: readonly LayerContribution[], number: (x: number) => string): string {
  const rows = layers
    .toSorted((a, b) => b.contribution - a.contribution)
    .slice(0, LISTED)
    .map(({ name, contribution, share }) => [name, number(contribution), percent(share)]);
  const text = table(['layer', 'contribution to d^2', 'share'], rows);
  const rest = layers.length - rows.length;
  return rest > 0 ? `${text}\nand ${rest} more layer${rest === 1 ? '' : 's'}` : text;
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
      // A command's user names no parameters: the files do.
      fix: code === 'no-head' ? 'Use --head zero-pad, or Fishers of networks with a task head' : fix,
      cause,
    });
  }
}
