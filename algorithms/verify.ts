import type { Examples } from '../data/index.ts';
import { FathomError, mean, Replay, type Shape, Tape, type Tensor } from '../engine/index.ts';
import type { Network } from '../models/index.ts';
import { fisherDistance } from './distance.ts';
import { divergenceRatios } from './divergence.ts';
import { diagonalFisher, type FisherDiagonal, type FisherOptions } from './fisher.ts';
import { sampleLosses, uploadBatch } from './objective.ts';
import { lossSlopes } from './slopes.ts';

/** How far something is off that should be right. */
export interface Deviation {
  /** The parameter concerned, or what else was compared. */
  name: string;
  error: number;
}

export interface VerifyCheck {
  name: string;
  /** In what the errors are counted. */
  unit: string;
  tolerance: number;
  /** The largest deviation, failing or not. */
  worst: Deviation | undefined;
  /** Every deviation beyond the tolerance. */
  failures: Deviation[];
  ok: boolean;
}

export interface Verification {
  net: string;
  parameters: { name: string; shape: Shape }[];
  checks: VerifyCheck[];
  ok: boolean;
}

/** Images a verification uses, of which the slower checks take the first few. */
const SAMPLES = 4;
const FEW = 2;

/**
 * Checks a network's gradients and Fishers on the adapter at hand, each against something that does not share its
 * code: shapes; outputs against float64 on the CPU; gradients against central differences of the loss; squared
 * per-sample gradients at once against a loop over single images; the exact Fisher against the divergence of small
 * steps; and the distance's invariances.
 * @param examples at least four
 */
export async function verify(
  network: Network,
  examples: Examples,
  onProgress?: (check: string) => void,
): Promise<Verification> {
  const checks: VerifyCheck[] = [];
  const run = async (
    name: string,
    unit: string,
    tolerance: number,
    body: () => Promise<Deviation[]>,
  ): Promise<void> => {
    onProgress?.(name);
    checks.push(judge(name, unit, tolerance, await orFailure(network, body)));
  };
  await run('shapes', 'axes that differ', 0, () => shapes(network, examples));
  await run('outputs against float64 on the CPU', 'of the largest output', 1e-4, () =>
    outputs(network, examples),
  );
  await run('gradients against central differences', 'of the slope', 0.03, () =>
    lossSlopes(network, examples, FEW),
  );
  await run('Fisher at once against a loop of batch 1', 'of the largest entry', 1e-5, () =>
    fusedAgainstLoop(network, examples),
  );
  await run('divergence of small steps against the exact Fisher', 'of the divergence', 0.05, () =>
    divergenceRatios(network, examples, FEW),
  );
  await run('distance to itself', 'of the distance', 0, async () => {
    const fisher = await take(network, examples);
    return [{ name: 'the whole network', error: fisherDistance(fisher, fisher) }];
  });
  await run('batch size', 'of the largest entry', 0, async () => {
    const [whole, cut] = [await take(network, examples), await take(network, examples, { chunk: 3 })];
    return deviations(cut, whole);
  });
  await run('order of samples', 'of the largest entry', 1e-5, async () => {
    const order = Array.from({ length: SAMPLES }, (_, i) => SAMPLES - 1 - i);
    return deviations(await take(network, picked(examples, order)), await take(network, examples));
  });
  const parameters = [...network.parameters].map(([name, { shape }]) => ({ name, shape }));
  return { net: network.architecture.name, parameters, checks, ok: checks.every((check) => check.ok) };
}

function judge(name: string, unit: string, tolerance: number, found: Deviation[]): VerifyCheck {
  // NaN must fail, so "not within" rather than "beyond".
  const failures = found.filter(({ error }) => !(error <= tolerance));
  const worst = found.reduce<Deviation | undefined>(
    (a, b) => (a && !(b.error > a.error) && !Number.isNaN(b.error) ? a : b),
    undefined,
  );
  return { name, unit, tolerance, worst, failures, ok: failures.length === 0 };
}

/** Turns what a check cannot even compute into failures of the parameters concerned. */
async function orFailure(network: Network, body: () => Promise<Deviation[]>): Promise<Deviation[]> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof FathomError) || !EXPECTED.has(error.code)) throw error;
    const mixing = mixingParameters(network);
    const names = mixing.length > 0 ? mixing : [...network.parameters.keys()];
    return names.map((name) => ({ name: `${name} (${error.message})`, error: Number.POSITIVE_INFINITY }));
  }
}

const EXPECTED = new Set([
  'batch-statistics',
  'no-per-sample-rule',
  'shared-parameter',
  'fisher-not-finite',
  'fisher-zero',
]);

/** Parameters of ops in which samples interact, such as batch normalisations that take the batch's statistics. */
function mixingParameters(network: Network): string[] {
  const { gpu, architecture, parameters } = network;
  return gpu.scope(() => {
    const tape = new Tape(gpu).watch(parameters.values());
    network.forward(tape, gpu.empty([1, ...architecture.input], 'f32'));
    const mixing = tape.operations.filter(({ rule }) => rule.mixesSamples);
    const inputs = new Set<Tensor>(mixing.flatMap((operation) => operation.inputs));
    return [...parameters].filter(([, tensor]) => inputs.has(tensor)).map(([name]) => name);
  });
}

async function shapes(network: Network, examples: Examples): Promise<Deviation[]> {
  const { gpu, parameters } = network;
  const tensors = [...parameters.values()];
  const found = gpu.scope(() => {
    const { tape, losses } = forward(network, examples, first(FEW));
    return tape.gradients(mean(tape, losses), tensors).map(({ shape }) => shape);
  });
  return [...parameters].map(([name, { shape }], i) => ({ name, error: differingAxes(shape, found[i]!) }));
}

function differingAxes(a: Shape, b: Shape): number {
  const length = Math.max(a.length, b.length);
  return Array.from({ length }, (_, i) => Number(a[i] !== b[i])).reduce((x, y) => x + y, 0);
}

async function outputs(network: Network, examples: Examples): Promise<Deviation[]> {
  const { gpu } = network;
  const tape = new Tape(gpu);
  const { result, replay } = gpu.scope(() => {
    const { images } = uploadBatch(network, examples, first(FEW));
    tape.watch([...network.parameters.values(), images]);
    const result = network.forward(tape, images);
    return { result, replay: Replay.run(tape) };
  });
  const [exact, actual] = [(await replay).value(result).data, await result.read()];
  result.dispose();
  return [{ name: 'outputs', error: largestDifference(actual, exact) }];
}

async function fusedAgainstLoop(network: Network, examples: Examples): Promise<Deviation[]> {
  const { gpu, parameters } = network;
  const tensors = [...parameters.values()];
  const fused = await take(network, examples);
  const loop = new Map([...parameters].map(([name, { size }]) => [name, new Float64Array(size)]));
  for (let n = 0; n < SAMPLES; n++) {
    const reads = gpu.scope(() => {
      const { tape, losses } = forward(network, examples, Uint32Array.of(n));
      return tape.gradients(mean(tape, losses), tensors).map((gradient) => gradient.read());
    });
    const gradients = await Promise.all(reads);
    for (const [i, sum] of [...loop.values()].entries()) {
      const gradient = gradients[i]!;
      for (let at = 0; at < sum.length; at++) sum[at]! += gradient[at]! ** 2 / SAMPLES;
    }
  }
  return [...loop].map(([name, exact]) => {
    return { name, error: largestDifference(fused.entries.get(name)!.data, exact) };
  });
}

function take(network: Network, examples: Examples, options: FisherOptions = {}): Promise<FisherDiagonal> {
  return diagonalFisher(network, examples, { samples: SAMPLES, ...options });
}

function deviations(actual: FisherDiagonal, expected: FisherDiagonal): Deviation[] {
  return [...expected.entries].map(([name, { data }]) => {
    return { name, error: largestDifference(actual.entries.get(name)!.data, data) };
  });
}

/** Relative to the largest expected entry; 0 where both are zero throughout. */
function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    // Math.max keeps NaN.
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference === 0 ? 0 : difference / largest;
}

/** Runs the network on some examples, every parameter watched; made within the caller's scope. */
function forward(
  network: Network,
  examples: Examples,
  positions: Uint32Array,
): { tape: Tape; losses: Tensor<'f32'> } {
  const { images, targets } = uploadBatch(network, examples, positions);
  const tape = new Tape(network.gpu).watch(network.parameters.values());
  return { tape, losses: sampleLosses(tape, network.forward(tape, images), targets) };
}

function picked(examples: Examples, positions: readonly number[]): Examples {
  return {
    ...examples,
    index: Uint32Array.from(positions, (p) => examples.index[p]!),
    labels: Uint32Array.from(positions, (p) => examples.labels[p]!),
  };
}

function first(count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => i);
}
