import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Gpu,
  Random,
  reshape,
  scale,
  softmaxCrossEntropy,
  sum,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import { array64 } from '../engine/reference.ts';
import {
  adaptiveAvgpoolLayer,
  avgpoolLayer,
  batchNormLayer,
  Call,
  chain,
  conv2dLayer,
  convTranspose2dLayer,
  densely,
  flattenLayer,
  geluLayer,
  groupNormLayer,
  layerNormLayer,
  linearLayer,
  livelyState,
  type Module,
  maxpoolLayer,
  relu6Layer,
  reluLayer,
  residual,
  sigmoidLayer,
  siluLayer,
  tanhLayer,
  upsampleLayer,
} from '../models/index.ts';
import { assertClose } from './assertions.ts';
import { openFamilies } from './families.ts';
import { gaussian, sample, upload } from './op_checks.ts';

/**
 * BackPACK's grid: every layer and setting, with the mean and the sum of the losses, in batches of 1 and 3: squared
 * gradients at once against those of each sample by itself, squared here and summed.
 */
const families = await openFamilies();

const CHANNELS = 4;
const IMAGE = [6, 5, CHANNELS] as const;

function* convolutions(): Generator<[string, Module]> {
  for (const stride of [1, 2])
    for (const padding of [0, 1])
      for (const dilation of [1, 2])
        for (const groups of [1, 2, CHANNELS])
          for (const bias of [true, false]) {
            const options = { stride, padding, dilation, groups, bias };
            const layer = conv2dLayer({ in: CHANNELS, out: CHANNELS, kernel: 2, ...options });
            yield [`conv2d ${JSON.stringify(options)}`, layer];
          }
}

function* transposedConvolutions(): Generator<[string, Module]> {
  for (const stride of [1, 2])
    for (const padding of [0, 1])
      yield [
        `convTranspose2d ${JSON.stringify({ stride, padding })}`,
        convTranspose2dLayer({ in: CHANNELS, out: 3, kernel: 3, stride, padding }),
      ];
}

const convolution = (): Module => conv2dLayer({ in: CHANNELS, out: CHANNELS, kernel: 3, padding: 1 });

/** Layers without parameters stand behind a convolution, whose gradients they hand on. */
const between: Record<string, Module> = {
  relu: reluLayer(),
  relu6: relu6Layer(),
  sigmoid: sigmoidLayer(),
  tanh: tanhLayer(),
  gelu: geluLayer(),
  silu: siluLayer(),
  'maxpool 2': maxpoolLayer(2),
  'maxpool 3, stride 2, padding 1': maxpoolLayer({ kernel: 3, stride: 2, padding: 1 }),
  'avgpool 2': avgpoolLayer(2),
  'avgpool 3, stride 2, padding 1': avgpoolLayer({ kernel: 3, stride: 2, padding: 1 }),
  'adaptive avgpool 1': adaptiveAvgpoolLayer(1),
  'adaptive avgpool 3': adaptiveAvgpoolLayer(3),
  'upsample 2': upsampleLayer(2),
};

const layers: [string, Module][] = [
  ...convolutions(),
  ...transposedConvolutions(),
  ['linear', chain(flattenLayer(), linearLayer(120, 7))],
  ['batchNorm', batchNormLayer(CHANNELS)],
  ['groupNorm 1', groupNormLayer(1, CHANNELS)],
  ['groupNorm 2', groupNormLayer(2, CHANNELS)],
  ['layerNorm', layerNormLayer(CHANNELS)],
  ['residual', residual(['main', convolution()])],
  ['densely', densely(['branch', convolution()])],
  ...Object.entries(between).map(([name, layer]): [string, Module] => [
    name,
    chain(['conv', convolution()], layer),
  ]),
];

async function check(
  gpu: Gpu,
  name: string,
  module: Module,
  batch: number,
  loss: 'mean' | 'sum',
): Promise<void> {
  const random = new Random(11);
  const x = gaussian(random, [batch, ...IMAGE]);
  const labels = random.bits(batch).map((word) => word % 3);
  const state = livelyState({ name, input: IMAGE, classes: 3, module, head: [] }, random);
  const reads = gpu.scope(() => {
    const tensors = new Map<string, Tensor<'f32'>>(
      [...state].map(([key, { shape, data }]) => [key, upload(gpu, array64(shape, data))]),
    );
    const learned = module.tensors.filter(({ kind }) => kind === 'parameter');
    const parameters = learned.map((spec) => tensors.get(spec.name)!);
    /** Losses of the samples from `from`, as terms of the whole batch's. */
    const run = (from: number, count: number) => {
      const part = count === batch ? x : sample(x, from);
      const tape = new Tape(gpu).watch(parameters);
      const y = module.apply(new Call(tape, tensors, false, random), upload(gpu, part));
      const logits = reshape(tape, y, [count, y.size / count]);
      const own = gpu.tensor(labels.slice(from, from + count), [count]);
      const losses = softmaxCrossEntropy(tape, logits, own);
      return { tape, losses: loss === 'mean' ? scale(tape, losses, 1 / batch) : losses };
    };
    const whole = run(0, batch);
    const fused = whole.tape.squaredGradients(whole.losses, parameters);
    const singles = Array.from({ length: batch }, (_, n) => {
      const { tape, losses } = run(n, 1);
      return tape.gradients(sum(tape, losses), parameters);
    });
    return [fused, ...singles].map((group) => Promise.all(group.map((tensor) => tensor.read())));
  });
  assert.equal(gpu.liveTensors, 0);
  const [fused, ...singles] = await Promise.all(reads);
  assert.ok(fused!.length > 0);
  for (const [i, values] of fused!.entries()) {
    const exact = Float64Array.from(values, (_, at) =>
      singles.reduce((total, one) => total + one[i]![at]! ** 2, 0),
    );
    assert.ok(
      exact.some((value) => value > 0),
      `parameter ${i} of ${name} is at rest`,
    );
    assertClose(values, exact, 1e-5, `parameter ${i} of ${name}, ${loss}, batch ${batch}`);
  }
}

for (const [family, gpu] of Object.entries(families)) {
  test(`${family} kernels: ${layers.length} layers, mean and sum, batches of 1 and 3`, async () => {
    for (const [name, module] of layers) {
      for (const batch of [1, 3])
        for (const loss of ['mean', 'sum'] as const) await check(gpu, name, module, batch, loss);
    }
  });
}
