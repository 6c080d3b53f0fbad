import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  Gpu,
  parseSafetensors,
  Random,
  type Shape,
  serializeSafetensors,
  sizeOf,
  Tape,
} from '../engine/index.ts';
import type { SafetensorsTensor } from '../engine/safetensors.ts';
import {
  type Architecture,
  adaptHead,
  batchNormLayer,
  chain,
  conv2dLayer,
  densely,
  dropoutLayer,
  flattenLayer,
  groupNormLayer,
  heNormal,
  heUniform,
  type Initialiser,
  initialState,
  linearLayer,
  Network,
  type NetworkName,
  networks,
  normal,
  parameterCount,
  parseState,
  pytorchDefault,
  reluLayer,
  residual,
  resnet18,
  serializeState,
  xavierNormal,
  xavierUniform,
} from '../models/index.ts';
import { failsWith } from './assertions.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** What torchvision's documentation gives for its weights, which have 1000 classes. */
const TORCHVISION: Partial<Record<NetworkName, number>> = {
  vgg16_bn: 138_365_992,
  resnet18: 11_689_512,
  resnet34: 21_797_672,
  densenet121: 7_978_856,
  mobilenet_v2: 3_504_872,
};
for (const [name, count] of Object.entries(TORCHVISION)) {
  test(`${name} with the imagenet stem has torchvision's ${count} parameters`, () => {
    const architecture = networks[name as NetworkName]({ classes: 1000, stem: 'imagenet' });
    assert.equal(parameterCount(architecture), count);
  });
}

test('the fully connected autoencoder has the sizes of the released code', () => {
  const shapes = networks.taskonomy_fc({ classes: 0, stem: 'imagenet' }).module.tensors;
  assert.deepEqual(
    shapes.filter(({ name }) => name.endsWith('weight')).map(({ shape }) => shape),
    [
      [512, 49152],
      [128, 512],
      [512, 128],
      [49152, 512],
    ],
  );
});

test('names of torchvision that no reference value covers', () => {
  const names = new Set(
    networks.mobilenet_v2({ classes: 10, stem: 'cifar' }).module.tensors.map(({ name }) => name),
  );
  for (const name of [
    'features.0.0.weight',
    'features.0.1.running_var',
    'features.1.conv.0.0.weight',
    'features.1.conv.1.weight',
    'features.1.conv.2.bias',
    'features.17.conv.3.running_mean',
    'features.18.0.weight',
    'classifier.1.bias',
  ]) {
    assert.ok(names.has(name), name);
  }
});

/** A network with every kind of part; outputs 3 classes of 8x8 images in two colours. */
function mixed(classes = 3): Architecture {
  const block = chain(
    ['conv', conv2dLayer({ in: 6, out: 6, kernel: 3, padding: 1, groups: 2, bias: false })],
    ['bn', batchNormLayer(6)],
    reluLayer(),
  );
  return {
    name: 'mixed',
    input: [8, 8, 2],
    classes,
    module: chain(
      ['stem', conv2dLayer({ in: 2, out: 4, kernel: 3, padding: 1 })],
      ['norm', batchNormLayer(4)],
      densely(['grow', conv2dLayer({ in: 4, out: 2, kernel: 1 })]),
      ['block', residual(block)],
      ['group', groupNormLayer(3, 6)],
      dropoutLayer(0.25),
      flattenLayer(),
      ['fc', linearLayer(384, classes)],
    ),
    head: ['fc.weight', 'fc.bias'],
  };
}

/** A state dict as PyTorch would save it. */
function file(
  architecture: Architecture,
  change: (tensors: Map<string, SafetensorsTensor>) => void = () => {},
): Uint8Array {
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, { shape, data }] of initialState(architecture, new Random(7))) {
    tensors.set(name, { dtype: 'F32', shape, data });
    if (name.endsWith('running_var')) {
      const counter = name.replace('running_var', 'num_batches_tracked');
      tensors.set(counter, { dtype: 'I64', shape: [], data: BigInt64Array.of(2n ** 40n + 1n) });
    }
  }
  change(tensors);
  return serializeSafetensors(tensors, {});
}

test("a state dict of torchvision's shape goes through a network bit for bit", async () => {
  for (const architecture of [mixed(), resnet18({ classes: 10, stem: 'cifar' })]) {
    const bytes = file(architecture);
    const { state, batches } = parseState(bytes, 'a file');
    using network = Network.fromState(gpu, architecture, state, 'a file', batches);
    const [before, after] = [bytes, await serializeState(network)].map(
      (content) => parseSafetensors(content, 'x').tensors,
    );
    assert.deepEqual(after, before);
  }
});

test('training moves running statistics and counts batches', async () => {
  const { state, batches } = parseState(file(mixed()), 'a file');
  using network = Network.fromState(gpu, mixed(), state, 'a file', batches);
  gpu.scope(() => {
    const images = gpu.tensor(new Random(1).normal(4 * 128), [4, 8, 8, 2]);
    for (let i = 0; i < 3; i++) network.forward(new Tape(gpu), images, { training: true });
    network.forward(new Tape(gpu), images);
  });
  assert.equal(network.batchCounts.get('norm.num_batches_tracked'), 2n ** 40n + 4n);
  assert.notDeepEqual((await network.state()).get('norm.running_mean'), state.get('norm.running_mean'));
});

test('missing, extra and misshapen tensors are reported together', () => {
  const bytes = file(mixed(), (tensors) => {
    tensors.delete('stem.bias');
    tensors.delete('block.bn.running_mean');
    tensors.set('fc.weight', { dtype: 'F32', shape: [2, 2], data: new Float32Array(4) });
    tensors.set('other.weight', { dtype: 'F32', shape: [1], data: new Float32Array(1) });
    tensors.set('other.num_batches_tracked', { dtype: 'I64', shape: [], data: BigInt64Array.of(1n) });
    tensors.set('norm.running_var', { dtype: 'F32', shape: [4], data: Float32Array.of(1, 1, Number.NaN, 1) });
  });
  const { state, batches } = parseState(bytes, 'a file');
  assert.throws(
    () => Network.fromState(gpu, mixed(), state, 'a file', batches),
    (error: Error) => {
      assert.ok(failsWith('weights-mismatch')(error));
      for (const part of [
        'stem.bias is missing',
        'block.bn.running_mean is missing',
        'fc.weight has shape [2,2], not [3,384]',
        'other.weight is not part of the network',
        'other.num_batches_tracked is not part of the network',
        'norm.running_var holds NaN',
      ]) {
        assert.ok(error.message.includes(part), `${part} in ${error.message}`);
      }
      return true;
    },
  );
});

test('tensors of other types are refused by name', () => {
  const bytes = file(mixed(), (tensors) => {
    tensors.set('stem.bias', { dtype: 'F64', shape: [4], data: new Float64Array(4) });
    tensors.set('fc.bias', { dtype: 'I32', shape: [3], data: new Int32Array(3) });
  });
  assert.throws(() => parseState(bytes, 'a file'), failsWith('not-f32', /stem.bias is F64.*fc.bias is I32/));
});

test('a head is adapted to another class count, and the rest kept', () => {
  const state = initialState(mixed(3), new Random(1));
  const adapted = adaptHead(state, mixed(5), new Random(2));
  assert.deepEqual(adapted.get('fc.weight')!.shape, [5, 384]);
  assert.deepEqual([...adapted.keys()], [...state.keys()]);
  for (const [name, value] of state) if (!name.startsWith('fc.')) assert.equal(adapted.get(name), value);
  Network.fromState(gpu, mixed(5), adapted, 'adapted')[Symbol.dispose]();
  assert.throws(() => adaptHead(state, { ...mixed(5), head: [] }, new Random(2)), failsWith('no-head'));
});

const conv: Shape = [64, 32, 3, 3];
const initialisers: [string, Initialiser, number, 'uniform' | 'normal'][] = [
  ['pytorchDefault', pytorchDefault, 1 / Math.sqrt(3 * 288), 'uniform'],
  ['heNormal(in)', heNormal('in'), Math.sqrt(2 / 288), 'normal'],
  ['heNormal(out)', heNormal('out'), Math.sqrt(2 / 576), 'normal'],
  ['heUniform(in)', heUniform('in'), Math.sqrt(2 / 288), 'uniform'],
  ['xavierNormal', xavierNormal, Math.sqrt(2 / 864), 'normal'],
  ['xavierUniform', xavierUniform, Math.sqrt(2 / 864), 'uniform'],
  ['normal(0.01)', normal(0.01), 0.01, 'normal'],
];
for (const [name, initialise, deviation, kind] of initialisers) {
  test(`${name} has PyTorch's spread`, () => {
    const values = initialise(conv, new Random(3));
    const count = sizeOf(conv);
    const moment = (power: number) => values.reduce((total, v) => total + v ** power, 0) / count;
    // Over 18432 values the standard error of the deviation is .5 %, that of the kurtosis .04.
    assert.ok(Math.abs(Math.sqrt(moment(2)) / deviation - 1) < 0.02);
    assert.ok(Math.abs(moment(1)) < (4 * deviation) / Math.sqrt(count));
    const kurtosis = moment(4) / moment(2) ** 2;
    assert.ok(Math.abs(kurtosis - (kind === 'normal' ? 3 : 1.8)) < 0.2, `${kurtosis}`);
  });
}

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
