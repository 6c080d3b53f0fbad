import { conv2dLayer, flattenLayer, linearLayer } from './layers.ts';
import { chain, type Module } from './module.ts';
import type { Architecture } from './network.ts';

function small(classes: number): Module {
  return chain(
    ['conv1', conv2dLayer({ in: 1, out: 8, kernel: 5, padding: 2, pool: 2, relu: true })],
    ['conv2', conv2dLayer({ in: 8, out: 16, kernel: 5, padding: 2, pool: 2, relu: true })],
    flattenLayer(),
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

/**
 * The same with the paper's task head: its 10 outputs go through a further Linear(10, classes), the only part that
 * depends on the task (as in the paper's released training code).
 */
export function cnnWithHead(classes: number): Architecture {
  return {
    name: 'cnn',
    input: [28, 28, 1],
    classes,
    module: chain(small(10), ['head', linearLayer(10, classes)]),
    head: ['head.weight', 'head.bias'],
  };
}

/** A multilayer perceptron for 28x28 grey images: 784 to 256 to 128 to the classes, relu between. */
export function mlp(classes = 10): Architecture {
  return {
    name: 'mlp',
    input: [28, 28, 1],
    classes,
    module: chain(
      flattenLayer(),
      ['fc1', linearLayer(784, 256, { relu: true })],
      ['fc2', linearLayer(256, 128, { relu: true })],
      ['fc3', linearLayer(128, classes)],
    ),
    head: ['fc3.weight', 'fc3.bias'],
  };
}
