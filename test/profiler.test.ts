import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { trainingStep, uploadBatch } from '../algorithms/index.ts';
import { fill, Gpu, Profiler, Random, sgd, type Trace, type TraceEvent } from '../engine/index.ts';
import { Network } from '../models/index.ts';
import { examplesOf, stripes, tinyNet } from './tiny.ts';

const profiler = new Profiler();
const plain = await Gpu.create();
const profiled = await Gpu.create({ profiler });
after(() => {
  plain.dispose();
  profiled.dispose();
});

const STEPS = 3;
const examples = examplesOf(stripes(16, 4));

/** Trains a small network and gives the bits of its losses and weights. */
async function bitsAfterTraining(gpu: Gpu): Promise<Uint32Array[]> {
  using network = Network.initialise(gpu, tinyNet(4), new Random(1));
  const parameters = [...network.parameters.values()];
  using optimizer = sgd(gpu, parameters, { learningRate: 0.1, momentum: 0.9 });
  const read: Promise<Float32Array<ArrayBuffer>>[] = [];
  for (let step = 0; step < STEPS; step++) {
    const loss = gpu.span('step', () =>
      gpu.scope(() =>
        trainingStep(network, optimizer, uploadBatch(network, examples, examples.index), new Random(2)),
      ),
    );
    read.push(loss.read());
    await gpu.span('wait for the step', () => gpu.finish());
    loss.dispose();
  }
  for (const parameter of parameters) read.push(parameter.read());
  return (await Promise.all(read)).map(({ buffer }) => new Uint32Array(buffer));
}

function spansOf({ traceEvents }: Trace, pid: number): TraceEvent[] {
  return traceEvents.filter((event) => event.ph === 'X' && event.pid === pid);
}

/** Of each thread's spans any two must lie one in the other or apart; within rounding to a nanosecond. */
function assertNested(events: readonly TraceEvent[]): void {
  for (const tid of new Set(events.map((event) => event.tid))) {
    const open: number[] = [];
    for (const { tid: own, ts, dur, name } of events) {
      if (own !== tid) continue;
      assert.ok(ts! >= 0 && dur! >= 0, name);
      while (open.length > 0 && open.at(-1)! <= ts! + 1e-4) open.pop();
      assert.ok(open.length === 0 || ts! + dur! <= open.at(-1)! + 1e-4, `${name} does not nest`);
      open.push(ts! + dur!);
    }
  }
}

const [expected, actual] = [await bitsAfterTraining(plain), await bitsAfterTraining(profiled)];
const trace = await profiler.trace();
const host = spansOf(trace, 1);
const kernels = spansOf(trace, 2);
const [about] = trace.otherData.devices;
const timed = profiled.device.features.has('timestamp-query');

test('a profiled run has the same bits', () => {
  assert.deepEqual(actual, expected);
});

test('the trace is plain JSON, and names its lanes', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(trace)).traceEvents.length, trace.traceEvents.length);
  const names = trace.traceEvents
    .filter(({ ph }) => ph === 'M')
    .map(({ args }) => (args as { name: string }).name);
  assert.ok(names.includes('host') && names.some((name) => name.includes(profiled.opened.label)), `${names}`);
  assert.equal(about!.adapter, profiled.opened.label);
});

test('every dispatch has one span on the host, and one on the GPU behind it where there are timestamps', () => {
  const recorded = host.filter(({ cat }) => cat === 'record');
  const numbers = (events: readonly TraceEvent[]) =>
    events.map(({ args }) => (args as { dispatch: number }).dispatch).sort((a, b) => a - b);
  const all = Array.from({ length: about!.dispatches }, (_, i) => i);
  assert.ok(all.length > 20 * STEPS, `${all.length} dispatches`);
  assert.deepEqual(numbers(recorded), all);
  assert.deepEqual(numbers(kernels), timed ? all : []);
  assert.equal(about!.timed, timed ? all.length : 0);
  assert.equal(about!.note === undefined, timed);
  const begins = new Map(recorded.map(({ args, ts }) => [(args as { dispatch: number }).dispatch, ts!]));
  for (const { name, args, ts, dur } of kernels) {
    assert.ok(dur! >= 0 && ts! >= begins.get((args as { dispatch: number }).dispatch)!, name);
  }
});

test('spans nest in their lanes, and those of a body that waits or throws end with it', async () => {
  assertNested(host);
  assertNested(kernels);
  assert.equal(host.filter(({ name }) => name === 'step').length, STEPS);
  const [waited] = host.filter(({ name }) => name === 'wait for the step');
  const finished = host.find(({ name, ts }) => name === 'finish' && ts! >= waited!.ts!)!;
  assert.ok(finished.ts! + finished.dur! <= waited!.ts! + waited!.dur! + 1e-3);
  for (const category of ['compile', 'submit', 'wait'])
    assert.ok(
      host.some(({ cat }) => cat === category),
      category,
    );

  const other = new Profiler();
  const error = new Error('expected');
  const fails = () => {
    throw error;
  };
  assert.throws(() => other.span('throws', fails), error);
  await assert.rejects(
    other.span('rejects', async () => fails()),
    error,
  );
  await Promise.all([other.span('one', async () => undefined), other.span('two', async () => undefined)]);
  const spans = spansOf(await other.trace(), 1);
  assert.deepEqual(spans.map(({ name }) => name).sort(), ['one', 'rejects', 'throws', 'two']);
  assertNested(spans);
});

test('the time of kernels adds up to that of their spans', async () => {
  const times = await profiler.kernels();
  assert.equal(
    times.reduce((sum, { calls }) => sum + calls, 0),
    kernels.length,
  );
  const total = kernels.reduce((sum, { dur }) => sum + dur!, 0) / 1000;
  assert.ok(
    Math.abs(times.reduce((sum, { milliseconds }) => sum + milliseconds, 0) - total) < 1e-3 * kernels.length,
  );
  assert.deepEqual(
    [...times].sort((a, b) => b.milliseconds - a.milliseconds),
    times,
  );
  if (timed) assert.ok(Math.abs(times.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-6);
});

test('a GPU disposed before its times are read gives them still, with grid, shapes and parameters', async () => {
  const own = new Profiler();
  {
    using gpu = await Gpu.create({ profiler: own });
    gpu.scope(() => {
      for (let i = 0; i < 300; i++) fill(gpu, [4], i);
    });
    await gpu.finish();
  }
  const { otherData, traceEvents } = await own.trace();
  assert.equal(otherData.devices[0]!.dispatches, 300);
  const events = traceEvents.filter(({ cat }) => cat === 'kernel');
  assert.equal(events.length, timed ? 300 : 0);
  if (!timed) return;
  const params = { channels: 1, count: 1, scale: 7 };
  assert.deepEqual(events[7]!.args, { dispatch: 7, workgroups: 1, tensors: { result: '4' }, params });
});

test('one submit may hold more dispatches than a query set', {
  skip: !timed && 'no timestamps here',
}, async () => {
  const profile = new Profiler().attach(profiled.device, 'own');
  const encoder = profiled.device.createCommandEncoder();
  for (let i = 0; i < 2100; i++) {
    const dispatch = profile.dispatch('empty', {}, {}, 1);
    encoder.beginComputePass(profile.pass(encoder, dispatch)).end();
  }
  const submitted = profile.submitting(encoder);
  profiled.device.queue.submit([encoder.finish()]);
  submitted();
  await profile.settle();
  assert.equal(profile.dispatches.filter(({ gpu }) => gpu && gpu.begin <= gpu.end).length, 2100);
});

test('an adapter without timestamps gives the host alone, and the trace says so', async () => {
  const own = new Profiler();
  const profile = own.attach({ features: new Set() } as unknown as GPUDevice, 'a bare adapter');
  const encoder = profiled.device.createCommandEncoder();
  const dispatch = profile.dispatch('kernel', {}, {}, 1);
  assert.equal(profile.pass(encoder, dispatch), undefined);
  dispatch.recorded();
  profile.submitting(encoder)();
  const { traceEvents, otherData } = await own.trace();
  const spans = traceEvents.filter(({ ph }) => ph === 'X');
  assert.deepEqual(spans.map(({ name, pid }) => [name, pid]).sort(), [
    ['kernel', 1],
    ['submit', 1],
  ]);
  const [device] = otherData.devices;
  assert.deepEqual([device!.dispatches, device!.timed], [1, 0]);
  assert.match(device!.note!, /timestamp-query/);
  assert.deepEqual(await own.kernels(), []);
});
