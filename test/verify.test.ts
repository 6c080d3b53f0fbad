import assert from 'node:assert/strict';
import process from 'node:process';
import { after, test } from 'node:test';
import { type Verification, verify } from '../algorithms/index.ts';
import { randomExamples } from '../cli/labelled-images.ts';
import { addPartials } from '../engine/convolution.ts';
import {
  batchNormTraining,
  fill,
  flatten,
  Gpu,
  Random,
  type Rule,
  scale,
  squared,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import {
  type Architecture,
  avgpoolLayer,
  batchNormLayer,
  type Call,
  chain,
  conv2dLayer,
  flattenLayer,
  linearLayer,
  livelyState,
  type Module,
  Network,
  type NetworkName,
  networks,
  reluLayer,
  residual,
} from '../models/index.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** What each part of the network is to be, where it is not what it should be. */
interface Parts {
  conv1?: Module;
  bn1?: Module;
  branch?: Module;
  block?: (branch: Module) => Module;
  fc1?: Module;
}

const right = {
  conv1: conv2dLayer({ in: 2, out: 4, kernel: 3, padding: 1 }),
  bn1: batchNormLayer(4),
  branch: chain(['conv2', conv2dLayer({ in: 4, out: 4, kernel: 3, padding: 1 })], reluLayer()),
  block: (branch: Module) => residual(branch),
  fc1: linearLayer(16, 16),
};

function small(parts: Parts = {}): Architecture {
  const { conv1, bn1, branch, block, fc1 } = { ...right, ...parts };
  return {
    name: 'small',
    input: [4, 4, 2],
    classes: 3,
    module: chain(
      ['conv1', conv1],
      ['bn1', bn1],
      reluLayer(),
      block(branch),
      avgpoolLayer(2),
      flattenLayer(),
      ['fc1', fc1],
      reluLayer(),
      ['fc2', linearLayer(16, 3)],
    ),
    head: ['fc2.weight', 'fc2.bias'],
  };
}

async function check(architecture: Architecture): Promise<Verification> {
  const random = new Random(3);
  const images = {
    name: 'noise',
    count: 4,
    height: 4,
    width: 4,
    channels: 2,
    pixels: random.normal(4 * 32),
    labels: Uint32Array.of(0, 1, 2, 1),
    classes: 3,
  };
  const index = Uint32Array.of(0, 1, 2, 3);
  using network = Network.fromState(gpu, architecture, livelyState(architecture, random), 'test');
  return await verify(network, { images, index, labels: images.labels });
}

test('a network whose rules are right passes every check', async () => {
  const { checks, ok, parameters } = await check(small());
  assert.deepEqual(
    checks.filter((each) => !each.ok).map(({ name, failures }) => ({ name, failures })),
    [],
  );
  assert.ok(ok);
  assert.equal(checks.length, 8);
  assert.deepEqual(parameters[0], { name: 'conv1.weight', shape: [4, 2, 3, 3] });
});

/** A module one of whose ops has another rule. */
function tampered(module: Module, op: string, tamper: (rule: Rule) => Partial<Rule>): Module {
  return {
    tensors: module.tensors,
    apply(call, x) {
      const record: Tape['record'] = (name, inputs, output, rule, settings) =>
        call.tape.record(name, inputs, output, name === op ? { ...rule, ...tamper(rule) } : rule, settings);
      const tape = Object.create(call.tape, { record: { value: record } });
      return module.apply(Object.create(call, { tape: { value: tape } }) as Call, x);
    },
  };
}

function transposed(square: Tensor<'f32'>): Tensor<'f32'> {
  const [size] = square.shape as [number];
  return flatten(new Tape(square.gpu), square.reshape([1, size, 1, size])).reshape(square.shape);
}

const faults: { name: string; parts: Parts; fails: string; names: string[]; spares: string[] }[] = [
  {
    name: 'a wrong sign in a rule',
    parts: {
      branch: tampered(right.branch, 'relu', (rule) => ({
        gradient: (i, upstream) => scale(new Tape(upstream.gpu), rule.gradient(i, upstream), -1),
      })),
    },
    fails: 'gradients against central differences',
    names: ['conv2.weight', 'conv2.bias'],
    spares: ['fc1.weight', 'fc2.bias'],
  },
  {
    name: 'a dropped upstream gradient',
    parts: {
      block: (branch) =>
        tampered(residual(branch), 'add', (rule) => ({
          gradient: (i, upstream) =>
            i === 0 ? fill(upstream.gpu, upstream.shape, 0) : rule.gradient(i, upstream),
        })),
    },
    fails: 'gradients against central differences',
    names: ['conv2.weight', 'conv2.bias'],
    spares: ['fc1.weight', 'fc2.weight'],
  },
  {
    name: 'the square of the batch mean',
    parts: {
      conv1: tampered(right.conv1, 'conv2d', (rule) => ({
        parameters: {
          1: {
            ...rule.parameters![1]!,
            accumulate: (upstream, sum) =>
              addPartials(squared(rule.gradient(1, upstream)), sum.take(1, 0).sums, 1),
          },
        },
      })),
    },
    fails: 'Fisher at once against a loop of batch 1',
    names: ['conv1.weight'],
    spares: ['conv1.bias', 'fc1.weight'],
  },
  {
    name: 'batch normalisation in training mode',
    parts: {
      bn1: {
        tensors: right.bn1.tensors,
        apply: (call, x) => batchNormTraining(call.tape, x, call.tensor('weight'), call.tensor('bias')).y,
      },
    },
    fails: 'Fisher at once against a loop of batch 1',
    names: ['bn1.weight', 'bn1.bias'],
    spares: ['fc1.weight'],
  },
  {
    name: 'a transposed weight',
    parts: {
      fc1: tampered(right.fc1, 'linear', (rule) => ({
        gradient: (i, upstream) => {
          const gradient = rule.gradient(i, upstream);
          return i === 1 ? transposed(gradient) : gradient;
        },
      })),
    },
    fails: 'gradients against central differences',
    names: ['fc1.weight'],
    spares: ['fc1.bias', 'conv1.weight', 'fc2.weight'],
  },
];

for (const { name, parts, fails, names, spares } of faults) {
  test(`${name} is found, and the parameters it concerns are named`, async () => {
    const { checks, ok } = await check(small(parts));
    assert.ok(!ok);
    const { failures } = checks.find((each) => each.name === fails)!;
    const named = failures.map((failure) => failure.name.split(' ')[0]);
    for (const parameter of names) assert.ok(named.includes(parameter), `${parameter} in ${named}`);
    for (const parameter of spares) assert.ok(!named.includes(parameter), `${parameter} not in ${named}`);
  });
}

test('a Fisher of a wrong scale is found by the divergence alone', async () => {
  const twice = tampered(right.fc1, 'linear', (rule) => ({
    parameters: {
      1: {
        ...rule.parameters![1]!,
        accumulate: (upstream, sum) =>
          rule.parameters![1]!.accumulate(scale(new Tape(upstream.gpu), upstream, Math.SQRT2), sum),
      },
    },
    gradient: (i, upstream) => {
      const gradient = rule.gradient(i, upstream);
      return i === 1 ? scale(new Tape(upstream.gpu), gradient, Math.SQRT2) : gradient;
    },
  }));
  const { checks } = await check(small({ fc1: twice }));
  const failing = checks.filter((each) => !each.ok);
  const divergence = failing.find(({ name }) => name.startsWith('divergence'));
  assert.deepEqual(
    divergence?.failures.map(({ name }) => name),
    ['fc1.weight'],
  );
  assert.ok(Math.abs(divergence!.failures[0]!.error - 0.5) < 0.02);
  assert.ok(!failing.some(({ name }) => name.startsWith('Fisher at once')));
});

/** The others take a minute or more each: FATHOM_THOROUGH=1 takes them too. */
const QUICK: readonly NetworkName[] = ['cnn', 'mlp', 'taskonomy_fc', 'taskonomy_conv'];
const thorough = Boolean(process.env.FATHOM_THOROUGH);
for (const name of Object.keys(networks) as NetworkName[]) {
  const skip = thorough || QUICK.includes(name) ? false : 'takes minutes; set FATHOM_THOROUGH=1';

  test(`${name} passes every check`, { skip }, async (t) => {
    const architecture = networks[name]({ classes: 10, stem: 'cifar' });
    using network = Network.fromState(gpu, architecture, livelyState(architecture, new Random(1)), name);
    const { checks } = await verify(network, randomExamples(architecture, 4));
    for (const each of checks)
      t.diagnostic(`${name}: ${each.name} ${each.worst?.error} (${each.worst?.name})`);
    assert.deepEqual(
      checks.flatMap(({ failures }) => failures),
      [],
    );
  });
}

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
