import { createHash } from 'node:crypto';
import { FathomError } from '../engine/errors.ts';

/** NHWC: bytes, which nets see as pixel / 255, or floats, which they see as they are. */
export type Pixels = Uint8Array | Float32Array | StoredPixels;

/** Pixels that lie in a file and are read an image at a time, for a set too large for memory. */
export interface StoredPixels {
  /** Values in all. */
  readonly length: number;
  /** The values of one image, HWC, in an array of their own. */
  image(position: number): Uint8Array | Float32Array;
}

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
  /** What {@link hashImages} gives; sets made by hand may lack it. */
  hash?: string;
  /** By channel: networks see (value - mean) / deviation; bytes are divided by 255 first. */
  scale?: ChannelScale;
}

export interface ChannelScale {
  mean: readonly number[];
  deviation: readonly number[];
}

/** The two sets of images that MNIST and its like come in. */
export interface ImageSets {
  train: ImageSet;
  test: ImageSet;
}

/** A data set as it was opened, whatever its format. */
export interface DataSet {
  name: string;
  /** By label; none for a set that has only pixels to predict. */
  classNames: string[];
  train: ImageSet<Pixels>;
  /** Left out where the data has no split of its own. */
  test?: ImageSet<Pixels>;
  /** Of images to predict, by domain: as many as the images, in the same order. */
  targets?: ReadonlyMap<string, { train: ImageSet<Pixels>; test?: ImageSet<Pixels> }>;
  /** sha256 in hex of everything decoded: pixels, labels, names of classes, targets. */
  hash: string;
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

/** What a net is trained, chosen and measured on. The splits share no image. */
export interface Task {
  name: string;
  description: string;
  /** 0 where images are to be predicted: then every split has `targets`, and its labels are 0. */
  classes: number;
  classNames: string[];
  train: Examples;
  validation: Examples;
  test: Examples;
  /** sha256 in hex of the images, their order, labels and names of classes; tasks made by hand may lack it. */
  hash?: string;
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
  const size = images.height * images.width * images.channels;
  const values = into ?? new Float32Array(positions.length * size);
  const { channels, scale } = images;
  let to = 0;
  for (const position of positions) {
    const image = imageAt(images, at(index, position));
    const full = image instanceof Uint8Array ? 255 : 1;
    if (scale) {
      for (let i = 0; i < size; i++) {
        const channel = i % channels;
        values[to++] = (image[i]! / full - scale.mean[channel]!) / scale.deviation[channel]!;
      }
    } else for (let i = 0; i < size; i++) values[to++] = image[i]! / full;
  }
  return values;
}

/** Images that are looked at for {@link channelScale}, spread evenly over a set. */
const MOST_SCALED = 10_000;

/** Mean and standard deviation of each channel over a set, of bytes as shares of 255; a flat channel has deviation 1. */
export function channelScale(images: ImageSet<Pixels>): ChannelScale {
  const { channels, count } = images;
  const looked = Math.min(count, MOST_SCALED);
  const [sums, squares] = [new Float64Array(channels), new Float64Array(channels)];
  for (let n = 0; n < looked; n++) {
    const image = imageAt(images, Math.floor((n * count) / looked));
    const full = image instanceof Uint8Array ? 255 : 1;
    for (let i = 0; i < image.length; i++) {
      const value = image[i]! / full;
      sums[i % channels]! += value;
      squares[i % channels]! += value * value;
    }
  }
  const values = looked * images.height * images.width;
  const mean = Array.from(sums, (sum) => sum / values);
  const deviation = Array.from(
    squares,
    (sum, c) => Math.sqrt(Math.max(0, sum / values - mean[c]! ** 2)) || 1,
  );
  return { mean, deviation };
}

/** The values of one image of a set, HWC, as they are stored: bytes or floats. Not to be written to. */
export function imageAt(images: ImageSet<Pixels>, position: number): Uint8Array | Float32Array {
  const { pixels, height, width, channels } = images;
  if ('image' in pixels) return pixels.image(position);
  const size = height * width * channels;
  return pixels.subarray(position * size, (position + 1) * size);
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

/** sha256 in hex over a set as decoded: its shape, whether bytes or floats, pixels and labels. */
export function hashImages(images: ImageSet<Pixels>): string {
  const hash = new ImageHash(images);
  if (!('image' in images.pixels)) hash.add(images.pixels);
  else for (let position = 0; position < images.count; position++) hash.add(images.pixels.image(position));
  return hash.digest(images.labels);
}

/** {@link hashImages} of a set whose pixels come a few images at a time. */
export class ImageHash {
  private readonly hash = createHash('sha256');
  private hasType = false;

  constructor(shape: Pick<ImageSet, 'count' | 'height' | 'width' | 'channels'>) {
    this.hash.update(`${shape.count} ${shape.height} ${shape.width} ${shape.channels}\n`);
  }

  add(values: Uint8Array | Float32Array): void {
    if (!this.hasType) this.hash.update(values instanceof Uint8Array ? 'bytes\n' : 'floats\n');
    this.hasType = true;
    this.hash.update(bytesOf(values));
  }

  digest(labels: Uint8Array | Uint32Array): string {
    return this.hash.update(bytesOf(Uint32Array.from(labels))).digest('hex');
  }
}

/** The memory of an array as bytes, in the machine's order. */
export function bytesOf(values: Uint8Array | Float32Array | Uint32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
