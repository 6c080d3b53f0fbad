import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { diagonalFisher, trace } from '../algorithms/index.ts';
import { checkLabels, type Examples } from '../data/index.ts';
import { FathomError, Gpu, parseSafetensors } from '../engine/index.ts';
import type { SafetensorsTensor } from '../engine/safetensors.ts';
import { type Architecture, cnn, Network } from '../models/index.ts';
import { addCommand, type CommonOptions, percent, printResult, table, wholeNumber } from './command.ts';
import { checkWritable, readInput } from './files.ts';
import { floatTensors, traceShares, writeFisherFile } from './fisher-file.ts';
import { startProgress } from './progress.ts';

interface FisherCommandOptions extends CommonOptions {
  net: string;
  weights: string;
  data: string;
  out: string;
  batch: number;
}

/** Networks by the name the command takes. */
const NETWORKS: Readonly<Record<string, () => Architecture>> = { cnn };

export function addFisher(program: Command): void {
  addCommand(program, 'fisher', {
    description: 'measure the diagonal Fisher information of a network on labelled images',
    example:
      'fisher --net cnn --weights source.safetensors --data target-images.safetensors --out source-fisher.safetensors',
  })
    .addOption(new Option('--net <name>', 'the network').choices(Object.keys(NETWORKS)).makeOptionMandatory())
    .requiredOption(
      '--weights <file>',
      "safetensors with the network's parameters, in PyTorch's names and layout",
    )
    .requiredOption('--data <file>', 'safetensors with `images` (N, C, H, W; F32) and `labels` (N; I64)')
    .requiredOption('--out <file>', 'where the Fisher goes: one F32 tensor a parameter')
    .option('--batch <n>', 'images a pass; changes the result by rounding alone', wholeNumber(1), 64)
    .action(run);
}

async function run(options: FisherCommandOptions): Promise<void> {
  const architecture = NETWORKS[options.net]!();
  await checkOutput(options);
  const weights = parseSafetensors(await readInput(options.weights), options.weights);
  const state = floatTensors(weights.tensors, options.weights);
  const data = parseSafetensors(await readInput(options.data), options.data);
  const examples = labelledImages(data.tensors, options.data, architecture);

  using gpu = await Gpu.create({ mode: options.adapter });
  using network = Network.fromState(gpu, architecture, state, options.weights);
  using progress = startProgress();
  const fisher = await diagonalFisher(network, examples, {
    batch: options.batch,
    onProgress: (done, samples) => progress.show('measuring', done, samples),
  });

  const about = { net: options.net, estimator: 'empirical', adapter: gpu.opened.label };
  await writeFisherFile(options.out, { fisher, ...about });
  const parameters = traceShares(fisher);
  const document = { ...about, samples: fisher.samples, trace: trace(fisher), parameters, out: options.out };
  printResult(options, document, () => {
    const rows = parameters.map(({ name, shape, sum, share }) => [
      name,
      shape.join(' x '),
      sum.toPrecision(6),
      percent(share),
    ]);
    return [
      table(['parameter', 'shape', 'sum', 'share'], rows),
      `Trace ${document.trace.toPrecision(6)} over ${fisher.samples} images, on ${about.adapter}`,
      `Wrote ${options.out}`,
    ].join('\n');
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

/** Images and labels of a data file, as the architecture takes them. @throws FathomError naming the file */
function labelledImages(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  path: string,
  architecture: Architecture,
): Examples {
  const [height, width, channels] = architecture.input;
  const images = tensors.get('images');
  const labels = tensors.get('labels');
  const wanted = `images as F32 [N, ${channels}, ${height}, ${width}] and labels as I64 [N]`;
  const wrong = (what: string, fix = `Give ${wanted}`) => {
    return new FathomError({ code: 'bad-data', message: `${path} ${what}`, fix });
  };
  if (!images || !labels) {
    throw wrong(
      `has no tensor ${[!images && 'images', !labels && 'labels'].filter(Boolean).join(' and no tensor ')}`,
    );
  }
  const count = images.shape[0] ?? 0;
  if (
    images.dtype !== 'F32' ||
    images.shape.slice(1).join() !== [channels, height, width].join() ||
    count === 0
  ) {
    throw wrong(
      `has images of type ${images.dtype} and shape [${images.shape}], which ${architecture.name} does not take`,
    );
  }
  if (labels.dtype !== 'I64' || labels.shape.length !== 1) {
    throw wrong(`has labels of type ${labels.dtype} and shape [${labels.shape}]`);
  }
  if (labels.data.length !== count) {
    throw wrong(`has ${count} images, but ${labels.data.length} labels`, 'Give one label for each image');
  }
  const classNumbers = Array.from(labels.data, Number);
  checkLabels(path, classNumbers, architecture.classes);
  const broken = images.data.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) {
    const image = Math.floor(broken / (channels * height * width));
    throw wrong(`holds ${images.data[broken]} in image ${image}`, 'Give images of finite values alone');
  }
  return {
    images: {
      name: path,
      count,
      height,
      width,
      channels,
      pixels: toChannelsLast(images.data, channels, height * width),
      labels: Uint32Array.from(classNumbers),
      classes: architecture.classes,
    },
    index: Uint32Array.from({ length: count }, (_, i) => i),
    labels: Uint32Array.from(classNumbers),
  };
}

/** NCHW to NHWC. */
function toChannelsLast(values: Float32Array, channels: number, pixels: number): Float32Array {
  if (channels === 1) return values;
  const size = channels * pixels;
  return values.map((_, i) => {
    const [image, pixel, channel] = [Math.floor(i / size), Math.floor((i % size) / channels), i % channels];
    return values[image * size + channel * pixels + pixel]!;
  });
}
