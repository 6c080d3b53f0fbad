import {
  conv2dLayer,
  convTranspose2dLayer,
  linearLayer,
  reluLayer,
  sigmoidLayer,
  unflattenLayer,
} from './layers.ts';
import { chain } from './module.ts';
import type { Architecture } from './network.ts';

/**
 * The fully connected autoencoder of the paper's released Taskonomy code: image to 512, 128, 512 and back to an image
 * of the same size, relu after every layer, the last among them.
 * @param size of the square RGB images; 128 in the paper
 */
export function taskonomyFc(size: number): Architecture {
  const values = 3 * size * size;
  return {
    name: 'taskonomy_fc',
    input: [size, size, 3],
    classes: 0,
    target: [size, size, 3],
    module: chain(
      ['fc1', linearLayer(values, 512, { relu: true })],
      ['fc2', linearLayer(512, 128, { relu: true })],
      ['fc3', linearLayer(128, 512, { relu: true })],
      ['fc4', linearLayer(512, values, { relu: true })],
      unflattenLayer([size, size, 3]),
    ),
    head: [],
  };
}

/**
 * A convolutional autoencoder with a linear bottleneck, as the paper describes its Taskonomy network without giving
 * its sizes: three 3x3 convolutions of stride 2 (16, 32, 64 channels), Linear to 128 and back, three transposed 4x4
 * convolutions of stride 2; relu between, sigmoid at the end, for targets in [0, 1].
 * @param size of the square RGB images, a multiple of 8
 */
export function taskonomyConv(size: number): Architecture {
  const reduced = size / 8;
  const values = 64 * reduced * reduced;
  const down = (from: number, to: number) =>
    conv2dLayer({ in: from, out: to, kernel: 3, stride: 2, padding: 1, relu: true });
  const up = (from: number, to: number) =>
    convTranspose2dLayer({ in: from, out: to, kernel: 4, stride: 2, padding: 1 });
  return {
    name: 'taskonomy_conv',
    input: [size, size, 3],
    classes: 0,
    target: [size, size, 3],
    module: chain(
      ['conv1', down(3, 16)],
      ['conv2', down(16, 32)],
      ['conv3', down(32, 64)],
      ['fc1', linearLayer(values, 128, { relu: true })],
      ['fc2', linearLayer(128, values, { relu: true })],
      unflattenLayer([reduced, reduced, 64]),
      ['deconv1', up(64, 32)],
      reluLayer(),
      ['deconv2', up(32, 16)],
      reluLayer(),
      ['deconv3', up(16, 3)],
      sigmoidLayer(),
    ),
    head: [],
  };
}
