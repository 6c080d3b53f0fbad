import { type Conv2dOptions, conv2d, type Gpu, SampleSums, sizeOf, Tape } from '../engine/index.ts';
import { normal } from './matmul.ts';
import { type Case, withoutRunning } from './measure.ts';

interface Layer {
  name: string;
  batch: number;
  extent: number;
  in: number;
  out: number;
  kernel: number;
  options: Conv2dOptions;
  /** Whether its input's gradient is ever wanted: not in a network's first layer. */
  first?: boolean;
}

const LAYERS: readonly Layer[] = [
  ...[16, 32].map((extent) => ({
    ...{ name: `3x3 64 to 64, ${extent}x${extent}`, batch: 16, extent, in: 64, out: 64, kernel: 3 },
    options: { padding: 1 },
  })),
  {
    ...{ name: 'cnn conv1, 5x5 1 to 8, 28x28', batch: 64, extent: 28, in: 1, out: 8, kernel: 5 },
    ...{ options: { padding: 2 }, first: true },
  },
  {
    ...{ name: 'cnn conv2, 5x5 8 to 16, 14x14', batch: 64, extent: 14, in: 8, out: 16, kernel: 5 },
    options: { padding: 2 },
  },
  {
    ...{ name: '1x1 64 to 128, 16x16', batch: 16, extent: 16, in: 64, out: 128, kernel: 1 },
    options: {},
  },
  {
    ...{ name: 'depthwise 3x3 64, 16x16', batch: 16, extent: 16, in: 64, out: 64, kernel: 3 },
    options: { padding: 1, groups: 64 },
  },
];

/** Every part of a convolution: forward, input gradient, weight gradient, by sample, and Fisher. */
export function convolutionCases(): Case[] {
  return LAYERS.flatMap(layerCases);
}

function layerCases(layer: Layer): Case[] {
  const { batch, extent, kernel, options } = layer;
  const image = batch * extent * extent;
  const weights = [layer.out, layer.in / (options.groups ?? 1), kernel, kernel];
  const outputs = image * layer.out;
  const common = {
    flop: 2 * image * sizeOf(weights),
    bytes: 4 * (image * layer.in + sizeOf(weights) + outputs),
  };
  const inputs = (gpu: Gpu) => ({
    x: normal(gpu, [batch, extent, extent, layer.in]),
    w: normal(gpu, weights),
    dy: normal(gpu, [batch, extent, extent, layer.out]),
  });
  const backward = (
    part: string,
    body: (
      rule: Tape['operations'][number]['rule'],
      tensors: ReturnType<typeof inputs>,
      gpu: Gpu,
    ) => () => void,
  ): Case => ({
    ...common,
    name: `${layer.name}, ${part}`,
    prepare(gpu) {
      const tensors = inputs(gpu);
      const tape = new Tape(gpu).watch([tensors.x]);
      withoutRunning(gpu, () => conv2d(tape, tensors.x, tensors.w, options).dispose());
      return body(tape.operations[0]!.rule, tensors, gpu);
    },
  });
  return [
    {
      ...common,
      name: `${layer.name}, forward`,
      prepare(gpu) {
        const { x, w } = inputs(gpu);
        return () => conv2d(new Tape(gpu), x, w, options).dispose();
      },
    },
    ...(layer.first
      ? []
      : [
          backward(
            'input gradient',
            (rule, { dy }) =>
              () =>
                rule.gradient(0, dy).dispose(),
          ),
        ]),
    backward(
      'weight gradient',
      (rule, { dy }) =>
        () =>
          rule.gradient(1, dy).dispose(),
    ),
    backward(
      'by sample',
      (rule, { dy }) =>
        () =>
          rule.parameters![1]!.perSample(dy).dispose(),
    ),
    backward('Fisher', (rule, { w, dy }, gpu) => {
      const sum = new SampleSums(gpu, [w], 'square').of(w)!;
      return () => rule.parameters![1]!.accumulate(dy, sum);
    }),
  ];
}
