import type { Examples } from '../data/index.ts';
import {
  add,
  FathomError,
  labelScores,
  Random,
  SampleSums,
  sampleLabels,
  scale,
  sizeOf,
  squared,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';
import { chunkUnder, defaultBudget } from './memory.ts';
import { type Batch, sampleLosses, uploadBatch, zeroLogitsFor } from './objective.ts';

/** A diagonal Fisher: one entry a parameter, mean over samples, not normalised. */
export interface FisherDiagonal {
  /** By PyTorch parameter name, in PyTorch's layout. */
  entries: StateDict;
  samples: number;
}

/**
 * Which Fisher is taken; g is the gradient of one sample's loss.
 * - `empirical`: mean of g^2 with the true labels (the definition, paper section 1.2).
 * - `exact`: mean of the expectation of g^2 over labels drawn from the model. Of a network that gives images, only
 *   `outputs` are taken as observed, if given.
 * - `sampled`: the same by `draws` labels a sample, drawn from the model with `seed`.
 * - `batch`: mean over batches of `size` samples of the square of the batch's mean gradient, as in the paper's
 *   released code; it depends on the size, and with 1 is `empirical`.
 */
export type Estimator =
  | { name: 'empirical' }
  | { name: 'exact'; outputs?: readonly number[] }
  | { name: 'sampled'; draws: number; seed: number }
  | { name: 'batch'; size: number };

/** Names an estimator with all that its result depends on; written into every result. */
export function estimatorLabel(estimator: Estimator, reduction: FisherOptions['reduction'] = 'none'): string {
  const settings = settingsOf(estimator);
  const kind = settings ? `${estimator.name} (${settings})` : estimator.name;
  return reduction === 'none' ? kind : `${kind}, ${reduction}`;
}

function settingsOf(estimator: Estimator): string | undefined {
  if (estimator.name === 'sampled') return `${estimator.draws} draws, seed ${estimator.seed}`;
  if (estimator.name === 'batch') return String(estimator.size);
  if (estimator.name === 'exact' && estimator.outputs) return `outputs ${estimator.outputs.join(', ')}`;
  return undefined;
}

export interface FisherOptions {
  /** Defaults to `empirical`. */
  estimator?: Estimator;
  /** `axis-mean` replaces entries by their mean over the first axis, as the paper's released code does. */
  reduction?: 'none' | 'axis-mean';
  /** Examples used, from the first; all of them if fewer. */
  samples?: number;
  /** Images a pass at the most; the result does not depend on it. */
  chunk?: number;
  /** Bytes a pass may take beside the weights; fewer images go into one where needed. */
  budget?: number;
  /** Width of the label space: logits beyond the head's are taken as constant zeros (paper section 1.4). */
  labelSpace?: number;
  /** Called after each chunk with the number of images done, and of all; an image counts once a pass. */
  onProgress?: (done: number, samples: number) => void;
}

const CHUNK = 64;
/** Outputs of a network that gives images, beyond which the exact expectation has too many passes. */
const MOST_OUTPUTS = 4096;

/** One pass over all samples: what is taken back from which tensor, with which factors. */
type Pass = (
  tape: Tape,
  outputs: Tensor<'f32'>,
  batch: Batch,
  positions: Uint32Array,
) => {
  output: Tensor<'f32'>;
  upstream?: Tensor<'f32'>;
};

/**
 * Diagonal of the Fisher information, in evaluation mode. Images go through the network in chunks under a byte
 * budget; the result has the same bits whatever the chunk.
 * @throws FathomError `fisher-not-finite` naming the parameters concerned; `budget-too-small`;
 * `exact-too-many-outputs`; `bad-estimator`
 */
export async function diagonalFisher(
  network: Network,
  examples: Examples,
  options: FisherOptions = {},
): Promise<FisherDiagonal> {
  const { gpu, architecture } = network;
  const { estimator = { name: 'empirical' } } = options;
  const samples = Math.min(options.samples ?? examples.index.length, examples.index.length);
  const budget = options.budget ?? defaultBudget(gpu);
  const chunk = chunkUnder(gpu, architecture, samples, budget, options.chunk ?? CHUNK);
  if (options.budget !== undefined) gpu.trim();
  const passes = passesOf(network, samples, estimator, options.labelSpace);
  const parameters = [...network.parameters.values()];
  let done = 0;

  const addRange = async (sums: SampleSums, pass: Pass, from: number, to: number) => {
    for (let start = from; start < to; start += chunk) {
      const positions = range(start, Math.min(start + chunk, to));
      gpu.scope(() => {
        const batch = uploadBatch(network, examples, positions);
        const tape = new Tape(gpu).watch(parameters);
        const outputs = network.forward(tape, batch.images);
        const { output, upstream } = pass(tape, outputs, batch, positions);
        tape.accumulate(output, sums, upstream);
      });
      await gpu.finish();
      done += positions.length;
      options.onProgress?.(done, samples * passes.length);
    }
  };

  using sums = new SampleSums(gpu, parameters, 'square');
  if (estimator.name === 'batch') {
    const batches = Math.ceil(samples / estimator.size);
    const total = await squaredBatchMeans(network, samples, estimator.size, (gradients, from, to) =>
      addRange(gradients, passes[0]!, from, to),
    );
    return collect(network, total, samples, batches, options.reduction);
  }
  for (const pass of passes) await addRange(sums, pass, 0, samples);
  const draws = estimator.name === 'sampled' ? estimator.draws : 1;
  return collect(network, sums.totals(), samples, samples * draws, options.reduction);
}

/** The passes an estimator makes, each over all samples. */
function passesOf(network: Network, samples: number, estimator: Estimator, labelSpace?: number): Pass[] {
  const { classes, target } = network.architecture;
  const zeroLogits = zeroLogitsFor(network.architecture, labelSpace);
  if (estimator.name === 'exact') {
    const outputs = observedOutputs(network, estimator.outputs);
    if (target) {
      return outputs.map(
        (o): Pass =>
          (_tape, output) => ({
            output,
            upstream: outputScores(output, (size) => oneHot(size, o)),
          }),
      );
    }
    return Array.from(
      { length: classes + zeroLogits },
      (_, c): Pass =>
        (_tape, output) => ({
          output,
          upstream: labelScores(output, c, zeroLogits),
        }),
    );
  }
  if (estimator.name === 'sampled') {
    checkCount('draws', estimator.draws);
    return Array.from({ length: estimator.draws }, (_, i): Pass => {
      const random = new Random(estimator.seed).fork(`draw ${i}`);
      if (target)
        return (_tape, output) => ({ output, upstream: outputScores(output, (size) => random.normal(size)) });
      const uniforms = random.uniform(samples);
      return (tape, outputs, _batch, positions) => {
        const chosen = uniforms.slice(positions[0], positions.at(-1)! + 1);
        const drawn = network.gpu.tensor(chosen, [positions.length]);
        const labels = sampleLabels(outputs, drawn, zeroLogits);
        return { output: sampleLosses(tape, outputs, labels, zeroLogits) };
      };
    });
  }
  if (estimator.name === 'batch') checkCount('images a batch', estimator.size);
  return [(tape, outputs, batch) => ({ output: sampleLosses(tape, outputs, batch.targets, zeroLogits) })];
}

/**
 * The gradient of the mean squared error by the outputs, for targets that lie one standard deviation of the model off
 * along a direction: the error is minus the log-likelihood of a normal of variance D / 2 around each of D outputs.
 */
function outputScores(outputs: Tensor<'f32'>, direction: (size: number) => Float32Array): Tensor<'f32'> {
  const samples = outputs.shape[0]!;
  const size = outputs.size / samples;
  const factor = Math.sqrt(2 / size);
  const values = new Float32Array(outputs.size);
  for (let n = 0; n < samples; n++)
    values.set(
      direction(size).map((value) => factor * value),
      n * size,
    );
  return outputs.gpu.tensor(values, outputs.shape);
}

function oneHot(size: number, at: number): Float32Array {
  const values = new Float32Array(size);
  values[at] = 1;
  return values;
}

/** Sum over batches of `size` samples of the square of the batch's mean gradient. */
async function squaredBatchMeans(
  network: Network,
  samples: number,
  size: number,
  addRange: (gradients: SampleSums, from: number, to: number) => Promise<void>,
): Promise<Tensor<'f32'>[]> {
  const { gpu } = network;
  const parameters = [...network.parameters.values()];
  let total: Tensor<'f32'>[] | undefined;
  for (let from = 0; from < samples; from += size) {
    const to = Math.min(from + size, samples);
    using gradients = new SampleSums(gpu, parameters, 'gradient');
    await addRange(gradients, from, to);
    const before: Tensor<'f32'>[] | undefined = total;
    total = gpu.scope(() =>
      gradients.totals().map((sum, i) => {
        const tape = new Tape(gpu);
        const square = squared(scale(tape, sum, 1 / (to - from)));
        return before ? add(tape, before[i]!, square) : square;
      }),
    );
    for (const tensor of before ?? []) tensor.dispose();
  }
  return total ?? [];
}

async function collect(
  network: Network,
  sums: Tensor<'f32'>[],
  samples: number,
  terms: number,
  reduction: FisherOptions['reduction'],
): Promise<FisherDiagonal> {
  const values = await Promise.all(sums.map((tensor) => tensor.read()));
  const entries: StateDict = new Map();
  for (const [i, [name, { shape }]] of [...network.parameters].entries()) {
    const mean = values[i]!.map((value) => value / terms);
    entries.set(name, { shape, data: reduction === 'axis-mean' ? firstAxisMean(mean, shape[0]!) : mean });
    sums[i]!.dispose();
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

/** Each entry replaced by the mean over the first axis. */
function firstAxisMean(values: Float32Array, rows: number): Float32Array {
  const width = values.length / rows;
  const means = new Float64Array(width);
  for (const [i, value] of values.entries()) means[i % width]! += value / rows;
  return values.map((_, i) => means[i % width]!);
}

function range(start: number, end: number): Uint32Array {
  return Uint32Array.from({ length: end - start }, (_, i) => start + i);
}

/** Sum of all entries, in float64. */
export function trace(fisher: FisherDiagonal): number {
  let total = 0;
  for (const { data } of fisher.entries.values()) for (const value of data) total += value;
  return total;
}

function checkCount(what: string, count: number): void {
  if (Number.isSafeInteger(count) && count >= 1) return;
  throw new FathomError({
    code: 'bad-estimator',
    message: `${count} is no number of ${what} for a Fisher estimator`,
    fix: 'Give a whole number of at least 1',
  });
}

/** The outputs that are taken as observed: those chosen, or all; a classifier has none to choose from. */
function observedOutputs(network: Network, chosen?: readonly number[]): readonly number[] {
  const { name, target } = network.architecture;
  const count = target ? sizeOf(target) : 0;
  const outputs = chosen ?? Array.from({ length: count }, (_, i) => i);
  const outside = outputs.find((o) => !(Number.isInteger(o) && o >= 0 && o < count));
  const problem =
    outside !== undefined
      ? `takes output ${outside}, but there are ${count} to choose from`
      : new Set(outputs).size < outputs.length
        ? 'takes an output twice'
        : chosen?.length === 0
          ? 'takes no output'
          : undefined;
  if (problem) {
    throw new FathomError({
      code: 'bad-estimator',
      message: `The exact Fisher of ${name} ${problem}`,
      fix: 'Choose different outputs of a network that gives images, counted from 0, or none of a classifier',
    });
  }
  if (outputs.length > MOST_OUTPUTS) throw tooManyOutputs(network, outputs.length);
  return outputs;
}

function tooManyOutputs({ architecture }: Network, outputs: number): FathomError {
  return new FathomError({
    code: 'exact-too-many-outputs',
    message: `The exact Fisher of ${architecture.name} takes a pass for each of its ${outputs} outputs; ${MOST_OUTPUTS} are allowed`,
    fix: 'Use the sampled estimator',
  });
}
