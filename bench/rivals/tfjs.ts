import { offerAdapter } from './adapter.ts';
import type { Contender, Prepared } from './child.ts';
import { fingerprint, LEARNING_RATE, type Values } from './contests.ts';
import { toHwio, toInOut, toInOutChannelsLast } from './layouts.ts';
import { firstLosses } from './ours.ts';

type Tf = typeof import('@tensorflow/tfjs');
type Tensor = import('@tensorflow/tfjs').Tensor;
type Images = import('@tensorflow/tfjs').Tensor4D;
type Scalar = import('@tensorflow/tfjs').Scalar;
type Variable = import('@tensorflow/tfjs').Variable;
interface Backend {
  device: GPUDevice;
  commandEncoder: GPUCommandEncoder | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
}

/** TensorFlow.js on its WebGPU backend. */
export async function contender(): Promise<Contender> {
  const device = await offerAdapter();
  // The umbrella package, for only it registers gradients in Node.
  const tf = await import('@tensorflow/tfjs');
  await import('@tensorflow/tfjs-backend-webgpu');
  if (!(await tf.setBackend('webgpu'))) throw new Error('the WebGPU backend does not start');
  await tf.ready();
  return { device, prepare: async (contest, inputs) => prepare(tf, contest, inputs) };
}

function prepare(tf: Tf, contest: string, inputs: Map<string, Values>): Prepared {
  const upload = ({ shape, data }: Values) => tf.tensor(data, [...shape]);
  const input = (name: string) => inputs.get(name)!;
  if (contest === 'cnn-step')
    return training(tf, cnn(tf, inputs), inputs, tf.train.adam(LEARNING_RATE, 0.9, 0.999, 1e-8));
  if (contest === 'resnet18-step')
    return training(tf, resnet18(tf, inputs), inputs, tf.train.sgd(LEARNING_RATE));
  if (contest.startsWith('matmul')) {
    const [x, w] = [upload(input('x')), upload(toInOut(input('w')))];
    return kernel(tf, () => tf.matMul(x, w));
  }
  const [x, dy, w] = [upload(input('x')), upload(input('dy')), upload(toHwio(input('w')))];
  const settings = { strides: 1, pad: 'same', dataFormat: 'NHWC' };
  const run = (name: string, tensors: Record<string, Tensor>, more: object) =>
    tf.engine().runKernel(name, tensors, { ...settings, ...more }) as Tensor;
  if (contest.endsWith('forward')) return kernel(tf, () => tf.conv2d(x as Images, w as Images, 1, 'same'));
  return contest.endsWith('input')
    ? kernel(tf, () => run('Conv2DBackpropInput', { dy, filter: w }, { inputShape: x.shape }))
    : kernel(tf, () => run('Conv2DBackpropFilter', { x, dy }, { filterShape: w.shape }));
}

function kernel(tf: Tf, run: () => Tensor): Prepared {
  const backend = tf.backend() as unknown as Backend;
  return {
    async step() {
      run().dispose();
      backend.endComputePassEncoder();
      if (backend.commandEncoder) backend.submitQueue();
      await backend.device.queue.onSubmittedWorkDone();
    },
    async check() {
      return fingerprint(await run().data());
    },
  };
}

interface Model {
  variables: Variable[];
  forward(images: Images): Tensor;
}

function training(
  tf: Tf,
  { variables, forward }: Model,
  inputs: Map<string, Values>,
  optimizer: import('@tensorflow/tfjs').Optimizer,
): Prepared {
  const { data: pixels, shape } = inputs.get('images')!;
  const images = tf.tensor<import('@tensorflow/tfjs').Rank.R4>(pixels, [...shape] as never);
  const labels = tf.oneHot(tf.tensor1d(Int32Array.from(inputs.get('labels')!.data), 'int32'), 10);
  const loss = () => tf.losses.softmaxCrossEntropy(labels, forward(images)) as Scalar;
  const losses: number[] = [];
  const step = async () => {
    const value = tf.tidy(() => optimizer.minimize(loss, true, variables)!);
    losses.push((await value.data())[0]!);
    value.dispose();
  };
  return { step, check: () => firstLosses(losses, step) };
}

/** Makes variables of the inputs by name, each laid out as told. */
function variablesOf(tf: Tf, inputs: Map<string, Values>) {
  const variables: Variable[] = [];
  return {
    variables,
    variable(name: string, layout: (values: Values) => Values = (values) => values): Variable {
      const { shape, data } = layout(inputs.get(name)!);
      const made = tf.variable(tf.tensor(data, [...shape]));
      variables.push(made);
      return made;
    },
  };
}

function cnn(tf: Tf, inputs: Map<string, Values>): Model {
  const { variables, variable } = variablesOf(tf, inputs);
  const layers = ['conv1', 'conv2'].map(
    (name) => [variable(`${name}.weight`, toHwio) as Variable, variable(`${name}.bias`)] as const,
  );
  const weight = variable('fc.weight', (values) => toInOutChannelsLast(values, 16));
  const bias = variable('fc.bias');
  return {
    variables,
    forward(images) {
      let x: Tensor = images;
      for (const [filter, offset] of layers) {
        const y = tf.add(tf.conv2d(x as Images, filter as unknown as Images, 1, 'same'), offset);
        x = tf.maxPool(tf.relu(y) as Images, 2, 2, 'valid');
      }
      return tf.add(tf.matMul(tf.reshape(x, [images.shape[0], 784]), weight as Tensor), bias);
    },
  };
}

/** Batch normalisation in training mode; running statistics, which Fathom also keeps, are left out. */
function resnet18(tf: Tf, inputs: Map<string, Values>): Model {
  const { variables, variable } = variablesOf(tf, inputs);
  type Layer = (x: Images) => Images;
  const normalised = (convolution: string, norm: string, stride: number): Layer => {
    const filter = variable(`${convolution}.weight`, toHwio) as unknown as Images;
    const [scale, offset] = [variable(`${norm}.weight`), variable(`${norm}.bias`)];
    const extent = filter.shape[0];
    return (x) => {
      const y = tf.conv2d(x, filter, stride, (extent - 1) / 2);
      const { mean, variance } = tf.moments(y, [0, 1, 2]);
      return tf.batchNorm(
        y,
        mean as never,
        variance as never,
        offset as never,
        scale as never,
        1e-5,
      ) as Images;
    };
  };
  const first = normalised('conv1', 'bn1', 1);
  const blocks: Layer[] = [];
  for (let stage = 1; stage <= 4; stage++) {
    for (let i = 0; i < 2; i++) {
      const [name, stride] = [`layer${stage}.${i}`, i === 0 && stage > 1 ? 2 : 1];
      const a = normalised(`${name}.conv1`, `${name}.bn1`, stride);
      const b = normalised(`${name}.conv2`, `${name}.bn2`, 1);
      const down = stride === 2 ? normalised(`${name}.downsample.0`, `${name}.downsample.1`, 2) : undefined;
      blocks.push((x) => tf.relu(tf.add(b(tf.relu(a(x))), down ? down(x) : x)));
    }
  }
  const [weight, bias] = [variable('fc.weight', toInOut), variable('fc.bias')];
  return {
    variables,
    forward(images) {
      const features = blocks.reduce((x, block) => block(x), tf.relu(first(images)));
      return tf.add(tf.matMul(tf.mean(features, [1, 2]), weight as Tensor), bias);
    },
  };
}
