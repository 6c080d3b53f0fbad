import { heNormal, normal } from './initialisers.ts';
import {
  adaptiveAvgpoolLayer,
  batchNormLayer,
  conv2dLayer,
  dropoutLayer,
  linearLayer,
  maxpoolLayer,
  reluLayer,
} from './layers.ts';
import { chain, type Part } from './module.ts';
import type { Architecture } from './network.ts';
import { inputOf, type NetworkOptions } from './options.ts';

/** Channels of the convolutions of VGG-16 (configuration D), M for a max pool. */
const VGG16 = [
  64,
  64,
  'M',
  128,
  128,
  'M',
  256,
  256,
  256,
  'M',
  512,
  512,
  512,
  'M',
  512,
  512,
  512,
  'M',
] as const;

/**
 * VGG-16 with batch normalisation (Simonyan & Zisserman 2015), torchvision's `vgg16_bn`. The cifar stem is its
 * features on 32x32 images with `classifier` = Linear(512, classes) and no adaptive pool.
 */
export function vgg16Bn({ classes, stem }: NetworkOptions): Architecture {
  const features: Part[] = [];
  let channels = 3;
  for (const item of VGG16) {
    if (item === 'M') features.push(maxpoolLayer(2));
    else {
      const convolution = { in: channels, out: item, kernel: 3, padding: 1, initialise: heNormal('out') };
      features.push(conv2dLayer(convolution), batchNormLayer(item), reluLayer());
      channels = item;
    }
  }
  const numbered = chain(...features.map((part, i) => [String(i), part] as Part));
  const linear = (from: number, to: number) => linearLayer(from, to, { initialise: normal(0.01) });
  const classifier = chain(
    ['0', linear(512 * 7 * 7, 4096)],
    reluLayer(),
    dropoutLayer(0.5),
    ['3', linear(4096, 4096)],
    reluLayer(),
    dropoutLayer(0.5),
    ['6', linear(4096, classes)],
  );
  const rest: Part[] =
    stem === 'cifar'
      ? [['classifier', linear(512, classes)]]
      : [adaptiveAvgpoolLayer(7), ['classifier', classifier]];
  const head = stem === 'cifar' ? 'classifier' : 'classifier.6';
  return {
    name: 'vgg16_bn',
    input: inputOf(stem),
    classes,
    module: chain(['features', numbered], ...rest),
    head: [`${head}.weight`, `${head}.bias`],
  };
}
