import { type Batch, trainingStep } from '../../algorithms/index.ts';
import {
  adam,
  CapturedLoop,
  conv2d,
  Gpu,
  linear,
  Random,
  SampleSums,
  sgd,
  softmaxCrossEntropy,
  Tape,
  type Tensor,
} from '../../engine/index.ts';
import { type Architecture, cnn, Network, resnet18 } from '../../models/index.ts';
import { withoutRunning } from '../measure.ts';
import type { Contender, Prepared } from './child.ts';
import { fingerprint, LEARNING_RATE, poolFree, type Values } from './contests.ts';

type F32 = Tensor<'f32'>;

/** Fathom itself, run as its rivals are. */
export async function contender(): Promise<Contender> {
  const gpu = await Gpu.create();
  return { device: gpu.opened.label, prepare: async (contest, inputs) => prepare(gpu, contest, inputs) };
}

function prepare(gpu: Gpu, contest: string, inputs: Map<string, Values>): Prepared {
  if (contest === 'cnn-step') return training(gpu, cnn(), inputs);
  if (contest === 'resnet18-step') return training(gpu, resnet18({ classes: 10, stem: 'cifar' }), inputs);
  if (contest === 'fisher') return fisher(gpu, inputs);
  const tensors = new Map([...inputs].map(([name, { shape, data }]) => [name, gpu.tensor(data, shape)]));
  return kernel(gpu, contest, (name) => tensors.get(name)!);
}

function kernel(gpu: Gpu, contest: string, input: (name: string) => F32): Prepared {
  if (contest.startsWith('matmul')) return waited(gpu, () => linear(new Tape(gpu), input('x'), input('w')));
  const forward = (tape: Tape) => conv2d(tape, input('x'), input('w'), { padding: 1 });
  if (contest.endsWith('forward')) return waited(gpu, () => forward(new Tape(gpu)));
  const tape = new Tape(gpu).watch([input('x')]);
  withoutRunning(gpu, () => forward(tape));
  const { rule } = tape.operations[0]!;
  return waited(gpu, () => rule.gradient(contest.endsWith('input') ? 0 : 1, input('dy')));
}

function waited(gpu: Gpu, run: () => F32): Prepared {
  return {
    async step() {
      run().dispose();
      await gpu.finish();
    },
    async check() {
      using result = run();
      return fingerprint(await result.read());
    },
  };
}

function networkOf(gpu: Gpu, architecture: Architecture, inputs: Map<string, Values>) {
  const { images, labels, ...state } = Object.fromEntries(inputs);
  const network = Network.fromState(gpu, architecture, new Map(Object.entries(state)), 'the contest');
  const batch: Batch = {
    images: gpu.tensor(images!.data, images!.shape),
    targets: gpu.tensor(Uint32Array.from(labels!.data), labels!.shape),
  };
  return { network, batch, parameters: [...network.parameters.values()] };
}

function training(gpu: Gpu, architecture: Architecture, inputs: Map<string, Values>): Prepared {
  const { network, batch, parameters } = networkOf(gpu, architecture, inputs);
  const optimizer =
    architecture.name === 'cnn'
      ? adam(gpu, parameters, { learningRate: LEARNING_RATE })
      : sgd(gpu, parameters, { learningRate: LEARNING_RATE });
  const random = new Random(0);
  const loop = new CapturedLoop<number, F32>(gpu);
  const losses: number[] = [];
  const step = async () => {
    const loss = loop.run(0, () => trainingStep(network, optimizer, batch, random));
    losses.push((await loss.read())[0]!);
  };
  return { step, check: () => firstLosses(losses, step) };
}

/** The losses of the first three steps, which the gradients and the optimiser have a part in. */
export async function firstLosses(losses: number[], step: () => Promise<unknown>): Promise<number[]> {
  while (losses.length < 3) await step();
  return losses.slice(0, 3);
}

function fisher(gpu: Gpu, inputs: Map<string, Values>): Prepared {
  const { network, batch, parameters } = networkOf(gpu, poolFree(), inputs);
  const loop = new CapturedLoop<number, void>(gpu, parameters);
  const sums = new SampleSums(gpu, parameters, 'square');
  const squares = () => {
    sums.clear();
    loop.run(0, () => {
      const tape = new Tape(gpu).watch(parameters);
      const logits = network.forward(tape, batch.images);
      tape.accumulate(softmaxCrossEntropy(tape, logits, batch.targets as Tensor<'u32'>), sums);
    });
    return sums.totals();
  };
  return {
    async step() {
      for (const square of squares()) square.dispose();
      await gpu.finish();
    },
    async check() {
      const values = await Promise.all(squares().map((square) => square.read()));
      return values.flatMap((each) => fingerprint(each));
    },
  };
}
