import { type Random, type Shape, sizeOf } from '../engine/index.ts';

/** Fresh values for a tensor of a shape whose first axis is the outputs', as in PyTorch's layouts. */
export type Initialiser = (shape: Shape, random: Random) => Float32Array;

const fanIn = (shape: Shape) => sizeOf(shape) / shape[0]!;
const fanOut = (shape: Shape) => sizeOf(shape) / shape[1]!;

/** Uniform in +-bound. */
export function uniform(bound: number): Initialiser {
  return (shape, random) => random.uniform(sizeOf(shape)).map((u) => (2 * u - 1) * bound);
}

/** Normal around 0. */
export function normal(deviation: number): Initialiser {
  return (shape, random) => random.normal(sizeOf(shape)).map((z) => z * deviation);
}

export function constant(value: number): Initialiser {
  return (shape) => new Float32Array(sizeOf(shape)).fill(value);
}

/** What torch.nn.Linear and Conv2d do by default: `kaiming_uniform_(a=sqrt(5))`, uniform in +-1/sqrt(fan in). */
export const pytorchDefault: Initialiser = (shape, random) =>
  uniform(1 / Math.sqrt(fanIn(shape)))(shape, random);

/** He et al. 2015 for relu: normal with variance 2 / fan (`kaiming_normal_`). */
export function heNormal(fan: 'in' | 'out'): Initialiser {
  return (shape, random) => normal(Math.sqrt(2 / (fan === 'in' ? fanIn : fanOut)(shape)))(shape, random);
}

/** He et al. 2015 for relu: uniform in +-sqrt(6 / fan) (`kaiming_uniform_`). */
export function heUniform(fan: 'in' | 'out'): Initialiser {
  return (shape, random) => uniform(Math.sqrt(6 / (fan === 'in' ? fanIn : fanOut)(shape)))(shape, random);
}

/** Glorot & Bengio 2010: normal with variance 2 / (fan in + fan out) (`xavier_normal_`). */
export const xavierNormal: Initialiser = (shape, random) =>
  normal(Math.sqrt(2 / (fanIn(shape) + fanOut(shape))))(shape, random);

/** Glorot & Bengio 2010: uniform in +-sqrt(6 / (fan in + fan out)) (`xavier_uniform_`). */
export const xavierUniform: Initialiser = (shape, random) =>
  uniform(Math.sqrt(6 / (fanIn(shape) + fanOut(shape))))(shape, random);
