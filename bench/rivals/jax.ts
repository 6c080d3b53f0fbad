import { offerAdapter } from './adapter.ts';
import type { Contender, Prepared } from './child.ts';
import { fingerprint, LEARNING_RATE, type Values } from './contests.ts';
import { toChannelsFirst } from './layouts.ts';
import { firstLosses } from './ours.ts';

type Jax = typeof import('@jax-js/jax');
type Array = import('@jax-js/jax').Array;
type Weights = Record<string, Array>;
type Moments = [loss: Array, weights: Weights, first: Weights, second: Weights];

/** jax-js on its WebGPU backend, everything under `jit`. Its arrays are consumed by use; `ref` keeps one for another. */
export async function contender(): Promise<Contender> {
  const device = await offerAdapter();
  const jax = await import('@jax-js/jax');
  const started = await jax.init('webgpu');
  if (!started.includes('webgpu')) throw new Error('the WebGPU backend does not start');
  jax.defaultDevice('webgpu');
  return { device, prepare: async (contest, inputs) => prepare(jax, contest, inputs) };
}

function prepare(jax: Jax, contest: string, inputs: Map<string, Values>): Prepared {
  const { numpy: np, lax } = jax;
  const upload = ({ shape, data }: Values) =>
    np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
  const input = (name: string) => inputs.get(name)!;
  if (contest.endsWith('-step')) return training(jax, contest === 'cnn-step' ? 'cnn' : 'resnet18', inputs);
  if (contest === 'fisher') return fisher(jax, inputs);
  if (contest.startsWith('matmul')) {
    const [x, w] = [upload(input('x')), upload(input('w'))];
    const product = jax.jit((a: Array, b: Array) => np.matmul(a, b.transpose()));
    return kernel(() => product(x.ref, w.ref) as Array);
  }
  const [x, dy] = [upload(toChannelsFirst(input('x'))), upload(toChannelsFirst(input('dy')))];
  const w = upload(input('w'));
  const convolve = (a: Array, b: Array) => lax.convGeneralDilated(a, b, [1, 1], 'SAME');
  const against = (a: Array, b: Array, c: Array) => np.sum(convolve(a, b).mul(c));
  const part = contest.endsWith('forward')
    ? jax.jit((a: Array, b: Array, _: Array) => convolve(a, b))
    : jax.jit(jax.grad(against, { argnums: contest.endsWith('input') ? 0 : 1 }));
  return kernel(() => part(x.ref, w.ref, dy.ref) as Array);
}

function kernel(run: () => Array): Prepared {
  return {
    async step() {
      const result = run();
      await result.blockUntilReady();
      result.dispose();
    },
    check: async () => fingerprint((await run().data()) as Float32Array),
  };
}

/** Mean over the batch of the cross-entropy with one-hot `labels`. */
function crossEntropy({ nn, numpy: np }: Jax, logits: Array, labels: Array): Array {
  const samples = logits.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return np.sum(nn.logSoftmax(logits, -1).mul(labels)).mul(-1 / samples);
}

/** `weights` are the learned values among the inputs. */
function uploaded({ numpy: np, nn, tree }: Jax, inputs: Map<string, Values>) {
  const array = ({ shape, data }: Values) =>
    np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] });
  const learned = [...inputs].filter(([name]) => /(weight|bias)$/.test(name));
  return {
    weights: Object.fromEntries(learned.map(([name, values]) => [name, array(values)])) as Weights,
    images: array(toChannelsFirst(inputs.get('images')!)),
    labels: nn.oneHot(np.array(Int32Array.from(inputs.get('labels')!.data), { dtype: np.int32 }), 10),
    tree,
  };
}

function training(jax: Jax, name: 'cnn' | 'resnet18', inputs: Map<string, Values>): Prepared {
  const { numpy: np } = jax;
  const { weights, images, labels } = uploaded(jax, inputs);
  const forward = name === 'cnn' ? cnn : resnet18;
  const loss = (w: Weights, x: Array, y: Array) => crossEntropy(jax, forward(jax, w, x), y);
  const zeros = () =>
    Object.fromEntries(Object.entries(weights).map(([key, w]) => [key, np.zeros(w.shape)])) as Weights;
  const names = Object.keys(weights);
  const each = (body: (key: string) => Array) =>
    Object.fromEntries(names.map((key) => [key, body(key)])) as Weights;

  const adam = jax.jit((w: Weights, m: Weights, v: Weights, scales: Array, x: Array, y: Array): Moments => {
    const [value, g] = jax.valueAndGrad(loss)(jax.tree.ref(w), x, y) as unknown as [Array, Weights];
    const first = each((key) => m[key]!.mul(0.9).add(g[key]!.ref.mul(0.1)));
    const second = each((key) => v[key]!.mul(0.999).add(g[key]!.ref.mul(g[key]!).mul(0.001)));
    const updated = each((key) => {
      const root = np.sqrt(second[key]!.ref.mul(scales.ref.slice(1))).add(1e-8);
      return w[key]!.sub(first[key]!.ref.mul(scales.ref.slice(0)).div(root));
    });
    scales.dispose();
    return [value, updated, first, second];
  });
  const sgd = jax.jit((w: Weights, x: Array, y: Array): [Array, Weights] => {
    const [value, g] = jax.valueAndGrad(loss)(jax.tree.ref(w), x, y) as unknown as [Array, Weights];
    return [value, each((key) => w[key]!.sub(g[key]!.mul(LEARNING_RATE)))];
  });

  let [current, first, second] = [weights, name === 'cnn' ? zeros() : {}, name === 'cnn' ? zeros() : {}];
  const losses: number[] = [];
  const step = async () => {
    let value: Array;
    if (name === 'cnn') {
      const t = losses.length + 1;
      const scales = np.array(Float32Array.of(LEARNING_RATE / (1 - 0.9 ** t), 1 / (1 - 0.999 ** t)));
      [value, current, first, second] = adam(
        current,
        first,
        second,
        scales,
        images.ref,
        labels.ref,
      ) as unknown as Moments;
    } else {
      [value, current] = sgd(current, images.ref, labels.ref) as unknown as [Array, Weights];
    }
    await jax.blockUntilReady(current);
    losses.push(((await value.data()) as Float32Array)[0]!);
  };
  return { step, check: () => firstLosses(losses, step) };
}

function convolved({ lax }: Jax, x: Array, w: Array, stride: number): Array {
  const margin = (w.shape[2]! - 1) / 2;
  const pair: [number, number] = [margin, margin];
  return lax.convGeneralDilated(x, w, [stride, stride], [pair, pair]);
}

const perChannel = (values: Array) => values.reshape([1, -1, 1, 1]);

function linear({ numpy: np }: Jax, x: Array, weights: Weights): Array {
  return np.matmul(x, weights['fc.weight']!.transpose()).add(weights['fc.bias']!);
}

function cnn(jax: Jax, weights: Weights, images: Array): Array {
  const { nn, lax, numpy: np } = jax;
  let x = images;
  for (const layer of ['conv1', 'conv2']) {
    const y = convolved(jax, x, weights[`${layer}.weight`]!, 1).add(perChannel(weights[`${layer}.bias`]!));
    x = lax.reduceWindow(nn.relu(y), np.max as never, [2, 2], [2, 2]);
  }
  return linear(jax, x.reshape([images.shape[0]!, 784]), weights);
}

function poolFree(jax: Jax, weights: Weights, images: Array): Array {
  const samples = images.shape[0]!;
  let x = images;
  for (const layer of ['conv1', 'conv2']) {
    x = convolved(jax, x, weights[`${layer}.weight`]!, 2).add(perChannel(weights[`${layer}.bias`]!));
    x = jax.nn.relu(x);
  }
  return linear(jax, x.reshape([samples, 784]), weights);
}

/** Batch normalisation in training mode; running statistics, which Fathom also keeps, are left out. */
function resnet18(jax: Jax, weights: Weights, images: Array): Array {
  const { nn, numpy: np } = jax;
  const normalised = (x: Array, convolution: string, norm: string, stride: number) => {
    const y = convolved(jax, x, weights[`${convolution}.weight`]!, stride);
    const centred = y.ref.sub(np.mean(y, [0, 2, 3], { keepdims: true }));
    const variance = np.mean(np.square(centred.ref), [0, 2, 3], { keepdims: true });
    const scaled = centred.div(np.sqrt(variance.add(1e-5)));
    return scaled.mul(perChannel(weights[`${norm}.weight`]!)).add(perChannel(weights[`${norm}.bias`]!));
  };
  let x = nn.relu(normalised(images, 'conv1', 'bn1', 1));
  for (let stage = 1; stage <= 4; stage++) {
    for (let i = 0; i < 2; i++) {
      const [name, stride] = [`layer${stage}.${i}`, i === 0 && stage > 1 ? 2 : 1];
      const a = nn.relu(normalised(x.ref, `${name}.conv1`, `${name}.bn1`, stride));
      const b = normalised(a, `${name}.conv2`, `${name}.bn2`, 1);
      const shortcut = stride === 2 ? normalised(x, `${name}.downsample.0`, `${name}.downsample.1`, 2) : x;
      x = nn.relu(b.add(shortcut));
    }
  }
  return linear(jax, np.mean(x, [2, 3]), weights);
}

/** `vmap(grad)` of one sample's loss, squared and summed. */
function fisher(jax: Jax, inputs: Map<string, Values>): Prepared {
  const { numpy: np } = jax;
  const { weights, images, labels } = uploaded(jax, inputs);
  const loss = (w: Weights, x: Array, y: Array) => {
    const image = x.reshape([1, ...x.shape]);
    return crossEntropy(jax, poolFree(jax, w, image), y.reshape([1, 10]));
  };
  const names = Object.keys(weights);
  const squares = jax.jit((w: Weights, x: Array, y: Array): Weights => {
    const axes = Object.fromEntries(names.map((name) => [name, null]));
    const gradient = jax.grad(loss) as unknown as (w: Weights, x: Array, y: Array) => Weights;
    const gradients = jax.vmap(gradient, [axes, 0, 0])(w, x, y) as Weights;
    return Object.fromEntries(names.map((name) => [name, np.sum(np.square(gradients[name]!), 0)]));
  });
  const run = () => squares(jax.tree.ref(weights), images.ref, labels.ref) as unknown as Weights;
  return {
    async step() {
      const result = run();
      await jax.blockUntilReady(result);
      jax.tree.dispose(result);
    },
    async check() {
      const values = await Promise.all(Object.values(run()).map((square) => square.data()));
      return values.flatMap((each: unknown) => fingerprint(each as Float32Array));
    },
  };
}
