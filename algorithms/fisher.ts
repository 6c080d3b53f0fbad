import type { Examples } from '../data/index.ts';
import { add, FathomError, softmaxCrossEntropy, Tape, type Tensor } from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';
import { batches, uploadBatch } from './evaluate.ts';

/** A diagonal empirical Fisher: one entry a parameter, mean over samples, not normalised. */
export interface FisherDiagonal {
  /** By PyTorch parameter name, in PyTorch's layout. */
  entries: StateDict;
  samples: number;
}

export interface FisherOptions {
  /** Examples used, from the first; all of them if fewer. */
  samples?: number;
  /** Images a pass; the result depends on it by rounding alone. */
  batch?: number;
  /** Width of the label space: logits beyond the head's are taken as constant zeros (paper section 1.4). */
  labelSpace?: number;
  /** Called after each pass with the number of images done, and of all. */
  onProgress?: (done: number, samples: number) => void;
}

const BATCH = 64;

/**
 * Diagonal of the empirical Fisher information with true labels: the mean over samples of the squared gradient of
 * each sample's own log-likelihood, (1/N) sum over n of (d log p(y_n | x_n) / d theta)^2 (paper section 1.2).
 * @throws FathomError `fisher-not-finite` naming the parameters concerned
 */
export async function diagonalFisher(
  network: Network,
  examples: Examples,
  options: FisherOptions = {},
): Promise<FisherDiagonal> {
  const samples = Math.min(options.samples ?? examples.index.length, examples.index.length);
  let sum: Tensor<'f32'>[] | undefined;
  for (const positions of batches(samples, options.batch ?? BATCH)) {
    const before: Tensor<'f32'>[] | undefined = sum;
    sum = network.gpu.scope(() => {
      const { images, labels } = uploadBatch(network, examples, positions);
      const squares = squaredGradientSum(network, images, labels, options.labelSpace);
      const tape = new Tape(network.gpu);
      return squares.map((square, i) => (before ? add(tape, before[i]!, square) : square));
    });
    for (const tensor of before ?? []) tensor.dispose();
    await network.gpu.finish();
    options.onProgress?.(positions.at(-1)! + 1, samples);
  }
  return collect(network, sum ?? [], samples);
}

function squaredGradientSum(
  network: Network,
  images: Tensor<'f32'>,
  labels: Tensor<'u32'>,
  labelSpace = network.architecture.classes,
): Tensor<'f32'>[] {
  const parameters = [...network.parameters.values()];
  const tape = new Tape(network.gpu).watch(parameters);
  const logits = network.forward(tape, images);
  const zeroLogits = Math.max(0, labelSpace - network.architecture.classes);
  return tape.squaredGradients(softmaxCrossEntropy(tape, logits, labels, zeroLogits), parameters);
}

async function collect(network: Network, sum: Tensor<'f32'>[], samples: number): Promise<FisherDiagonal> {
  const values = await Promise.all(sum.map((tensor) => tensor.read()));
  const entries: StateDict = new Map();
  for (const [i, [name, parameter]] of [...network.parameters].entries()) {
    entries.set(name, { shape: parameter.shape, data: values[i]!.map((value) => value / samples) });
    sum[i]!.dispose();
  }
  const broken = [...entries].filter(([, { data }]) => data.some((value) => !Number.isFinite(value)));
  if (broken.length > 0) {
    throw new FathomError({
      code: 'fisher-not-finite',
      message: `The Fisher of ${network.architecture.name} is not finite in ${broken.map(([name]) => name).join(', ')}`,
      fix: 'Check the images and weights for NaN or very large values',
    });
  }
  return { entries, samples };
}

/** Sum of all entries, in float64. */
export function trace(fisher: FisherDiagonal): number {
  let total = 0;
  for (const { data } of fisher.entries.values()) for (const value of data) total += value;
  return total;
}
