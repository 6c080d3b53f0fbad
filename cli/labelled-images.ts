import { checkLabels, type Examples, type ImageSet } from '../data/index.ts';
import { FathomError, parseSafetensors, Random, type SafetensorsTensor, sizeOf } from '../engine/index.ts';
import type { Architecture } from '../models/index.ts';
import { readInput } from './files.ts';

/**
 * Reads the images a network is measured on: `images` (N, C, H, W; F32), and `labels` (N; I64) for a classifier or
 * `targets` (N, C, H, W; F32) for a network that gives images; without targets, the images themselves.
 * @throws FathomError `bad-data` naming the file
 */
export async function readExamples(path: string, architecture: Architecture): Promise<Examples> {
  const { tensors } = parseSafetensors(await readInput(path), path);
  const missing = ['images', ...(architecture.target ? [] : ['labels'])].filter((name) => !tensors.has(name));
  if (missing.length > 0) {
    const [height, width, channels] = architecture.input;
    const labels = architecture.target ? '' : ' and labels as I64 [N]';
    throw wrong(
      path,
      `has no tensor ${missing.join(' and no tensor ')}`,
      `Give images as F32 [N, ${channels}, ${height}, ${width}]${labels}`,
    );
  }
  const images = imagesOf(tensors, 'images', path, architecture.input);
  const index = Uint32Array.from({ length: images.count }, (_, i) => i);
  if (architecture.target) {
    const targets = tensors.has('targets')
      ? imagesOf(tensors, 'targets', path, architecture.target)
      : undefined;
    if (targets && targets.count !== images.count) {
      throw wrong(
        path,
        `has ${images.count} images, but ${targets.count} targets`,
        'Give one for each image',
      );
    }
    return { images, index, labels: new Uint32Array(images.count), targets };
  }
  const labels = labelsOf(tensors, path, images.count);
  checkLabels(path, labels, architecture.classes);
  const set = { ...images, labels: Uint32Array.from(labels), classes: architecture.classes };
  return { images: set, index, labels: set.labels };
}

/** Uniform noise with random labels, for checks and measurements; the same every time. */
export function randomExamples({ input, classes }: Architecture, count: number): Examples {
  const random = new Random(0).fork('examples');
  const [height, width, channels] = input;
  const pixels = random.uniform(count * sizeOf(input));
  const labels = random.bits(count).map((word) => word % Math.max(1, classes));
  const set = { name: 'random images', count, height, width, channels, pixels, labels, classes };
  return { images: set, index: Uint32Array.from({ length: count }, (_, i) => i), labels };
}

function labelsOf(tensors: ReadonlyMap<string, SafetensorsTensor>, path: string, count: number): number[] {
  const labels = tensors.get('labels')!;
  const wanted = 'Give labels as I64 [N]';
  if (labels.dtype !== 'I64' || labels.shape.length !== 1) {
    throw wrong(path, `has labels of type ${labels.dtype} and shape [${labels.shape}]`, wanted);
  }
  if (labels.data.length !== count) {
    throw wrong(
      path,
      `has ${count} images, but ${labels.data.length} labels`,
      'Give one label for each image',
    );
  }
  return Array.from(labels.data, Number);
}

function imagesOf(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  name: 'images' | 'targets',
  path: string,
  [height, width, channels]: Architecture['input'],
): ImageSet<Float32Array> {
  const { dtype, shape, data } = tensors.get(name)!;
  const wanted = `Give ${name} as F32 [N, ${channels}, ${height}, ${width}]`;
  const count = shape[0] ?? 0;
  if (dtype !== 'F32' || shape.slice(1).join() !== [channels, height, width].join() || count === 0) {
    throw wrong(path, `has ${name} of type ${dtype} and shape [${shape}]`, wanted);
  }
  const broken = data.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) {
    const at = Math.floor(broken / (channels * height * width));
    throw wrong(path, `holds ${data[broken]} in ${name.slice(0, -1)} ${at}`, 'Give finite values alone');
  }
  return {
    name: path,
    count,
    height,
    width,
    channels,
    pixels: toChannelsLast(data, channels, height * width),
    labels: new Uint32Array(count),
    classes: 1,
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

function wrong(path: string, what: string, fix: string): FathomError {
  return new FathomError({ code: 'bad-data', message: `${path} ${what}`, fix });
}
