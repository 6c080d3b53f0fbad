import { heNormal, normal } from './initialisers.ts';
import {
  adaptiveAvgpoolLayer,
  batchNormLayer,
  dropoutLayer,
  flattenLayer,
  linearLayer,
  relu6Layer,
  sameConv2dLayer,
} from './layers.ts';
import { chain, type Module, type Part, residual } from './module.ts';
import type { Architecture } from './network.ts';
import { inputOf, type NetworkOptions } from './options.ts';

/** Expansion, channels, repeats and first stride of each stage (Sandler et al. 2018, table 2). */
const STAGES = [
  [1, 16, 1, 1],
  [6, 24, 2, 2],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
] as const;
const LAST = 1280;

/**
 * torchvision's `mobilenet_v2` (Sandler et al. 2018). The cifar stem keeps the first two strides at 1, as is usual
 * for 32x32 images.
 */
export function mobilenetV2({ classes, stem }: NetworkOptions): Architecture {
  const features: Part[] = [convBnRelu6(3, 32, 3, stem === 'cifar' ? 1 : 2)];
  let channels = 32;
  for (const [stage, [expansion, out, repeats, stride]] of STAGES.entries()) {
    const first = stem === 'cifar' && stage === 1 ? 1 : stride;
    for (let i = 0; i < repeats; i++) {
      features.push(invertedResidual(channels, out, i === 0 ? first : 1, expansion));
      channels = out;
    }
  }
  features.push(convBnRelu6(channels, LAST, 1, 1));
  return {
    name: 'mobilenet_v2',
    input: inputOf(stem),
    classes,
    module: chain(
      ['features', chain(...features.map((part, i) => [String(i), part] as Part))],
      adaptiveAvgpoolLayer(1),
      flattenLayer(),
      dropoutLayer(0.2),
      ['classifier', chain(['1', linearLayer(LAST, classes, { initialise: normal(0.01) })])],
    ),
    head: ['classifier.1.weight', 'classifier.1.bias'],
  };
}

function invertedResidual(from: number, to: number, stride: number, expansion: number): Module {
  const wide = from * expansion;
  const parts: Part[] = [
    ...(expansion === 1 ? [] : [convBnRelu6(from, wide, 1, 1)]),
    convBnRelu6(wide, wide, 3, stride, wide),
    convolution(wide, to, 1, 1, 1),
    batchNormLayer(to),
  ];
  const main: Part = ['conv', chain(...parts.map((part, i) => [String(i), part] as Part))];
  return stride === 1 && from === to ? residual(main) : chain(main);
}

function convBnRelu6(from: number, to: number, kernel: number, stride: number, groups = 1): Module {
  return chain(['0', convolution(from, to, kernel, stride, groups)], ['1', batchNormLayer(to)], relu6Layer());
}

function convolution(from: number, to: number, kernel: number, stride: number, groups: number): Module {
  return sameConv2dLayer(from, to, kernel, { stride, groups, initialise: heNormal('out') });
}
