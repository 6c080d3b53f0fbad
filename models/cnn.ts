import { FathomError } from '../engine/index.ts';
import { conv2dLayer, linearLayer } from './layers.ts';
import { chain, type Module } from './module.ts';
import { type Architecture, withTaskHead } from './network.ts';

function small(classes: number): Module {
  return chain(
    ['conv1', conv2dLayer({ in: 1, out: 8, kernel: 5, padding: 2, pool: 2, relu: true })],
    ['conv2', conv2dLayer({ in: 8, out: 16, kernel: 5, padding: 2, pool: 2, relu: true })],
    ['fc', linearLayer(784, classes)],
  );
}

/**
 * The small network for 28x28 grey images: two 5x5 convolutions (8 and 16 channels) with max pooling and a linear
 * layer: the `cnn` of the reference values.
 */
export function cnn(classes = 10): Architecture {
  return {
    name: 'cnn',
    input: [28, 28, 1],
    classes,
    module: small(classes),
    head: ['fc.weight', 'fc.bias'],
  };
}

/** The same with the paper's task head, see {@link withTaskHead}. */
export function cnnWithHead(classes: number): Architecture {
  return withTaskHead(cnn, classes);
}

/**
 * Three blocks of 3x3 convolution (16, 32, 64 channels), relu and 2x2 max pooling, and a linear layer, for small images
 * of any kind.
 * @param input [height, width, channels] of the images; height and width are cut in half three times
 * @throws FathomError `image-too-small` below 8 pixels a side
 */
export function cnn3(classes: number, input: Architecture['input'] = [32, 32, 3]): Architecture {
  const [height, width, channels] = input;
  if (Math.min(height, width) < 8) {
    throw new FathomError({
      code: 'image-too-small',
      message: `cnn3 cannot take images of ${height} x ${width} pixels`,
      fix: 'Give images of at least 8 x 8',
    });
  }
  const block = (from: number, to: number) =>
    conv2dLayer({ in: from, out: to, kernel: 3, padding: 1, pool: 2, relu: true });
  const reduced = (extent: number) => Math.floor(extent / 8);
  return {
    name: 'cnn3',
    input,
    classes,
    module: chain(
      ['conv1', block(channels, 16)],
      ['conv2', block(16, 32)],
      ['conv3', block(32, 64)],
      ['fc', linearLayer(64 * reduced(height) * reduced(width), classes)],
    ),
    head: ['fc.weight', 'fc.bias'],
  };
}

/** A multilayer perceptron for 28x28 grey images: 784 to 256 to 128 to the classes, relu between. */
export function mlp(classes = 10): Architecture {
  return {
    name: 'mlp',
    input: [28, 28, 1],
    classes,
    module: chain(
      ['fc1', linearLayer(784, 256, { relu: true })],
      ['fc2', linearLayer(256, 128, { relu: true })],
      ['fc3', linearLayer(128, classes)],
    ),
    head: ['fc3.weight', 'fc3.bias'],
  };
}
