import { FathomError } from '../engine/errors.ts';

/** NHWC: bytes, which nets see as pixel / 255, or floats, which they see as they are. */
export type Pixels = Uint8Array | Float32Array;

/** Labelled images as they are stored. */
export interface ImageSet<P extends Pixels = Uint8Array> {
  /** Names the set in messages. */
  name: string;
  count: number;
  height: number;
  width: number;
  channels: number;
  pixels: P;
  /** One a picture, below `classes`. */
  labels: Uint8Array | Uint32Array;
  classes: number;
}

/** The two sets of images that MNIST and its like come in. */
export interface ImageSets {
  train: ImageSet;
  test: ImageSet;
}

/** Some images of a set, in an order of their own, with the labels a task gives them. */
export interface Examples {
  images: ImageSet<Pixels>;
  /** Positions in `images`. */
  index: Uint32Array;
  /** In the task's own numbering, parallel to `index`. */
  labels: Uint32Array;
  /** What a network that gives images is to give, at the positions of `images`; left out: the images themselves. */
  targets?: ImageSet<Pixels>;
}

/** A classification task: what a net is trained, chosen and measured on. The splits share no image. */
export interface Task {
  name: string;
  description: string;
  classes: number;
  classNames: string[];
  train: Examples;
  validation: Examples;
  test: Examples;
}

/**
 * The images at some positions of `examples`.
 *
 * @param into where to put them, if they are not to have an array of their own
 * @returns NHWC; of bytes pixel / 255 rounded to f32, so in [0, 1]
 */
export function gatherImages(examples: Examples, positions: Uint32Array, into?: Float32Array): Float32Array {
  return gather(examples.images, examples.index, positions, into);
}

/** As {@link gatherImages}, of the images a network is to give. */
export function gatherTargets(examples: Examples, positions: Uint32Array, into?: Float32Array): Float32Array {
  return gather(examples.targets ?? examples.images, examples.index, positions, into);
}

function gather(
  images: ImageSet<Pixels>,
  index: Uint32Array,
  positions: Uint32Array,
  into?: Float32Array,
): Float32Array {
  const { pixels, height, width, channels } = images;
  const size = height * width * channels;
  const full = pixels instanceof Uint8Array ? 255 : 1;
  const values = into ?? new Float32Array(positions.length * size);
  let to = 0;
  for (const position of positions) {
    let from = at(index, position) * size;
    for (const end = from + size; from < end; from++) values[to++] = pixels[from]! / full;
  }
  return values;
}

/** The labels at some positions of `examples`, in the task's own numbering. */
export function gatherLabels(examples: Examples, positions: Uint32Array): Uint32Array {
  return positions.map((position) => at(examples.labels, position));
}

function at(values: Uint32Array, position: number): number {
  const value = values[position];
  if (value === undefined) throw new RangeError(`there is no example ${position} of ${values.length}`);
  return value;
}

/**
 * Checks that every label has an output in a head of `classes`.
 *
 * @param name the set or file the labels come from
 * @throws FathomError `label-outside-head` naming the first label that has none
 */
export function checkLabels(name: string, labels: ArrayLike<number>, classes: number): void {
  for (let position = 0; position < labels.length; position++) {
    const label = labels[position]!;
    if (Number.isInteger(label) && label >= 0 && label < classes) continue;
    throw new FathomError({
      code: 'label-outside-head',
      message: `${name} has label ${label} at position ${position}, outside the head of ${classes} classes`,
      fix: `Correct the labels to 0 to ${classes - 1}, or use a head with more classes`,
    });
  }
}
