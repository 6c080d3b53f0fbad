import {
  bias,
  conv2d,
  flatten,
  linear,
  maxpool2d,
  type Random,
  relu,
  type Shape,
  type Tape,
  type Tensor,
} from '../engine/index.ts';

/** A tensor a network learns: its PyTorch name within the module, PyTorch shape and initial values. */
export interface ParameterSpec {
  name: string;
  shape: Shape;
  initial(random: Random): Float32Array;
}

/** Finds a parameter by its name within the module that asks. */
export type Lookup = (name: string) => Tensor<'f32'>;

/** A layer, or a network of layers. Images are NHWC. */
export interface Module {
  parameters: readonly ParameterSpec[];
  apply(tape: Tape, x: Tensor<'f32'>, lookup: Lookup): Tensor<'f32'>;
}

/** Modules one after another; named ones prefix their parameters' names, as in PyTorch. */
export function chain(...items: (Module | readonly [name: string, module: Module])[]): Module {
  const stages = items.map((item) => (Array.isArray(item) ? item : (['', item] as const))) as (readonly [
    string,
    Module,
  ])[];
  return {
    parameters: stages.flatMap(([name, module]) =>
      module.parameters.map((spec) => ({ ...spec, name: join(name, spec.name) })),
    ),
    apply: (tape, x, lookup) =>
      stages.reduce(
        (value, [name, module]) => module.apply(tape, value, (own) => lookup(join(name, own))),
        x,
      ),
  };
}

function join(prefix: string, name: string): string {
  return prefix === '' ? name : `${prefix}.${name}`;
}

export interface Conv2dLayer {
  in: number;
  out: number;
  kernel: number;
  stride?: number;
  padding?: number;
}

/** Convolution with bias: `weight` [out, in, kernel, kernel], `bias` [out]; PyTorch's default initialisation. */
export function conv2dLayer(layer: Conv2dLayer): Module {
  const { in: inChannels, out, kernel, stride = 1, padding = 0 } = layer;
  const fanIn = inChannels * kernel * kernel;
  return {
    parameters: [
      uniformParameter('weight', [out, inChannels, kernel, kernel], fanIn),
      uniformParameter('bias', [out], fanIn),
    ],
    apply: (tape, x, lookup) =>
      bias(tape, conv2d(tape, x, lookup('weight'), { stride, padding }), lookup('bias')),
  };
}

/** Fully connected layer with bias: `weight` [out, in], `bias` [out]; PyTorch's default initialisation. */
export function linearLayer(inFeatures: number, outFeatures: number): Module {
  return {
    parameters: [
      uniformParameter('weight', [outFeatures, inFeatures], inFeatures),
      uniformParameter('bias', [outFeatures], inFeatures),
    ],
    apply: (tape, x, lookup) => bias(tape, linear(tape, x, lookup('weight')), lookup('bias')),
  };
}

export function reluLayer(): Module {
  return { parameters: [], apply: relu };
}

export function maxpoolLayer(kernel: number): Module {
  return { parameters: [], apply: (tape, x) => maxpool2d(tape, x, { kernel }) };
}

export function flattenLayer(): Module {
  return { parameters: [], apply: flatten };
}

/** Uniform in +-1/sqrt(fan in): what torch.nn.Linear and Conv2d do by default. */
function uniformParameter(name: string, shape: Shape, fanIn: number): ParameterSpec {
  const size = shape.reduce((a, b) => a * b, 1);
  const bound = 1 / Math.sqrt(fanIn);
  return { name, shape, initial: (random) => random.uniform(size).map((u) => (2 * u - 1) * bound) };
}
