import { Random, type Shape, sizeOf } from '../../engine/index.ts';
import {
  type Architecture,
  chain,
  cnn,
  conv2dLayer,
  initialState,
  linearLayer,
  resnet18,
} from '../../models/index.ts';

/** A tensor on the CPU. */
export interface Values {
  shape: Shape;
  data: Float32Array;
}

/** What every side computes from the same values. */
export interface Contest {
  title: string;
  /** Floating-point operations of one step; 0 where it is a whole pass over a network. */
  flop: number;
  /** Relative difference allowed between what two sides compute. */
  tolerance: number;
  /** Sides that take part beside ours. */
  rivals: readonly Rival[];
  /** By name, in PyTorch's layouts but images as NHWC. */
  inputs(): Map<string, Values>;
}

export const rivals = ['tfjs', 'jax', 'gpujs', 'gpujs-cpu', 'torch'] as const;
export type Rival = (typeof rivals)[number];
export type Side = Rival | 'ours';

/** One of ours, for humans' eyes. */
export const sideNames: Readonly<Record<Side, string>> = {
  ours: 'Fathom',
  tfjs: 'TensorFlow.js WebGPU',
  jax: 'jax-js (jit)',
  gpujs: 'gpu.js WebGPU',
  'gpujs-cpu': 'gpu.js CPU',
  torch: 'PyTorch CPU',
};

/** Images a step of each network takes. */
export const CNN_BATCH = 64;
export const RESNET_BATCH = 8;
export const FISHER_BATCH = 64;
const CONV_BATCH = 16;
const CHANNELS = 64;

/** Two strided 5x5 convolutions and a linear layer: what jax-js can take apart by sample, for it has no such rule for pooling. */
export function poolFree(): Architecture {
  return {
    name: 'pool-free cnn',
    input: [28, 28, 1],
    classes: 10,
    module: chain(
      ['conv1', conv2dLayer({ in: 1, out: 8, kernel: 5, padding: 2, stride: 2, relu: true })],
      ['conv2', conv2dLayer({ in: 8, out: 16, kernel: 5, padding: 2, stride: 2, relu: true })],
      ['fc', linearLayer(784, 10)],
    ),
    head: ['fc.weight', 'fc.bias'],
  };
}

const normal = (name: string, shape: Shape): [string, Values] => [
  name,
  { shape, data: new Random(0).fork(name).normal(sizeOf(shape)) },
];

function matmul(n: number): Contest {
  return {
    title: `matrix product ${n} x ${n} x ${n}`,
    flop: 2 * n ** 3,
    tolerance: 1e-4,
    rivals: ['tfjs', 'jax', 'gpujs', 'gpujs-cpu', 'torch'],
    inputs: () => new Map([normal('x', [n, n]), normal('w', [n, n])]),
  };
}

export const convolutionParts = ['forward', 'input gradient', 'weight gradient'] as const;
export type ConvolutionPart = (typeof convolutionParts)[number];

function convolution(extent: number, part: ConvolutionPart): Contest {
  return {
    title: `3x3 convolution ${CHANNELS} to ${CHANNELS}, ${extent}x${extent}, batch ${CONV_BATCH}: ${part}`,
    flop: 2 * CONV_BATCH * extent ** 2 * CHANNELS ** 2 * 9,
    tolerance: 1e-4,
    rivals: ['tfjs', 'jax', 'torch'],
    inputs: () =>
      new Map([
        normal('x', [CONV_BATCH, extent, extent, CHANNELS]),
        normal('dy', [CONV_BATCH, extent, extent, CHANNELS]),
        normal('w', [CHANNELS, CHANNELS, 3, 3]),
      ]),
  };
}

function network(
  title: string,
  architecture: Architecture,
  batch: number,
  participants: readonly Rival[],
): Contest {
  return {
    title,
    flop: 0,
    tolerance: 1e-3,
    rivals: participants,
    inputs() {
      const labels = Float32Array.from(new Random(1).bits(batch), (bits) => bits % architecture.classes);
      const pixels = new Random(2).uniform(batch * sizeOf(architecture.input));
      return new Map<string, Values>([
        ...initialState(architecture, new Random(0)),
        ['images', { shape: [batch, ...architecture.input], data: pixels }],
        ['labels', { shape: [batch], data: labels }],
      ]);
    },
  };
}

/** By the name they are asked for. */
export const contests: Readonly<Record<string, Contest>> = {
  'matmul-512': matmul(512),
  'matmul-1024': matmul(1024),
  'conv16-forward': convolution(16, 'forward'),
  'conv16-input': convolution(16, 'input gradient'),
  'conv16-weight': convolution(16, 'weight gradient'),
  'conv32-forward': convolution(32, 'forward'),
  'conv32-input': convolution(32, 'input gradient'),
  'conv32-weight': convolution(32, 'weight gradient'),
  'cnn-step': network(`training step of the cnn (Adam), batch ${CNN_BATCH}`, cnn(), CNN_BATCH, [
    'tfjs',
    'jax',
    'torch',
  ]),
  'resnet18-step': network(
    `training step of resnet18, cifar stem (SGD), batch ${RESNET_BATCH}`,
    resnet18({ classes: 10, stem: 'cifar' }),
    RESNET_BATCH,
    ['tfjs', 'jax', 'torch'],
  ),
  fisher: network(
    `Fisher (squared gradients by sample) of a cnn without pooling, batch ${FISHER_BATCH}`,
    poolFree(),
    FISHER_BATCH,
    ['jax'],
  ),
};

export const LEARNING_RATE = 1e-3;

/** What two sides' results are held against each other by: free of the layout, since layouts differ. */
export function fingerprint(values: Iterable<number>): number[] {
  let [count, absolute, square] = [0, 0, 0];
  for (const value of values) {
    count++;
    absolute += Math.abs(value);
    square += value * value;
  }
  return [absolute / count, Math.sqrt(square / count)];
}
