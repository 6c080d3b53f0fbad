import type { Examples } from '../data/index.ts';
import { Tape } from '../engine/index.ts';
import type { Network } from '../models/index.ts';
import type { Estimator } from './estimators.ts';
import { diagonalFisher } from './fisher.ts';
import { uploadBatch } from './objective.ts';
import {
  AGREES,
  average,
  LONGEST,
  moved,
  movedInFloat64,
  ROUNDING,
  SUSPICIOUS,
  weightLength,
} from './perturbation.ts';
import type { Deviation } from './verify.ts';

type Outputs = Float32Array | Float64Array;

/** Parameters whose Fisher is put to the test, spread over the network. */
const MOST_DIVERGENCES = 24;
/** Divergences, in nats, that a step is to make. */
const DIVERGENCES = [1e-7, 1e-8, 1e-6];
/** Outputs taken as observed where a network gives images. */
const OBSERVED = 16;

/**
 * How far the exact Fisher is off as the curvature of the model's own distribution: for a small step v of one entry,
 * KL(p(theta) || p(theta + v)) = F v^2 / 2, where the entry is the largest of its parameter's Fisher. This is the one
 * check that does not presuppose the definition (nngeometry's identity).
 * @returns errors relative to the divergence, of parameters spread over the network
 */
export async function divergenceRatios(
  network: Network,
  examples: Examples,
  samples: number,
): Promise<Deviation[]> {
  const observed = observedOutputs(network);
  const estimator: Estimator = { name: 'exact', outputs: observed };
  const fisher = await diagonalFisher(network, examples, { samples, estimator });
  const state = await network.state();
  const positions = Uint32Array.from({ length: samples }, (_, i) => i);
  const imagesOf = () => uploadBatch(network, examples, positions).images;
  const outputsAt = async (name: string, direction: Float32Array): Promise<Float32Array> => {
    const read = network.gpu.scope(() => {
      const replace = moved(network, state, new Map([[name, direction]]), 1);
      return network.forward(new Tape(network.gpu), imagesOf(), { replace }).read();
    });
    return read;
  };
  const between = (here: Outputs, sides: readonly Outputs[]) =>
    average(sides.map((there) => divergenceOf(here, there, samples, observed)));
  const names = [...fisher.entries.keys()];
  const here = await outputsAt(names[0]!, new Float32Array(state.get(names[0]!)!.data.length));
  const rounding = ROUNDING * here.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

  /** Of what rounding of float32 does not explain. */
  const errorAt = async (name: string, at: number, f: number): Promise<number> => {
    const { data } = state.get(name)!;
    let error = Number.POSITIVE_INFINITY;
    for (const wanted of DIVERGENCES) {
      const step = stepFor(wanted, f, data);
      const divergence = (f * step ** 2) / 2;
      const sides = await Promise.all([step, -step].map((s) => outputsAt(name, single(data.length, at, s))));
      const noise = rounding ** 2 + rounding * Math.sqrt(2 * divergence);
      error = Math.min(error, Math.max(0, Math.abs(between(here, sides) - divergence) - noise) / divergence);
      if (error <= AGREES) break;
    }
    return error;
  };
  const errorInFloat64 = async (name: string, at: number, f: number): Promise<number> => {
    const { data } = state.get(name)!;
    const direction = single(data.length, at, stepFor(DIVERGENCES[0]!, f, data));
    const runs = await movedInFloat64(network, state, name, direction, (tape, replace) => {
      const images = imagesOf();
      return network.forward(tape.watch([images]), images, { replace });
    });
    const steps = [runs.above, runs.below].map(({ weights }) => weights[at]! - runs.here.weights[at]!);
    const divergence = average(steps.map((step) => (f * step ** 2) / 2));
    const measured = between(runs.here.values, [runs.above.values, runs.below.values]);
    return Math.abs(measured / divergence - 1);
  };

  const found: Deviation[] = [];
  for (const name of spread(names, MOST_DIVERGENCES)) {
    const { data } = fisher.entries.get(name)!;
    const at = largestAt(data);
    if (data[at] === 0) continue;
    const error = await errorAt(name, at, data[at]!);
    found.push({ name, error: error <= SUSPICIOUS ? error : await errorInFloat64(name, at, data[at]!) });
  }
  return found;
}

/** The step of one entry that makes a divergence, where it is not too long for the weights. */
function stepFor(divergence: number, fisher: number, weights: Float32Array): number {
  const longest = (LONGEST * weightLength(weights)) / Math.sqrt(weights.length);
  return Math.min(Math.sqrt((2 * divergence) / fisher), longest);
}

/** A direction along one entry. */
function single(size: number, at: number, step: number): Float32Array {
  const direction = new Float32Array(size);
  direction[at] = step;
  return direction;
}

/** Outputs of a network that gives images, spread over them; undefined for a classifier. */
function observedOutputs({ architecture: { target } }: Network): number[] | undefined {
  if (!target) return undefined;
  const count = target[0] * target[1] * target[2];
  return spread(
    Array.from({ length: count }, (_, i) => i),
    OBSERVED,
  );
}

/**
 * Mean over samples of the divergence of the model's distribution from `here` to `there`: of labels by softmax, or of
 * the observed outputs as normals of variance D / 2 around D outputs.
 */
function divergenceOf(
  here: Outputs,
  there: Outputs,
  samples: number,
  observed: readonly number[] | undefined,
): number {
  const size = here.length / samples;
  const one = (n: number): number => {
    const [a, b] = [here, there].map((values) => values.subarray(n * size, (n + 1) * size));
    if (observed) return observed.reduce((sum, o) => sum + (a![o]! - b![o]!) ** 2 / size, 0);
    const [p, q] = [logSoftmax(a!), logSoftmax(b!)];
    return p.reduce((sum, value, c) => sum + Math.exp(value) * (value - q[c]!), 0);
  };
  return average(Array.from({ length: samples }, (_, n) => one(n)));
}

function logSoftmax(logits: Outputs): Float64Array {
  const values = Float64Array.from(logits);
  const largest = Math.max(...values);
  const total = Math.log(values.reduce((sum, z) => sum + Math.exp(z - largest), 0)) + largest;
  return values.map((z) => z - total);
}

/** At most `most` items, the first and the last among them, evenly spaced. */
function spread<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]!);
}

function largestAt(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
