import {
  type Architecture,
  adaptiveAvgpoolLayer,
  chain,
  conv2dLayer,
  flattenLayer,
  groupNormLayer,
  heNormal,
  linearLayer,
  type Module,
  maxpoolLayer,
  type NetworkOptions,
  residual,
  siluLayer,
} from 'fathom/models';

/** A 3x3 convolution with group normalisation: names `conv.weight`, `norm.weight` and `norm.bias`. */
function convolution(from: number, to: number): Module {
  return chain(
    [
      'conv',
      conv2dLayer({ in: from, out: to, kernel: 3, padding: 1, bias: false, initialise: heNormal('in') }),
    ],
    ['norm', groupNormLayer(4, to)],
    siluLayer(),
  );
}

/** A small residual network for 28x28 grey images. */
export default function small({ classes }: NetworkOptions): Architecture {
  return {
    name: 'small-residual',
    input: [28, 28, 1],
    classes,
    module: chain(
      ['stem', convolution(1, 16)],
      maxpoolLayer(2),
      ['block', residual(['0', convolution(16, 16)])],
      adaptiveAvgpoolLayer(4),
      flattenLayer(),
      ['head', linearLayer(256, classes)],
    ),
    head: ['head.weight', 'head.bias'],
  };
}
