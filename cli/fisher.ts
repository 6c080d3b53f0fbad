import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { diagonalFisher, type Estimator, estimatorLabel, trace } from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';
import {
  addCommand,
  type CommonOptions,
  openGpu,
  percent,
  printResult,
  table,
  wholeNumber,
} from './command.ts';
import { checkWritable } from './files.ts';
import { traceShares, writeFisherFile } from './fisher-file.ts';
import { readExamples } from './labelled-images.ts';
import { addNetworkOptions, type NetworkChoice, prepareNetwork } from './network-options.ts';
import { startProgress } from './progress.ts';

interface FisherCommandOptions extends CommonOptions, NetworkChoice {
  weights: string;
  data: string;
  out: string;
  estimator: Estimator['name'];
  draws: number;
  seed: number;
  batch?: number;
  reduction: 'none' | 'axis-mean';
  samples?: number;
  budget?: number;
}

const MIB = 2 ** 20;
/** Parameters that the text lists; JSON has all. */
const LISTED = 40;

export function addFisher(program: Command): void {
  const command = addCommand(program, 'fisher', {
    description: 'measure the diagonal Fisher information of a network on labelled images',
    example:
      'fisher --net resnet18 --weights source.safetensors --data target-images.safetensors --out source-fisher.safetensors',
  });
  addNetworkOptions(command)
    .requiredOption(
      '--weights <file>',
      "safetensors with the network's tensors, in PyTorch's names and layout",
    )
    .requiredOption('--data <file>', 'safetensors with `images` (N, C, H, W; F32) and `labels` (N; I64)')
    .requiredOption('--out <file>', 'where the Fisher goes: one F32 tensor a parameter')
    .addOption(
      new Option(
        '--estimator <which>',
        'true labels, expectation over the labels of the model, draws from it, or squared batch means',
      )
        .choices(['empirical', 'exact', 'sampled', 'batch'])
        .default('empirical'),
    )
    .option('--draws <n>', 'labels drawn for each image (sampled)', wholeNumber(1), 10)
    .option('--seed <n>', 'of the draws (sampled)', wholeNumber(0), 0)
    .option('--batch <n>', 'images of which a gradient is the mean (batch); must be given', wholeNumber(1))
    .addOption(
      new Option('--reduction <how>', "axis-mean: means over the first axis, as in the paper's released code")
        .choices(['none', 'axis-mean'])
        .default('none'),
    )
    .option('--samples <n>', 'images used, from the first (default: all)', wholeNumber(1))
    .option('--budget <MiB>', 'memory of a pass beside the weights; the result is the same', wholeNumber(1))
    .action(run);
}

async function run(options: FisherCommandOptions): Promise<void> {
  await checkOutput(options);
  const estimator = estimatorOf(options);
  const { reduction, samples } = options;
  const { architecture, open } = await prepareNetwork(options);
  const examples = await readExamples(options.data, architecture);
  using gpu = await openGpu(options);
  using network = open(gpu);
  using progress = startProgress();
  const fisher = await diagonalFisher(network, examples, {
    estimator,
    reduction,
    samples,
    budget: options.budget && options.budget * MIB,
    onProgress: (done, all) => progress.show('measuring', done, all),
  });

  const about = {
    net: architecture.name,
    estimator: estimatorLabel(estimator, reduction),
    head: architecture.head,
    adapter: gpu.opened.label,
  };
  await writeFisherFile(options.out, { fisher, ...about });
  const parameters = traceShares(fisher);
  const document = { ...about, samples: fisher.samples, trace: trace(fisher), parameters, out: options.out };
  printResult(options, document, () => {
    const rows = parameters.slice(0, LISTED).map(({ name, shape, sum, share }) => {
      return [name, shape.join(' x '), sum.toPrecision(6), percent(share)];
    });
    const rest = parameters.length - rows.length;
    return [
      table(['parameter', 'shape', 'sum', 'share'], rows),
      ...(rest > 0 ? [`and ${rest} more; --json lists them all`] : []),
      `Trace ${document.trace.toPrecision(6)} over ${fisher.samples} images, ${about.estimator} estimator, on ${about.adapter}`,
      `Wrote ${options.out}`,
    ].join('\n');
  });
}

function estimatorOf({ estimator, draws, seed, batch }: FisherCommandOptions): Estimator {
  if (estimator === 'sampled') return { name: 'sampled', draws, seed };
  if (estimator !== 'batch') return { name: estimator };
  if (batch !== undefined) return { name: 'batch', size: batch };
  throw new FathomError({
    code: 'no-batch-size',
    message: 'The batch estimator depends on the batch size, and none was given',
    fix: 'Give --batch; the released code took 10 for CIFAR-10 and 50 for MNIST',
  });
}

async function checkOutput({ out, weights, data }: FisherCommandOptions): Promise<void> {
  for (const input of [weights, data]) {
    if (resolve(input) !== resolve(out)) continue;
    throw new FathomError({
      code: 'output-is-input',
      message: `${out} is an input and would be overwritten`,
      fix: 'Give --out another name',
    });
  }
  await checkWritable(out);
}
