import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  distanceMatrix,
  evaluate,
  type TrainingOptions,
  type TrainingState,
  train,
} from '../algorithms/index.ts';
import { type Examples, gatherImages, gatherTargets, type Task } from '../data/index.ts';
import { FathomError, Gpu, Random, Tape } from '../engine/index.ts';
import {
  type Architecture,
  chain,
  flattenLayer,
  linearLayer,
  Network,
  sigmoidLayer,
  unflattenLayer,
} from '../models/index.ts';
import { stripesTask, tinyNet } from './tiny.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const task = stripesTask(200, 4);

function options(more: Partial<TrainingOptions> = {}): TrainingOptions {
  return { epochs: 4, batch: 16, learningRate: 0.01, random: new Random(9), ...more };
}

test('training lowers the loss and the network ends with its best epoch', async () => {
  using net = Network.initialise(gpu, tinyNet(4), new Random(1));
  const before = await evaluate(net, task.test);
  const result = await train(net, task, options());
  const after = await evaluate(net, task.test);
  assert.ok(after.loss < before.loss / 2, `${before.loss} to ${after.loss}`);
  assert.ok(after.accuracy! > 0.9, `${after.accuracy}`);
  const best = Math.max(...result.epochs.map((epoch) => epoch.accuracy!));
  assert.equal(result.epochs[result.bestEpoch - 1]!.accuracy, best);
  assert.equal((await evaluate(net, task.validation)).accuracy, best);
});

test('training stops at the target accuracy and says whether it was reached', async () => {
  using quick = Network.initialise(gpu, tinyNet(4), new Random(1));
  const easy = await train(quick, task, options({ targetAccuracy: 0.3, epochs: 20 }));
  assert.ok(easy.reached && easy.epochs.length < 20);
  using slow = Network.initialise(gpu, tinyNet(4), new Random(1));
  const hard = await train(slow, task, options({ targetAccuracy: 1.1, epochs: 2 }));
  assert.ok(!hard.reached);
  assert.equal(hard.epochs.length, 2);
});

/** Gives 8x8 grey images. */
const imageNet: Architecture = {
  name: 'images',
  input: [8, 8, 1],
  classes: 0,
  target: [8, 8, 1],
  module: chain(flattenLayer(), ['fc', linearLayer(64, 64)], sigmoidLayer(), unflattenLayer([8, 8, 1])),
  head: [],
};

/** Stripes in, the negative out. */
function negativesTask(): Task {
  const stripes = stripesTask(200, 4);
  const { images } = stripes.train;
  const targets = { ...images, pixels: Uint8Array.from(images.pixels as Uint8Array, (value) => 255 - value) };
  const dense = (split: Examples): Examples => ({ ...split, labels: split.labels.map(() => 0), targets });
  return {
    name: 'negatives',
    description: 'the negative',
    classes: 0,
    classNames: [],
    train: dense(stripes.train),
    validation: dense(stripes.validation),
    test: dense(stripes.test),
  };
}

test('a network that gives images has no accuracy, and its best epoch is that of the lowest loss', async () => {
  const negatives = negativesTask();
  using net = Network.initialise(gpu, imageNet, new Random(1));
  const before = await evaluate(net, negatives.test);
  // So high a rate that the loss does not fall in every epoch.
  const result = await train(net, negatives, options({ epochs: 12, learningRate: 0.2 }));
  const after = await evaluate(net, negatives.test);
  assert.ok(after.loss < before.loss, `${before.loss} to ${after.loss}`);
  assert.ok(!('accuracy' in after));
  const losses = result.epochs.map((epoch) => epoch.loss);
  assert.equal(result.bestEpoch, losses.indexOf(Math.min(...losses)) + 1);
  assert.ok(result.bestEpoch < 12, `${losses}`);
  assert.equal((await evaluate(net, negatives.validation)).loss, losses[result.bestEpoch - 1]);
  assert.ok(result.reached);
});

test('the loss of a network that gives images is the mean squared error over pixels and images', async () => {
  const { test: examples } = negativesTask();
  using net = Network.initialise(gpu, imageNet, new Random(2));
  const positions = Uint32Array.from(examples.index.keys());
  const count = positions.length;
  const outputs = await gpu.scope(() => {
    const images = gpu.tensor(gatherImages(examples, positions), [count, 8, 8, 1]);
    return net.forward(new Tape(gpu), images).read();
  });
  const wanted = gatherTargets(examples, positions);
  const expected = outputs.reduce((sum, value, i) => sum + (value - wanted[i]!) ** 2, 0) / outputs.length;
  const { loss } = await evaluate(net, examples);
  assert.ok(Math.abs(loss - expected) < 1e-6 * expected, `${loss}, not ${expected}`);
});

test('training that diverges is an error that names the task, the epoch and the remedy', async () => {
  using net = Network.initialise(gpu, tinyNet(4), new Random(1));
  await assert.rejects(train(net, task, options({ learningRate: 1e30 })), (error) => {
    assert.ok(error instanceof FathomError);
    assert.equal(error.code, 'diverged');
    assert.match(error.toLine(), /^Training on "stripes 4" diverged in epoch 1: .*Lower the learning rate/);
    assert.ok(!error.toLine().includes('\n'));
    return true;
  });
});

test('progress reports cover every image and each epoch ends with a validation', async () => {
  using net = Network.initialise(gpu, tinyNet(4), new Random(1));
  const seen: number[] = [];
  let validations = 0;
  await train(
    net,
    task,
    options({
      epochs: 2,
      onProgress: (progress) => {
        if (progress.validation) validations++;
        else seen.push(progress.seen);
        assert.equal(progress.images, 120);
      },
    }),
  );
  assert.equal(validations, 2);
  assert.equal(seen.filter((count) => count === 120).length, 2);
});

const study = {
  trials: 2,
  seed: 5,
  epochs: 2,
  batch: 16,
  learningRate: 0.01,
  fisherSamples: 24,
};

test('a matrix is zero on its diagonal, repeats to the bit, and reports work that adds up', async () => {
  const tasks = [stripesTask(100, 2), stripesTask(100, 3), stripesTask(120, 4)];
  let last = { work: 0, total: 1 };
  const onProgress = (progress: { work: number; total: number }) => {
    assert.ok(progress.work >= last.work && progress.work <= progress.total);
    last = progress;
  };
  const first = await distanceMatrix(gpu, tasks, tinyNet, { ...study, onProgress });
  assert.equal(last.work + study.fisherSamples, last.total);
  assert.deepEqual(await distanceMatrix(gpu, tasks, tinyNet, study), first);
  for (let i = 0; i < 3; i++) {
    assert.equal(first.mean[i]![i], 0);
    assert.notEqual(first.closest[i], i);
  }
  assert.equal(first.trials.length, 2);
  const [a, b] = first.trials.map((trial) => trial.distance[0]![2]!) as [number, number];
  assert.ok(a !== b, 'trials have their own seeds');
  assert.ok(Math.abs(first.mean[0]![2]! - (a + b) / 2) < 1e-15);
  assert.ok(Math.abs(first.sigma[0]![2]! - Math.abs(a - b) / Math.SQRT2) < 1e-12);
});

test('tasks of a trial share one initialisation, heads of unequal width their common rows', async () => {
  using two = Network.initialise(gpu, tinyNet(2), new Random(3).fork('initialisation'));
  using four = Network.initialise(gpu, tinyNet(4), new Random(3).fork('initialisation'));
  const [narrow, wide] = [await two.state(), await four.state()];
  for (const [name, { data }] of narrow) {
    assert.deepEqual(data, wide.get(name)!.data.subarray(0, data.length), name);
  }
});

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});

for (const optimizer of ['adam', 'sgd'] as const) {
  test(`training goes on from a checkpoint with the same bits, ${optimizer}`, async () => {
    const settings = () => options({ optimizer, learningRate: 0.01 });
    using whole = Network.initialise(gpu, tinyNet(4), new Random(1));
    const uninterrupted = await train(whole, task, settings());
    let saved: TrainingState | undefined;
    using cut = Network.initialise(gpu, tinyNet(4), new Random(1));
    const stopped = train(cut, task, {
      ...settings(),
      async onEpoch(take) {
        if (saved) throw new Error('killed');
        saved = await take();
      },
    });
    await assert.rejects(stopped, /killed/);
    using resumed = Network.initialise(gpu, tinyNet(4), new Random(7));
    const result = await train(resumed, task, { ...settings(), resume: saved });
    assert.deepEqual(result, uninterrupted);
    assert.deepEqual(await resumed.state(), await whole.state());
  });
}
