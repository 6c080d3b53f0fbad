import {
  add,
  FathomError,
  labelScores,
  Random,
  type SampleSums,
  sampleLabels,
  scale,
  sizeOf,
  squared,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import type { Architecture } from '../models/index.ts';
import { type Batch, sampleLosses, zeroLogitsFor } from './objective.ts';

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

/** `axis-mean` replaces entries by their mean over the first axis, as the paper's released code does. */
export type Reduction = 'none' | 'axis-mean';

/** Names an estimator with all that its result depends on; written into every result. */
export function estimatorLabel(estimator: Estimator, reduction: Reduction = 'none'): string {
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

/** Outputs of a network that gives images, beyond which the exact expectation has too many passes. */
const MOST_OUTPUTS = 4096;

/** One pass over all samples, chunk after chunk. */
export interface Pass {
  /** What it takes from the host: so many values a sample, and those of the next samples. */
  host?: { size: number; next(samples: number): Float32Array };
  /**
   * What is taken back from the outputs, with which factors; may be captured.
   * @param given [samples, size] values from the host, if it takes any
   */
  back(
    tape: Tape,
    outputs: Tensor<'f32'>,
    targets: Batch['targets'],
    given?: Tensor<'f32'>,
  ): { output: Tensor<'f32'>; upstream?: Tensor<'f32'> };
}

/**
 * The passes an estimator makes, each to be taken once over all samples in order.
 * @throws FathomError `exact-too-many-outputs`; `bad-estimator`
 */
export function passesOf(architecture: Architecture, estimator: Estimator, labelSpace?: number): Pass[] {
  const { classes, target } = architecture;
  const zeroLogits = zeroLogitsFor(architecture, labelSpace);
  if (estimator.name === 'exact') {
    const outputs = observedOutputs(architecture, estimator.outputs);
    if (target) {
      return outputs.map((o) => outputScores(sizeOf(target), (size) => oneHot(size, o)));
    }
    return Array.from(
      { length: classes + zeroLogits },
      (_, c): Pass => ({
        back: (_tape, output) => ({ output, upstream: labelScores(output, c, zeroLogits) }),
      }),
    );
  }
  if (estimator.name === 'sampled') {
    checkCount('draws', estimator.draws);
    return Array.from({ length: estimator.draws }, (_, i): Pass => {
      const random = new Random(estimator.seed).fork(`draw ${i}`);
      if (target) return outputScores(sizeOf(target), (size) => random.normal(size));
      // One number at a time, so that what a sample gets does not depend on the chunk.
      const next = (count: number) => Float32Array.from({ length: count }, () => random.uniform(1)[0]!);
      return {
        host: { size: 1, next },
        back(tape, outputs, _targets, uniforms) {
          const labels = sampleLabels(outputs, uniforms!, zeroLogits);
          return { output: sampleLosses(tape, outputs, labels, zeroLogits) };
        },
      };
    });
  }
  if (estimator.name === 'batch') checkCount('images a batch', estimator.size);
  return [
    { back: (tape, outputs, targets) => ({ output: sampleLosses(tape, outputs, targets, zeroLogits) }) },
  ];
}

/**
 * Takes back the gradient of the mean squared error by the outputs, for targets that lie one standard deviation of the
 * model off along a direction: the error is minus the log-likelihood of a normal of variance D / 2 around each of D
 * outputs.
 */
function outputScores(size: number, direction: (size: number) => Float32Array): Pass {
  const factor = Math.sqrt(2 / size);
  const next = (samples: number) => {
    const values = new Float32Array(samples * size);
    for (let n = 0; n < samples; n++)
      values.set(
        direction(size).map((value) => factor * value),
        n * size,
      );
    return values;
  };
  return { host: { size, next }, back: (_tape, output, _targets, upstream) => ({ output, upstream }) };
}

function oneHot(size: number, at: number): Float32Array {
  const values = new Float32Array(size);
  values[at] = 1;
  return values;
}

/**
 * Adds the squares of a batch's mean gradients to `total`, which is empty before the first batch; one parameter at a
 * time, so that little memory is needed beside the sums.
 * @param gradients of a batch of `count` samples
 */
export function addSquaredMeans(total: Tensor<'f32'>[], gradients: SampleSums, count: number): void {
  for (const [i, parameter] of gradients.parameters.entries()) {
    const { gpu } = parameter;
    const before = total[i];
    total[i] = gpu.scope(() => {
      const tape = new Tape(gpu);
      const square = squared(scale(tape, gradients.of(parameter)!.total(), 1 / count));
      return before ? add(tape, before, square) : square;
    });
    before?.dispose();
  }
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
function observedOutputs(architecture: Architecture, chosen?: readonly number[]): readonly number[] {
  const { name, target } = architecture;
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
  if (outputs.length > MOST_OUTPUTS) throw tooManyOutputs(architecture, outputs.length);
  return outputs;
}

function tooManyOutputs({ name }: Architecture, outputs: number): FathomError {
  return new FathomError({
    code: 'exact-too-many-outputs',
    message: `The exact Fisher of ${name} takes a pass for each of its ${outputs} outputs; ${MOST_OUTPUTS} are allowed`,
    fix: 'Use the sampled estimator',
  });
}
