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

/** Batches of up to so many examples, one after another in the same tensors. */
export class BatchSlots implements Disposable {
  private readonly all: Batch;
  private readonly pixels: Float32Array;
  private readonly wanted: Float32Array | undefined;

  /** @param shape [height, width, channels] of the images */
  constructor(
    private readonly network: Network,
    readonly most: number,
    shape: readonly [number, number, number] = network.architecture.input,
  ) {
    this.all = emptyBatch(network, most, shape);
    this.pixels = new Float32Array(this.all.images.size);
    if (network.architecture.target) this.wanted = new Float32Array(this.all.targets.size);
  }

  /** For the examples of a set. */
  static of(network: Network, { images }: Examples, most: number): BatchSlots {
    return new BatchSlots(network, most, [images.height, images.width, images.channels]);
  }

  /** Overwrites the first examples with those at some positions of a set. */
  load(examples: Examples, positions: Uint32Array): void {
    const count = positions.length;
    this.network.gpu.scope(() => {
      const { images, targets } = this.first(count);
      const part = (values: Float32Array, { size }: Tensor) => values.subarray(0, size);
      const { gpu } = this.network;
      gpu.write(images, gatherImages(examples, positions, part(this.pixels, images)));
      const wanted = this.wanted && gatherTargets(examples, positions, part(this.wanted, targets));
      gpu.write(targets, wanted ?? gatherLabels(examples, positions));
    });
  }

  /** The first `count` examples; made within the caller's scope. */
  first(count: number): Batch {
    const { images, targets } = this.all;
    return { images: images.slice(0, count), targets: targets.slice(0, count) as Batch['targets'] };
  }

  [Symbol.dispose](): void {
    this.all.images.dispose();
    this.all.targets.dispose();
  }
}

/** What a minimal batch of an architecture looks like, its values left open. */
export function emptyBatch(
  { gpu, architecture }: Network,
  count: number,
  shape: readonly number[] = architecture.input,
): Batch {
  const { target } = architecture;
  return {
    images: gpu.empty([count, ...shape], 'f32'),
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
