import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import {
  adam,
  add,
  bias,
  conv2d,
  fill,
  flatten,
  Gpu,
  linear,
  maxpool2d,
  mean,
  multiply,
  type Optimizer,
  Random,
  relu,
  reshape,
  type Shape,
  scale,
  sgd,
  sizeOf,
  softmaxCrossEntropy,
  sum,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import { assertClose, failsWith } from './assertions.ts';

type F32 = Tensor<'f32'>;

const LIMIT = 128 * 1024;
const gpu = await Gpu.create();
const limited = await Gpu.create({ maxBindingBytes: LIMIT });
after(() => {
  gpu.dispose();
  limited.dispose();
});

function normal(on: Gpu, random: Random, shape: Shape): F32 {
  return on.tensor(random.normal(sizeOf(shape)) as Float32Array<ArrayBuffer>, shape);
}

/** Counts calls of a method of the device or its queue while `body` runs. */
async function callsOf<T extends object>(target: T, method: keyof T & string, body: () => Promise<void>) {
  const original = target[method] as (...values: unknown[]) => unknown;
  let calls = 0;
  Object.defineProperty(target, method, {
    configurable: true,
    value: (...values: unknown[]) => {
      calls++;
      return original.apply(target, values);
    },
  });
  await body();
  delete target[method];
  return calls;
}

const PARAMETER_SHAPES: Shape[] = [[8, 4, 3, 3], [8], [10, 384], [10]];

/** Losses of a batch of [16, 12, 4] images through every batched op. */
function network(
  tape: Tape,
  x: F32,
  labels: Tensor<'u32'>,
  [w1, b1, w2, b2]: F32[],
): [losses: F32, logits: F32] {
  const h = relu(tape, bias(tape, conv2d(tape, x, w1!, { padding: 1 }), b1!));
  const sums = add(tape, h, scale(tape, multiply(tape, h, h), 0.1));
  const rows = flatten(tape, maxpool2d(tape, sums, { kernel: 2 }));
  const logits = bias(tape, linear(tape, rows, w2!), b2!);
  return [softmaxCrossEntropy(tape, logits, labels), logits];
}

function parametersOn(on: Gpu, seed: number): F32[] {
  const random = new Random(seed);
  return PARAMETER_SHAPES.map((shape) => scale(new Tape(on), normal(on, random, shape), 0.1));
}

function batchOn(on: Gpu, random: Random, samples: number): { x: F32; labels: Tensor<'u32'> } {
  const x = normal(on, random, [samples, 16, 12, 4]);
  const labels = on.tensor(
    random.bits(samples).map((word) => word % 10),
    [samples],
  );
  return { x, labels };
}

describe('memory', () => {
  test('a scope frees all but what it returns, alone or in arrays, maps and objects', async () => {
    const makers: (() => unknown)[] = [
      () => fill(gpu, [3], 1),
      () => [fill(gpu, [3], 1)],
      () => ({ a: { b: fill(gpu, [3], 1) } }),
      () => new Map([['key', [fill(gpu, [3], 1)]]]),
    ];
    for (const maker of makers) {
      let kept: F32 | undefined;
      gpu.scope(() => {
        gpu.scope(() => {
          const result = maker();
          fill(gpu, [5], 2);
          return result;
        });
        assert.equal(gpu.liveTensors, 1);
        kept = fill(gpu, [2], 7);
        return kept;
      });
      assert.equal(gpu.liveTensors, 1);
      assert.deepEqual([...(await kept!.read())], [7, 7]);
      kept!.dispose();
      assert.equal(gpu.liveTensors, 0);
    }
  });

  test('a scope that throws frees everything and passes the error on', () => {
    const cause = new Error('on purpose');
    const body = () =>
      gpu.scope(() => {
        fill(gpu, [3], 1);
        gpu.scope(() => fill(gpu, [4], 1));
        throw cause;
      });
    assert.throws(body, cause);
    assert.equal(gpu.liveTensors, 0);
    const outside = gpu.scope(() => fill(gpu, [3], 1));
    assert.equal(gpu.liveTensors, 1);
    outside.dispose();
  });

  test('using disposes at the end of the block', () => {
    {
      using x = fill(gpu, [3], 1);
      using y = x.reshape([3, 1]);
      assert.deepEqual(y.shape, [3, 1]);
      assert.equal(gpu.liveTensors, 2);
    }
    assert.equal(gpu.liveTensors, 0);
  });

  test('a view keeps the buffer of a disposed tensor, so that no other tensor gets it', async () => {
    const x = fill(gpu, [4], 5);
    const view = x.reshape([2, 2]);
    x.dispose();
    const other = fill(gpu, [4], 6);
    assert.deepEqual([...(await view.read())], [5, 5, 5, 5]);
    view.dispose();
    other.dispose();
    assert.equal(gpu.liveTensors, 0);
  });

  test('reads of one turn share one submission, however large', async () => {
    using a = gpu.tensor(new Uint32Array([1, 2, 3]), [3]);
    using b = gpu.tensor(new Float32Array(50_000).fill(0.5), [50_000]);
    using c = gpu.tensor(new Int32Array([-1]), [1]);
    using d = a.reshape([3, 1]);
    await gpu.finish();
    let read: (Uint32Array | Int32Array)[] = [];
    const submissions = await callsOf(gpu.device.queue, 'submit', async () => {
      read = await Promise.all([a.read(), c.read(), d.read()]);
    });
    assert.equal(submissions, 1);
    assert.deepEqual(read, [new Uint32Array([1, 2, 3]), new Int32Array([-1]), new Uint32Array([1, 2, 3])]);
    const [first, large, last] = await Promise.all([a.read(), b.read(), c.read()]);
    assert.deepEqual([...first], [1, 2, 3]);
    assert.equal(large.length, 50_000);
    assert.ok(large.every((value) => value === 0.5));
    assert.deepEqual([...last], [-1]);
  });

  test('a read gives the values of its place in the program, and writes wait for what came before', async () => {
    using x = gpu.tensor(new Float32Array([1, 2]), [2]);
    const before = x.read();
    using doubled = scale(new Tape(gpu), x, 2);
    gpu.write(x, new Float32Array([7, 8]));
    assert.deepEqual([...(await before)], [1, 2]);
    assert.deepEqual([...(await doubled.read())], [2, 4]);
    assert.deepEqual([...(await x.read())], [7, 8]);
  });

  test('training holds no more memory and makes no more buffers as it goes on', async () => {
    const parameters = gpu.scope(() => parametersOn(gpu, 1));
    const random = new Random(2);
    {
      using optimizer = sgd(gpu, parameters, { learningRate: 0.01, momentum: 0.9 });
      const steps = async (count: number) => {
        for (let i = 0; i < count; i++) trainingStep(parameters, optimizer, random);
        await gpu.finish();
      };
      await steps(5);
      const peak = gpu.peakBytes;
      assert.equal(await callsOf(gpu.device, 'createBuffer', () => steps(95)), 0);
      assert.equal(gpu.peakBytes, peak);
    }
    for (const parameter of parameters) parameter.dispose();
    assert.equal(gpu.liveTensors, 0);
  });
});

function trainingStep(parameters: F32[], optimizer: Optimizer, random: Random): void {
  gpu.scope(() => {
    const { x, labels } = batchOn(gpu, random, 6);
    const tape = new Tape(gpu).watch(parameters);
    const [losses] = network(tape, x, labels, parameters);
    optimizer.step(tape.gradients(mean(tape, losses), parameters));
  });
}

describe('misuse', () => {
  test('a tensor used after it was disposed', async () => {
    const x = fill(gpu, [3], 1);
    x.dispose();
    x.dispose();
    const tape = new Tape(gpu);
    assert.throws(() => gpu.scope(() => relu(tape, x)), failsWith('tensor-disposed', /\[3\]/));
    assert.throws(() => x.reshape([1, 3]), failsWith('tensor-disposed'));
    await assert.rejects(x.read(), failsWith('tensor-disposed'));
    assert.equal(gpu.liveTensors, 0);
  });

  test('shapes that do not fit, each naming the shapes', () => {
    gpu.scope(() => {
      const tape = new Tape(gpu);
      const image = fill(gpu, [1, 4, 5, 3], 1);
      const rows = fill(gpu, [2, 6], 1);
      const live = gpu.liveTensors;
      const wrong: [() => unknown, RegExp][] = [
        [() => conv2d(tape, image, fill(gpu, [2, 4, 3, 3], 1)), /1,4,5,3.*2,4,3,3/],
        [() => conv2d(tape, image, fill(gpu, [2, 3, 5, 5], 1)), /conv2d/],
        [() => conv2d(tape, rows, fill(gpu, [2, 3, 1, 1], 1)), /conv2d/],
        [() => conv2d(tape, image, fill(gpu, [2, 3, 1, 1], 1), { stride: 0 }), /stride 0/],
        [() => linear(tape, rows, fill(gpu, [4, 5], 1)), /2,6.*4,5/],
        [() => linear(tape, image, fill(gpu, [4, 3], 1)), /linear/],
        [() => bias(tape, rows, fill(gpu, [5], 1)), /5.*2,6/],
        [() => add(tape, rows, fill(gpu, [6, 2], 1)), /2,6.*6,2/],
        [() => multiply(tape, rows, fill(gpu, [12], 1)), /2,6.*12/],
        [() => maxpool2d(tape, image, { kernel: 5 }), /kernel 5/],
        [() => maxpool2d(tape, image, { kernel: 2, padding: 2 }), /padding 2/],
        [() => maxpool2d(tape, rows, { kernel: 1 }), /2,6/],
        [() => softmaxCrossEntropy(tape, rows, gpu.tensor(new Uint32Array(3), [3])), /2,6.*3/],
        [() => reshape(tape, rows, [5]), /2,6.*5/],
        [() => gpu.tensor(new Float32Array(5), [2, 3]), /5 values.*2,3/],
      ];
      for (const [call, names] of wrong)
        assert.throws(() => gpu.scope(call), failsWith('shape-mismatch', names));
      assert.equal(gpu.liveTensors, live);
    });
    assert.equal(gpu.liveTensors, 0);
  });

  test('squared per-sample gradients of a shared parameter, or by an input that has no such rule', () => {
    gpu.scope(() => {
      const w = fill(gpu, [3, 3], 1);
      const x = fill(gpu, [2, 3], 1);
      const tape = new Tape(gpu).watch([w, x]);
      const y = linear(tape, linear(tape, relu(tape, x), w), w);
      assert.throws(() => tape.squaredGradients(y, [w]), failsWith('shared-parameter', /3,3/));
      assert.throws(() => tape.squaredGradients(y, [x]), failsWith('no-per-sample-rule', /relu/));
      const direct = linear(tape, x, w);
      assert.throws(() => tape.squaredGradients(direct, [x]), failsWith('no-per-sample-rule', /linear/));
    });
    assert.equal(gpu.liveTensors, 0);
  });

  test('a GPU used after it was disposed', async () => {
    const gone = await Gpu.create();
    const x = fill(gone, [3], 1);
    gone.dispose();
    gone.dispose();
    assert.throws(() => fill(gone, [3], 1), failsWith('device-disposed'));
    await assert.rejects(x.read(), failsWith('device-disposed'));
    await assert.rejects(gone.finish(), failsWith('device-disposed'));
    x.dispose();
    assert.equal(gone.liveTensors, 0);
  });
});

describe('the tape', () => {
  test('gradients are zero for what the output does not depend on, and reach past a wanted intermediate', async () => {
    const reads = gpu.scope(() => {
      const x = fill(gpu, [2, 3], 2);
      const unused = fill(gpu, [5], 1);
      const tape = new Tape(gpu).watch([x, unused]);
      const h = scale(tape, x, 3);
      const loss = sum(tape, multiply(tape, h, h));
      return tape.gradients(loss, [x, h, unused]).map((tensor) => tensor.read());
    });
    const [dx, dh, none] = await Promise.all(reads);
    assert.deepEqual([...dh!], new Array(6).fill(12));
    assert.deepEqual([...dx!], new Array(6).fill(36));
    assert.deepEqual([...none!], new Array(5).fill(0));
    assert.equal(gpu.liveTensors, 0);
  });
});

describe('limits', () => {
  test('a tensor larger than the largest buffer is refused before it is made', () => {
    const elements = gpu.device.limits.maxBufferSize / 4 + 1;
    assert.throws(
      () => gpu.empty([1, elements], 'f32'),
      failsWith('tensor-too-large', new RegExp(`${elements}`)),
    );
    assert.equal(gpu.liveTensors, 0);
  });

  test('a tensor larger than the largest binding is refused where it cannot be split', async () => {
    const tape = new Tape(limited);
    const names = new RegExp(`${LIMIT}`);
    const calls = [
      () => sum(tape, limited.empty([LIMIT / 4 + 1], 'f32')),
      () => conv2d(tape, limited.empty([2, 256, 256, 1], 'f32'), fill(limited, [1, 1, 3, 3], 1)),
      () => linear(tape, fill(limited, [2, 400], 1), limited.empty([100, 400], 'f32')),
    ];
    for (const call of calls) {
      assert.throws(() => limited.scope(call), failsWith('tensor-too-large', names));
      assert.equal(limited.liveTensors, 0);
    }
    await limited.finish();
  });

  test('batched ops split a batch that exceeds a binding and give the same results', async () => {
    const samples = 96;
    const run = (on: Gpu) => {
      const reads = on.scope(() => {
        const parameters = parametersOn(on, 3);
        const { x, labels } = batchOn(on, new Random(4), samples);
        assert.ok(x.bytes > 2 * LIMIT);
        const tape = new Tape(on).watch([...parameters, x]);
        const [losses, logits] = network(tape, x, labels, parameters);
        const gradients = tape.gradients(losses, [...parameters, x]);
        return [logits, ...gradients, ...tape.squaredGradients(losses, parameters)].map((tensor) =>
          tensor.read(),
        );
      });
      return Promise.all(reads);
    };
    const [logits, ...whole] = await run(gpu);
    const [splitLogits, ...split] = await run(limited);
    assert.deepEqual(splitLogits, logits);
    for (const [i, expected] of whole.entries()) assertClose(split[i]!, expected, 2e-6, `gradient ${i}`);
    assert.equal(gpu.liveTensors + limited.liveTensors, 0);
  });

  test('a grid of more workgroups than one dimension holds covers everything once', async () => {
    const pairs = 64 * gpu.device.limits.maxComputeWorkgroupsPerDimension + 70;
    const words = await randomWords(new Random(11, 12), pairs);
    const expected = new Random(11, 12);
    for (const block of [0, pairs / 2, pairs - 4]) {
      expected.reserve(2 * (Math.floor(block) - expected.reserve(0).start));
      const start = 2 * Math.floor(block);
      assert.deepEqual(words.slice(start, start + 8), expected.bits(8));
    }
  });
});

async function randomWords(random: Random, pairs: number): Promise<Uint32Array> {
  const { key, start } = random.reserve(2 * pairs);
  using result = gpu.empty([pairs, 2], 'u32');
  const params = { pairs, seed: key[0], stream: key[1], start };
  gpu.dispatch(gpu.kernel('random_bits'), { result }, params, Math.ceil(pairs / 64));
  return await result.read();
}

describe('numbers', () => {
  test('random words made on the GPU are those of the CPU, bit for bit', async () => {
    for (const [seed, stream, skip] of [
      [0, 0, 0],
      [7, 8, 0],
      [2 ** 32 - 1, 2 ** 32 - 1, 31],
      [123456789, 2 ** 31, 2 ** 33 - 400],
    ] as const) {
      const [a, b] = [new Random(seed, stream), new Random(seed, stream)];
      a.reserve(skip);
      b.reserve(skip);
      assert.deepEqual(await randomWords(a, 193), b.bits(386));
    }
  });

  test('the same seed gives the same bits after ten steps of training', async () => {
    const train = async (makeOptimizer: (parameters: F32[]) => Optimizer) => {
      const parameters = gpu.scope(() => parametersOn(gpu, 5));
      using optimizer = makeOptimizer(parameters);
      const random = new Random(6);
      const initial = await parameters[0]!.read();
      for (let i = 0; i < 10; i++) trainingStep(parameters, optimizer, random);
      const trained = await Promise.all(parameters.map((parameter) => parameter.read()));
      for (const parameter of parameters) parameter.dispose();
      assert.notDeepEqual(trained[0], initial);
      return trained.map((values) => new Uint32Array(values.buffer));
    };
    for (const make of [
      (parameters: F32[]) => sgd(gpu, parameters, { learningRate: 0.01, momentum: 0.9 }),
      (parameters: F32[]) => adam(gpu, parameters),
    ]) {
      assert.deepEqual(await train(make), await train(make));
    }
    assert.equal(gpu.liveTensors, 0);
  });
});
