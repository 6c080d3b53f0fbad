import assert from 'node:assert/strict';
import process from 'node:process';
import { after, test } from 'node:test';
import {
  diagonalFisher,
  type Estimator,
  estimatorLabel,
  train,
  trainingStep,
  uploadBatch,
} from '../algorithms/index.ts';
import type { Examples } from '../data/index.ts';
import {
  adam,
  augment,
  CapturedLoop,
  fill,
  Gpu,
  linear,
  type Optimizer,
  Profiler,
  Random,
  SampleSums,
  ScalarLog,
  scale,
  sgd,
  softmaxCrossEntropy,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import {
  type Architecture,
  batchNormLayer,
  chain,
  cnn,
  conv2dLayer,
  dropoutLayer,
  flattenLayer,
  linearLayer,
  Network,
  reluLayer,
} from '../models/index.ts';
import { failsWith } from './assertions.ts';
import { examplesOf, stripes, stripesTask, tinyNet } from './tiny.ts';

type F32 = Tensor<'f32'>;

/** Thousands of steps, a minute and more on software adapters. */
const thorough = Boolean(process.env.FATHOM_THOROUGH);
const STEPS = 10;
/** By how many bytes a process may grow over 1,500 steps: a hundred a step would be a leak of this size. */
const GROWTH = 16 * 2 ** 20;

const gpu = await Gpu.create();
after(() => gpu.dispose());

/** What a random stream, host counters and running statistics go into. */
function lively(): Architecture {
  const module = chain(
    ['conv', conv2dLayer({ in: 1, out: 4, kernel: 3, padding: 1 })],
    ['bn', batchNormLayer(4)],
    reluLayer(),
    dropoutLayer(0.3),
    flattenLayer(),
    dropoutLayer(0.1),
    ['fc', linearLayer(256, 4)],
  );
  return { name: 'lively', input: [8, 8, 1], classes: 4, module, head: [] };
}

function noise({ input, classes }: Architecture, count: number): Examples {
  const [height, width, channels] = input;
  const pixels = new Random(1).uniform(count * height * width * channels);
  const labels = new Random(2).bits(count).map((word) => word % classes);
  const images = { name: 'noise', count, height, width, channels, pixels, labels, classes };
  return { images, index: Uint32Array.from({ length: count }, (_, i) => i), labels };
}

type MakeOptimizer = (parameters: readonly F32[]) => Optimizer;
const optimizers: Record<string, MakeOptimizer> = {
  sgd: (parameters) => sgd(gpu, parameters, { learningRate: 0.05, momentum: 0.9 }),
  adam: (parameters) => adam(gpu, parameters, { learningRate: 0.01 }),
};

/** Trains for some steps, all eager or all but the first replayed; gives every loss and the weights. */
async function bitsOfTraining(
  architecture: Architecture,
  make: MakeOptimizer,
  replayed: boolean,
): Promise<{ bits: Uint32Array[]; batches: bigint[] }> {
  using network = Network.initialise(gpu, architecture, new Random(3));
  using optimizer = make([...network.parameters.values()]);
  using loop = new CapturedLoop<string, { loss: F32 }>(gpu);
  const examples = noise(architecture, 6);
  const random = new Random(4);
  const order = new Random(5);
  const { images, targets } = uploadBatch(network, examples, examples.index);
  const body = () => {
    const varied = augment(gpu, images, { padding: 1, flip: true }, random);
    return { loss: trainingStep(network, optimizer, { images: varied, targets }, random) };
  };
  const losses: Float32Array[] = [];
  for (let step = 0; step < STEPS; step++) {
    gpu.write(images, order.uniform(images.size));
    const { loss } = replayed ? loop.run('step', body) : gpu.scope(body);
    losses.push(await loss.read());
    if (!replayed) loss.dispose();
  }
  images.dispose();
  targets.dispose();
  const state = [...(await network.state()).values()].map(({ data }) => data);
  return {
    bits: [...losses, ...state].map((values) => new Uint32Array(Float32Array.from(values).buffer)),
    batches: [...network.batchCounts.values()],
  };
}

for (const architecture of [cnn(), lively()]) {
  for (const [name, make] of Object.entries(optimizers)) {
    test(`${STEPS} steps replayed have the bits of ${STEPS} eager ones: ${architecture.name}, ${name}`, async () => {
      const eager = await bitsOfTraining(architecture, make, false);
      const replayed = await bitsOfTraining(architecture, make, true);
      assert.deepEqual(replayed, eager);
      assert.notDeepEqual(eager.bits[0], eager.bits[STEPS - 1]);
      if (architecture.name === 'lively') assert.deepEqual(eager.batches, [BigInt(STEPS)]);
    });
  }
}

/** An empirical Fisher's sums without any capture. */
async function eagerSquares(network: Network, examples: Examples, chunk: number): Promise<Float32Array[]> {
  const parameters = [...network.parameters.values()];
  using sums = new SampleSums(gpu, parameters, 'square');
  for (let start = 0; start < examples.index.length; start += chunk) {
    const positions = examples.index.map((_, i) => i).slice(start, start + chunk);
    gpu.scope(() => {
      const { images, targets } = uploadBatch(network, examples, positions);
      const tape = new Tape(gpu).watch(parameters);
      const losses = softmaxCrossEntropy(tape, network.forward(tape, images), targets as Tensor<'u32'>);
      tape.accumulate(losses, sums);
    });
  }
  const totals = gpu.scope(() => sums.totals().map((total) => total.read()));
  return Promise.all(totals);
}

test('a Fisher of replayed chunks has the bits of an eager one, whatever the chunk', async () => {
  using network = Network.initialise(gpu, lively(), new Random(6));
  const examples = examplesOf(stripes(23, 4));
  for (const chunk of [1, 4, 5, 23]) {
    const eager = await eagerSquares(network, examples, chunk);
    const { entries } = await diagonalFisher(network, examples, { chunk });
    assert.deepEqual(
      [...entries.values()].map(({ data }) => data),
      eager.map((sum) => sum.map((value) => value / 23)),
      `chunks of ${chunk}`,
    );
  }
});

const estimators: Estimator[] = [
  { name: 'exact' },
  { name: 'sampled', draws: 2, seed: 1 },
  { name: 'batch', size: 5 },
];
for (const estimator of estimators) {
  test(`replays do not change the bits of the Fisher: ${estimatorLabel(estimator)}`, async () => {
    using network = Network.initialise(gpu, tinyNet(4), new Random(6));
    const examples = examplesOf(stripes(11, 4));
    // A chunk of all images is never replayed.
    const whole = await diagonalFisher(network, examples, { estimator, chunk: 11 });
    for (const chunk of [2, 4]) {
      assert.deepEqual(await diagonalFisher(network, examples, { estimator, chunk }), whole);
    }
  });
}

test('training with a ragged last batch has the bits of an eager loop', async () => {
  const task = stripesTask(75, 4);
  const options = { epochs: 2, batch: 16, learningRate: 0.01 };
  using replayed = Network.initialise(gpu, tinyNet(4), new Random(7));
  const result = await train(replayed, task, { ...options, random: new Random(8) });
  using eager = Network.initialise(gpu, tinyNet(4), new Random(7));
  {
    using optimizer = adam(gpu, [...eager.parameters.values()], options);
    const random = new Random(8);
    const images = task.train.index.length;
    for (let epoch = 0; epoch < result.bestEpoch; epoch++) {
      const order = random.permutation(images);
      for (let start = 0; start < images; start += options.batch) {
        gpu.scope(() => {
          const batch = uploadBatch(eager, task.train, order.subarray(start, start + options.batch));
          trainingStep(eager, optimizer, batch, random);
        });
      }
    }
  }
  assert.deepEqual(await replayed.state(), await eager.state());
});

test('what is made of constants is made once, and serves all replays until the capture is disposed', async () => {
  const before = gpu.liveTensors;
  const [x, w] = [gpu.empty([4, 6], 'f32'), gpu.tensor(new Random(2).normal(18), [3, 6])];
  const body = () => linear(new Tape(gpu), x, w);
  {
    using fresh = gpu.capture(body);
    using kept = gpu.capture(body, new Set([w]));
    const ran = (capture: { run(): void }) => {
      const { dispatches } = gpu.stats;
      capture.run();
      return gpu.stats.dispatches - dispatches;
    };
    for (const seed of [3, 4]) {
      gpu.write(x, new Random(seed).normal(24));
      assert.equal(ran(kept), ran(fresh) - 1);
      assert.deepEqual(await kept.result.read(), await fresh.result.read());
    }
  }
  for (const tensor of [x, w]) tensor.dispose();
  assert.equal(gpu.liveTensors, before);
});

test('after the second step no buffer and no bind group is made, and a step is one submit', async () => {
  using network = Network.initialise(gpu, lively(), new Random(3));
  using optimizer = adam(gpu, [...network.parameters.values()]);
  using log = new ScalarLog(gpu, 4);
  using loop = new CapturedLoop<number, void>(gpu);
  const examples = noise(lively(), 6);
  const { images, targets } = uploadBatch(network, examples, examples.index);
  const pixels = new Float32Array(images.size);
  const step = () => {
    gpu.write(images, pixels);
    loop.run(6, () => log.push(trainingStep(network, optimizer, { images, targets }, new Random(1))));
  };
  step();
  step();
  await log.read();
  const before = gpu.stats;
  for (let i = 0; i < 3; i++) step();
  const { stats } = gpu;
  assert.equal(stats.submits - before.submits, 3);
  assert.ok(stats.dispatches > before.dispatches);
  assert.ok(stats.bytesUploaded - before.bytesUploaded >= 3 * 4 * pixels.length);
  assert.equal((await log.read()).length, 3);
  for (const what of ['buffers', 'bindGroups', 'kernels'] as const) {
    assert.equal(gpu.stats[what], before[what], what);
  }
  images.dispose();
  targets.dispose();
});

/** A captured `x + 1` and `2 x`, from a tensor that the caller writes to. */
function twice(x: F32) {
  return gpu.capture(() => {
    const tape = new Tape(gpu);
    return [scale(tape, x, 2), scale(tape, scale(tape, x, 3), 2)] as const;
  });
}

/** Makes so many tensors, and frees them. */
function fillSome(count: number, shape: number[]): void {
  gpu.scope(() => {
    for (let i = 0; i < count; i++) fill(gpu, shape, 9);
  });
}

test('results hold the values of the last run, also where other captures ran since', async () => {
  using x = gpu.tensor(Float32Array.of(1, 2), [2]);
  using first = twice(x);
  using second = twice(x);
  gpu.write(x, Float32Array.of(5, 7));
  first.run();
  const read = async () => (await Promise.all(first.result.map((y) => y.read()))).map((y) => [...y]);
  const expected = [
    [10, 14],
    [30, 42],
  ];
  assert.deepEqual(await read(), expected);
  gpu.write(x, Float32Array.of(0, 1));
  second.run();
  fillSome(8, [2]);
  assert.deepEqual(await read(), expected);
  second.dispose();
  // What the second does not need any more may be anyone's, what the first replays on may not.
  using other = fill(gpu, [2], 4);
  first.run();
  assert.deepEqual(await read(), [
    [0, 2],
    [0, 6],
  ]);
  assert.deepEqual([...(await other.read())], [4, 4]);
});

test('host work of each run is done in its place, and what is done aside once', async () => {
  const calls: string[] = [];
  let factor = 1;
  using base = gpu.tensor(Float32Array.of(0), [1]);
  using capture = gpu.capture(() => {
    const made = gpu.keep(
      gpu.aside(() => {
        calls.push('aside');
        return fill(gpu, [1], 2);
      }),
    );
    gpu.eachRun(() => {
      calls.push('each run');
      factor++;
      gpu.write(base, Float32Array.of(10 * factor));
    });
    const results = [gpu.empty([1], 'f32'), gpu.empty([1], 'f32')];
    const scaleBy = (result: F32, value: () => number) =>
      gpu.dispatch(
        gpu.kernel('elementwise', { FILL: true }),
        { result },
        { count: 1, channels: 1, scale: value },
        1,
      );
    scaleBy(results[0]!, () => factor);
    gpu.eachRun(() => {
      factor *= 3;
    });
    scaleBy(results[1]!, () => factor);
    const sum = scale(new Tape(gpu), base, 1);
    return { results, sum, made };
  });
  const values = async () =>
    Promise.all([...capture.result.results, capture.result.sum].map(async (y) => (await y.read())[0]));
  assert.deepEqual(await values(), [2, 6, 20]);
  capture.run();
  assert.deepEqual(await values(), [7, 21, 70]);
  assert.deepEqual(calls, ['aside', 'each run', 'each run']);
  capture.result.made.dispose();
});

test('a change of shape is captured by itself, and both are replayed', async () => {
  using loop = new CapturedLoop<number, F32>(gpu);
  using x = gpu.empty([8], 'f32');
  const run = async (count: number, value: number) => {
    gpu.write(x, new Float32Array(8).fill(value));
    const y = loop.run(count, () => scale(new Tape(gpu), x.slice(0, count), 2));
    return [...(await y.read())];
  };
  for (const [count, value] of [
    [8, 1],
    [8, 2],
    [3, 3],
    [8, 4],
    [3, 5],
  ] as const) {
    assert.deepEqual(await run(count, value), new Array(count).fill(2 * value));
  }
});

test('what cannot be replayed is an error, and leaves nothing behind', async () => {
  const live = gpu.liveTensors;
  using x = gpu.tensor(Float32Array.of(1), [1]);
  const bodies: Record<string, () => unknown> = {
    write: () => gpu.write(x, Float32Array.of(2)),
    tensor: () => gpu.tensor(Float32Array.of(2), [1]),
    clear: () => gpu.clear(x),
    capture: () => gpu.capture(() => x),
    wait: async () => x,
    keep: () => gpu.keep(fill(gpu, [1], 0)),
    squaredGradients: () => new Tape(gpu).squaredGradients(x, []),
    'write to what each run makes': () => {
      const made = fill(gpu, [1], 0);
      gpu.eachRun(() => gpu.write(made, Float32Array.of(2)));
    },
  };
  for (const [name, body] of Object.entries(bodies)) {
    const captured = () => gpu.capture(body).dispose();
    assert.throws(captured, failsWith('not-capturable', /capture/), name);
  }
  let read: Promise<unknown> = Promise.resolve();
  gpu
    .capture(() => {
      read = x.read();
    })
    .dispose();
  await assert.rejects(read, failsWith('not-capturable', /capture/));
  using capture = gpu.capture(() => fill(gpu, [1], 1));
  const nested = () => gpu.capture(() => capture.run());
  assert.throws(nested, failsWith('not-capturable', /capture/));
  assert.equal(gpu.liveTensors, live + 2);
});

test('a capture that is disposed frees its tensors, and its buffers for all', async () => {
  const live = gpu.liveTensors;
  gpu.trim();
  const before = gpu.peakBytes;
  using x = fill(gpu, [1000], 1);
  const capture = twice(x);
  capture.run();
  const { buffers } = gpu.stats;
  capture.dispose();
  capture.dispose();
  assert.throws(() => capture.run(), /disposed/);
  assert.equal(gpu.liveTensors, live + 1);
  fillSome(3, [1000]);
  assert.equal(gpu.stats.buffers, buffers, 'they serve eager work');
  gpu.trim();
  assert.equal(gpu.peakBytes - before, x.pooled.bytes);
});

test('replays are in a profile, dispatch by dispatch, with the parameters of their run', async () => {
  const profiler = new Profiler();
  using own = await Gpu.create({ profiler });
  let value = 0;
  const body = () => {
    const result = own.empty([4], 'f32');
    own.eachRun(() => {
      value++;
    });
    const params = { count: 1, channels: 1, scale: () => value };
    own.dispatch(own.kernel('elementwise', { FILL: true }), { result }, params, 1);
    return scale(new Tape(own), result, 2);
  };
  using capture = own.capture(body);
  capture.run();
  capture.run();
  assert.deepEqual([...(await capture.result.read())], [6, 6, 6, 6]);
  const { traceEvents, otherData } = await profiler.trace();
  assert.equal(otherData.devices[0]!.dispatches, 6);
  assert.equal(traceEvents.filter(({ cat }) => cat === 'record').length, 6);
  if (!own.device.features.has('timestamp-query')) return;
  const scales = traceEvents
    .filter(({ cat }) => cat === 'kernel')
    .map(({ args }) => (args as { params: { scale: number } }).params.scale);
  assert.deepEqual(scales, [1, 2, 2, 2, 3, 2]);
});

test('2,000 steps leave the memory of the process flat', {
  skip: thorough ? false : 'takes a minute; set FATHOM_THOROUGH=1',
}, async (t) => {
  using network = Network.initialise(gpu, tinyNet(4), new Random(3));
  const examples = examplesOf(stripes(8 * 2000, 4));
  const resident: number[] = [];
  let steps = 0;
  await train(
    network,
    { ...stripesTask(20, 4), train: examples },
    {
      epochs: 1,
      batch: 8,
      learningRate: 1e-3,
      random: new Random(1),
      onProgress() {
        steps += 8;
        if (steps === 504 || steps === 2000) resident.push(process.memoryUsage().rss);
      },
    },
  );
  const [early, late] = resident as [number, number];
  t.diagnostic(
    `${(early / 2 ** 20).toFixed(1)} MiB after 504 steps, ${(late / 2 ** 20).toFixed(1)} after 2,000`,
  );
  assert.ok(late - early < GROWTH, `${late - early} bytes`);
});

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
