import { FathomError } from '../errors.ts';
import type { Gpu } from '../gpu.ts';
import { batchRuns } from '../planner.ts';
import type { Random, WordRange } from '../random.ts';
import type { Tensor } from '../tensor.ts';

export interface AugmentOptions {
  /** Zeros added at each edge before a part of the image's own size is cut out at random; 0 cuts nothing. */
  padding: number;
  /** Whether an image is flipped left to right with probability 1/2, after the cut. */
  flip: boolean;
}

/**
 * Random crops with padding and random horizontal flips, each image by itself; not recorded on a tape. Image n takes
 * words 2n and 2n + 1 of the stream: the upper and lower half of word 2n, each times 2 padding + 1 and divided by 2^16,
 * are how far down and right the cut lies from the corner of the padded image (no offset's probability is off by more
 * than 2^-16); the top bit of word 2n + 1 is the flip.
 * @param images [samples, height, width, channels]
 * @param random gives 2 words an image, whatever the options
 * @returns images of the same shape
 * @throws FathomError `shape-mismatch`
 */
export function augment(
  gpu: Gpu,
  images: Tensor<'f32'>,
  { padding, flip }: AugmentOptions,
  random: Random,
): Tensor<'f32'> {
  const [samples = 0, height = 0, width = 0, channels = 0] = images.shape;
  if (images.shape.length !== 4 || !Number.isInteger(padding) || padding < 0 || padding > 2 ** 15 - 1) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `augment cannot take images of shape [${images.shape}] with padding ${padding}`,
      fix: 'Give [samples, height, width, channels] and a whole padding from 0 to 32767',
    });
  }
  const result = gpu.empty(images.shape, 'f32');
  let drawn: WordRange;
  gpu.eachRun(() => {
    drawn = random.reserve(2 * samples);
  });
  const vec4 = channels % 4 === 0;
  gpu.scope(() => {
    const words = gpu.empty([samples, 2], 'u32');
    gpu.dispatch(
      gpu.kernel('random_bits'),
      { result: words },
      { pairs: samples, seed: random.seed, stream: random.stream, start: () => drawn.start },
      Math.ceil(samples / 64),
    );
    for (const run of batchRuns(samples, [images.bytes / samples], gpu.maxBindingBytes)) {
      const part = images.slice(run.start, run.count);
      const count = vec4 ? part.size / 4 : part.size;
      gpu.dispatch(
        gpu.kernel('augment', { CHANNELS_VEC4: vec4 }),
        { images: part, words, result: result.slice(run.start, run.count) },
        {
          count,
          first: run.start,
          height,
          width,
          channels: vec4 ? channels / 4 : channels,
          padding,
          flip: flip ? 1 : 0,
        },
        Math.ceil(count / 64),
      );
    }
  });
  return result;
}
