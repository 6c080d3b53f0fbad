import {
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  type Module,
  maxpoolLayer,
  reluLayer,
} from './module.ts';
import type { Architecture } from './network.ts';

function backbone(): Module {
  return chain(
    ['conv1', conv2dLayer({ in: 1, out: 8, kernel: 5, padding: 2 })],
    reluLayer(),
    maxpoolLayer(2),
    ['conv2', conv2dLayer({ in: 8, out: 16, kernel: 5, padding: 2 })],
    reluLayer(),
    maxpoolLayer(2),
    flattenLayer(),
    ['fc', linearLayer(784, 10)],
  );
}

/**
 * The small network for 28x28 grey images: two 5x5 convolutions (8 and 16 channels) with max pooling and a linear
 * layer to 10 outputs: the `cnn` of the reference values.
 */
export function cnn(): Architecture {
  return { name: 'cnn', input: [28, 28, 1], classes: 10, module: backbone(), head: [] };
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
    module: chain(backbone(), ['head', linearLayer(10, classes)]),
    head: ['head.weight', 'head.bias'],
  };
}
