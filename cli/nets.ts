import type { Command } from 'commander';
import {
  costOf,
  diagonalFisher,
  fisherBytes,
  trainingBytes,
  trainingStep,
  uploadBatch,
} from '../algorithms/index.ts';
import { type Gpu, Random, sgd } from '../engine/index.ts';
import {
  type Architecture,
  Network,
  type NetworkName,
  networks,
  type Stem,
  stemsOf,
} from '../models/index.ts';
import { addCommand, type CommonOptions, openGpu, printResult, table, wholeNumber } from './command.ts';
import { randomExamples } from './labelled-images.ts';

interface NetsOptions extends CommonOptions {
  batch: number;
  measure?: boolean;
}

interface Listed {
  net: string;
  stem: Stem;
  input: readonly number[];
  parameters: number;
  multiplyAdds: number;
  /** Bytes beside the weights, as reckoned without running. */
  trainingBytes: number;
  fisherBytes: number;
  measured?: { trainingBytes: number; fisherBytes: number; trainingSeconds: number; fisherSeconds: number };
}

export function addNets(program: Command): void {
  addCommand(program, 'nets', {
    description: 'list the built-in networks with their sizes, work and memory',
    example: 'nets --batch 8 --measure',
  })
    .option('--batch <n>', 'images of a training step and of a Fisher pass', wholeNumber(1), 8)
    .option('--measure', 'also run a training step and a Fisher pass of each (cifar stem)')
    .action(run);
}

async function run(options: NetsOptions): Promise<void> {
  const { batch } = options;
  using gpu = await openGpu(options);
  const list: Listed[] = [];
  for (const net of Object.keys(networks) as NetworkName[]) {
    for (const stem of stemsOf(net)) {
      const architecture = networks[net]({ classes: stem === 'cifar' ? 10 : 1000, stem });
      list.push({
        net,
        stem,
        input: architecture.input,
        ...costOf(gpu, architecture),
        trainingBytes: trainingBytes(gpu, architecture, batch),
        fisherBytes: fisherBytes(gpu, architecture, batch),
        ...(options.measure && stem === 'cifar' && { measured: await measure(gpu, architecture, batch) }),
      });
    }
  }
  printResult(options, { adapter: gpu.opened.label, batch, networks: list }, () => describe(list, options));
}

/** Bytes and seconds of a second run, when kernels have been compiled. */
async function measure(
  gpu: Gpu,
  architecture: Architecture,
  batch: number,
): Promise<NonNullable<Listed['measured']>> {
  using network = Network.initialise(gpu, architecture, new Random(0));
  const examples = randomExamples(architecture, batch);
  const weights = [...network.tensors.values()].reduce((sum, tensor) => sum + tensor.pooled.bytes, 0);
  const timed = async (body: () => Promise<void>): Promise<[bytes: number, seconds: number]> => {
    await body();
    gpu.trim();
    const begin = performance.now();
    await body();
    return [gpu.peakBytes - weights, (performance.now() - begin) / 1000];
  };
  const [fisherPeak, fisherSeconds] = await timed(async () => {
    await diagonalFisher(network, examples, { chunk: batch });
  });
  const [trainingPeak, trainingSeconds] = await timed(async () => {
    using optimizer = sgd(gpu, [...network.parameters.values()], { learningRate: 1e-3 });
    gpu.scope(() => {
      const positions = examples.index;
      trainingStep(network, optimizer, uploadBatch(network, examples, positions), new Random(0));
    });
    await gpu.finish();
  });
  return { trainingBytes: trainingPeak, fisherBytes: fisherPeak, trainingSeconds, fisherSeconds };
}

function describe(list: readonly Listed[], { batch, measure }: NetsOptions): string {
  const million = (count: number) => `${(count / 1e6).toFixed(count < 1e8 ? 2 : 0)} M`;
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(bytes < 1e8 ? 1 : 0)} MiB`;
  const head = ['network', 'stem', 'input', 'parameters', 'multiply-adds', 'training', 'Fisher'];
  const rows = list.map((entry) => [
    entry.net,
    entry.stem,
    entry.input.join('x'),
    million(entry.parameters),
    million(entry.multiplyAdds),
    mib(entry.trainingBytes),
    mib(entry.fisherBytes),
    ...(measure ? measuredCells(entry, mib) : []),
  ]);
  const more = measure ? ['training, measured', 'Fisher, measured'] : [];
  return [
    table([...head, ...more], rows),
    `Multiply-adds are of one image; memory is that of ${batch} images, weights apart`,
  ].join('\n');
}

function measuredCells({ measured }: Listed, mib: (bytes: number) => string): string[] {
  if (!measured) return ['', ''];
  return [
    `${mib(measured.trainingBytes)}, ${measured.trainingSeconds.toFixed(2)} s`,
    `${mib(measured.fisherBytes)}, ${measured.fisherSeconds.toFixed(2)} s`,
  ];
}
