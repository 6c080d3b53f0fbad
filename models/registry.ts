import { taskonomyConv, taskonomyFc } from './autoencoder.ts';
import { cnn, cnn3, mlp } from './cnn.ts';
import { densenet121 } from './densenet.ts';
import { mobilenetV2 } from './mobilenet.ts';
import type { Architecture } from './network.ts';
import { type NetworkOptions, type Stem, stems } from './options.ts';
import { resnet18, resnet34 } from './resnet.ts';
import { vgg16Bn } from './vgg.ts';

/** The square RGB images of the Taskonomy autoencoders: those of CIFAR, or the paper's reduced ones. */
const TASKONOMY_SIZE: Record<Stem, number> = { cifar: 32, imagenet: 128 };

/** The built-in networks by name. */
export const networks = {
  cnn: ({ classes }) => cnn(classes),
  mlp: ({ classes }) => mlp(classes),
  cnn3: ({ classes, input }) => cnn3(classes, input),
  vgg16_bn: vgg16Bn,
  resnet18,
  resnet34,
  densenet121,
  mobilenet_v2: mobilenetV2,
  taskonomy_fc: ({ stem }) => taskonomyFc(TASKONOMY_SIZE[stem]),
  taskonomy_conv: ({ stem }) => taskonomyConv(TASKONOMY_SIZE[stem]),
} as const satisfies Record<string, (options: NetworkOptions) => Architecture>;

export type NetworkName = keyof typeof networks;

/** Those built for both stems; the others are the same whatever the stem. */
export function stemsOf(name: NetworkName): readonly Stem[] {
  return name === 'cnn' || name === 'mlp' || name === 'cnn3' ? ['cifar'] : stems;
}
