import { DryGpu, FathomError, type Gpu, mean, SampleSums, sgd, Tape, type Tensor } from '../engine/index.ts';
import { type Architecture, Network } from '../models/index.ts';
import { ChunkedPass } from './chunked_pass.ts';
import { addSquaredMeans, type Estimator, passesOf } from './estimators.ts';
import { BatchSlots, emptyBatch, sampleLosses } from './objective.ts';

/** Bytes a pass over a network needs on a GPU, its weights and running statistics apart. */
export interface PassBytes {
  training: number;
  fisher: number;
}

const MOST_BYTES = 1024 ** 3;

/** What a Fisher pass may take if nothing else is said: the adapter's largest buffer, at the most 1 GiB. */
export function defaultBudget(gpu: Gpu): number {
  return Math.min(gpu.device.limits.maxBufferSize, MOST_BYTES);
}

/** Bytes that a Fisher pass over `samples` images needs in chunks of `chunk`, without running it. */
export function fisherBytes(
  gpu: Gpu,
  architecture: Architecture,
  chunk: number,
  samples = chunk,
  estimator: Estimator = { name: 'empirical' },
): number {
  const first = passesOf(architecture, estimator)[0]!;
  return dryRun(gpu, architecture, (network) => {
    const parameters = [...network.parameters.values()];
    using slots = new BatchSlots(network, chunk);
    if (estimator.name === 'batch') {
      const total: Tensor<'f32'>[] = [];
      using gradients = new SampleSums(network.gpu, parameters, 'gradient');
      using pass = new ChunkedPass(network, slots, first, gradients);
      for (const batch of parts(samples, estimator.size)) {
        for (const count of parts(batch, chunk)) pass.addLoaded(count);
        addSquaredMeans(total, gradients, batch);
      }
      return;
    }
    using sums = new SampleSums(network.gpu, parameters, 'square');
    {
      using pass = new ChunkedPass(network, slots, first, sums);
      for (const count of parts(samples, chunk)) pass.addLoaded(count);
    }
    network.gpu.scope(() => {
      sums.totals();
    });
  });
}

/** What a total is cut into by a size, the whole parts after the second left out: they need what that needs. */
function parts(total: number, size: number): number[] {
  const whole = Math.min(2, Math.floor(total / size));
  const rest = total % size;
  return [...new Array<number>(whole).fill(size), ...(rest ? [rest] : [])];
}

/** Bytes that a training step of `batch` images needs, with the gradients, without running it. */
export function trainingBytes(gpu: Gpu, architecture: Architecture, batch: number): number {
  return dryRun(gpu, architecture, (network) => {
    const parameters = [...network.parameters.values()];
    using optimizer = sgd(network.gpu, parameters, { learningRate: 0 });
    network.gpu.scope(() => {
      const { images, targets } = emptyBatch(network, batch);
      const tape = new Tape(network.gpu).watch(parameters);
      const outputs = network.forward(tape, images, { training: true });
      optimizer.step(tape.gradients(mean(tape, sampleLosses(tape, outputs, targets)), parameters));
    });
  });
}

/**
 * Images a Fisher pass takes at a time under a byte budget.
 * @throws FathomError `budget-too-small` where not even one fits
 */
export function chunkUnder(
  gpu: Gpu,
  architecture: Architecture,
  estimator: Estimator,
  samples: number,
  budget: number,
  most: number,
): number {
  const fits = (chunk: number) => fisherBytes(gpu, architecture, chunk, samples, estimator) <= budget;
  const together = estimator.name === 'batch' ? Math.min(estimator.size, samples) : samples;
  let [low, high] = [0, Math.min(most, together)];
  if (fits(high)) return high;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  if (low > 0) return low;
  const needed = fisherBytes(gpu, architecture, 1, samples, estimator);
  throw new FathomError({
    code: 'budget-too-small',
    message: `A Fisher pass of ${architecture.name} needs ${needed} bytes beside its weights for one image; the budget is ${budget}`,
    fix: `Give a budget of at least ${needed} bytes`,
  });
}

function dryRun(gpu: Gpu, architecture: Architecture, body: (network: Network) => void): number {
  using dry = new DryGpu(gpu);
  using network = Network.allocate(dry, architecture);
  const weights = dry.peakBytes;
  body(network);
  return dry.peakBytes - weights;
}
