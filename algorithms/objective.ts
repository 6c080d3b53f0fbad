import { type Examples, gatherImages, gatherLabels, gatherTargets } from '../data/index.ts';
import { meanSquaredError, softmaxCrossEntropy, type Tape, type Tensor } from '../engine/index.ts';
import type { Architecture, Network } from '../models/index.ts';

/** A batch of examples on the GPU. */
export interface Batch {
  /** [samples, height, width, channels] */
  images: Tensor<'f32'>;
  /** Class labels [samples] of a classifier, or the images the network is to give. */
  targets: Tensor<'u32'> | Tensor<'f32'>;
}

/** Uploads the examples at some positions; made within the caller's scope. */
export function uploadBatch(network: Network, examples: Examples, positions: Uint32Array): Batch {
  const { gpu, architecture } = network;
  const { height, width, channels } = examples.images;
  const count = positions.length;
  const { target } = architecture;
  return {
    images: gpu.tensor(gatherImages(examples, positions), [count, height, width, channels]),
    targets: target
      ? gpu.tensor(gatherTargets(examples, positions), [count, ...target])
      : gpu.tensor(gatherLabels(examples, positions), [count]),
  };
}

/** What a minimal batch of an architecture looks like, its values left open. */
export function emptyBatch({ gpu, architecture }: Network, count: number): Batch {
  const { input, target } = architecture;
  return {
    images: gpu.empty([count, ...input], 'f32'),
    targets: target ? gpu.empty([count, ...target], 'f32') : gpu.empty([count], 'u32'),
  };
}

/**
 * The loss of each sample, minus its log-likelihood up to a constant and a factor common to all: cross-entropy with
 * class labels, mean squared error with images (paper sections 1.2 and 2.7).
 * @param outputs what the network gave
 * @param zeroLogits how many constant zeros continue each row of logits
 * @returns [samples]
 */
export function sampleLosses(
  tape: Tape,
  outputs: Tensor<'f32'>,
  targets: Batch['targets'],
  zeroLogits = 0,
): Tensor<'f32'> {
  if (targets.dtype === 'u32') {
    return softmaxCrossEntropy(tape, outputs, targets as Tensor<'u32'>, { zeroLogits });
  }
  return meanSquaredError(tape, outputs, targets as Tensor<'f32'>);
}

/** Logits of zero to add so that an architecture's outputs cover a label space. */
export function zeroLogitsFor({ classes, target }: Architecture, labelSpace = classes): number {
  return target ? 0 : Math.max(0, labelSpace - classes);
}
