import { heNormal, pytorchDefault } from './initialisers.ts';
import {
  adaptiveAvgpoolLayer,
  avgpoolLayer,
  batchNormLayer,
  flattenLayer,
  linearLayer,
  maxpoolLayer,
  reluLayer,
  sameConv2dLayer,
} from './layers.ts';
import { chain, densely, type Module, type Part } from './module.ts';
import type { Architecture } from './network.ts';
import { inputOf, type NetworkOptions } from './options.ts';

const GROWTH = 32;
const BOTTLENECK = 4 * GROWTH;
const BLOCKS = [6, 12, 24, 16];

/**
 * torchvision's `densenet121` (Huang et al. 2017). The cifar stem has features.conv0 3x3 of stride 1 and no pool0.
 */
export function densenet121({ classes, stem }: NetworkOptions): Architecture {
  const features: Part[] = [
    ['conv0', stem === 'cifar' ? convolution(3, 64, 3, 1) : convolution(3, 64, 7, 2)],
    ['norm0', batchNormLayer(64)],
    reluLayer(),
  ];
  if (stem === 'imagenet') features.push(maxpoolLayer({ kernel: 3, stride: 2, padding: 1 }));
  let channels = 64;
  for (const [i, layers] of BLOCKS.entries()) {
    const block = Array.from({ length: layers }, (_, j): Part => {
      return densely([`denselayer${j + 1}`, denseLayer(channels + j * GROWTH)]);
    });
    features.push([`denseblock${i + 1}`, chain(...block)]);
    channels += layers * GROWTH;
    if (i === BLOCKS.length - 1) break;
    features.push([`transition${i + 1}`, transition(channels)]);
    channels /= 2;
  }
  features.push(['norm5', batchNormLayer(channels)]);
  return {
    name: 'densenet121',
    input: inputOf(stem),
    classes,
    module: chain(['features', chain(...features)], reluLayer(), adaptiveAvgpoolLayer(1), flattenLayer(), [
      'classifier',
      linearLayer(channels, classes, { initialise: pytorchDefault }),
    ]),
    head: ['classifier.weight', 'classifier.bias'],
  };
}

function denseLayer(channels: number): Module {
  return chain(
    ['norm1', batchNormLayer(channels)],
    reluLayer(),
    ['conv1', convolution(channels, BOTTLENECK, 1, 1)],
    ['norm2', batchNormLayer(BOTTLENECK)],
    reluLayer(),
    ['conv2', convolution(BOTTLENECK, GROWTH, 3, 1)],
  );
}

function transition(channels: number): Module {
  return chain(
    ['norm', batchNormLayer(channels)],
    reluLayer(),
    ['conv', convolution(channels, channels / 2, 1, 1)],
    avgpoolLayer(2),
  );
}

function convolution(from: number, to: number, kernel: number, stride: number): Module {
  return sameConv2dLayer(from, to, kernel, { stride, initialise: heNormal('in') });
}
