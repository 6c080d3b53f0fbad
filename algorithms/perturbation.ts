import type { Examples } from '../data/index.ts';
import { mean, Random, Replay, Tape, type Tensor } from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';
import type { Estimator } from './estimators.ts';
import { diagonalFisher } from './fisher.ts';
import { sampleLosses, uploadBatch } from './objective.ts';
import type { Deviation } from './verify.ts';

type Values = ReadonlyMap<string, Float32Array>;

/** Groups of neighbouring parameters that are moved together; a group that deviates is taken apart. */
const GROUPS = 32;
/** Of several steps the best counts (large ones cross kinks, small ones drown in rounding); this ends the search. */
const AGREES = 0.01;
/** Change of the loss that a step is to make, as a share of the loss. */
const LOSS_STEPS = [1e-3, 1e-4, 1e-2];
/** Steps are no longer than this share of the weights, where a parameter matters so little that they would be. */
const LONGEST = 0.05;
/** A step in float64, as a share of the weights. */
const FLOAT64_STEP = 1e-5;
/** Weights of zero count as of this size. */
const SMALLEST = 0.1;
/** Rounding of a mean loss or an output, as a share of it: what lies within it is no deviation. */
const ROUNDING = 2 ** -22;
/** A group beyond this is taken apart to find out which of its parameters deviates. */
const SUSPICIOUS = 0.02;
/** Parameters whose Fisher is put to the test, spread over the network. */
const MOST_DIVERGENCES = 24;
/** Divergences, in nats, that a step is to make. */
const DIVERGENCES = [1e-7, 1e-8, 1e-6];
/** Outputs taken as observed where a network gives images. */
const OBSERVED = 16;

/**
 * How far the gradient of the mean loss is off, parameter by parameter, along its own direction: central differences
 * of the loss against the gradient's length. Where the gradient is zero the loss must not change along a random step.
 * @returns errors relative to the slope
 */
export async function lossSlopes(
  network: Network,
  examples: Examples,
  samples: number,
): Promise<Deviation[]> {
  const slopes = await Slopes.measure(network, examples, samples);
  const names = [...network.parameters.keys()];
  const still = names.filter((name) => slopes.lengthOf(name) === 0);
  const moving = names.filter((name) => slopes.lengthOf(name) > 0);
  const size = Math.ceil(moving.length / GROUPS);
  const found: Deviation[] = [];
  for (let start = 0; start < moving.length; start += size) {
    const group = moving.slice(start, start + size);
    const error = await slopes.error(group);
    if (error <= SUSPICIOUS) found.push(...group.map((name) => ({ name, error })));
    else for (const name of group) found.push({ name, error: await slopes.errorAlone(name) });
  }
  for (const name of still) found.push({ name, error: await slopes.errorOfStill(name) });
  return found;
}

class Slopes {
  private constructor(
    private readonly network: Network,
    private readonly examples: Examples,
    private readonly positions: Uint32Array,
    private readonly state: StateDict,
    private readonly gradients: Values,
    private readonly loss: number,
  ) {}

  static async measure(network: Network, examples: Examples, samples: number): Promise<Slopes> {
    const positions = Uint32Array.from({ length: samples }, (_, i) => i);
    const tensors = [...network.parameters.values()];
    const reads = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, examples, positions);
      const tape = new Tape(network.gpu).watch(tensors);
      const losses = sampleLosses(tape, network.forward(tape, images), targets);
      return [losses, ...tape.gradients(mean(tape, losses), tensors)].map((tensor) => tensor.read());
    });
    const [losses, ...gradients] = await Promise.all(reads);
    const byName = new Map([...network.parameters.keys()].map((name, i) => [name, gradients[i]!]));
    return new Slopes(network, examples, positions, await network.state(), byName, average(losses!));
  }

  /** Euclidean length of the gradient by a parameter. */
  lengthOf(name: string): number {
    return length(this.gradients.get(name)!);
  }

  /**
   * Central difference along the group's gradients, each making the same share of the change, against their slopes;
   * of what rounding does not explain.
   */
  async error(group: readonly string[]): Promise<number> {
    let best = Number.POSITIVE_INFINITY;
    for (const share of LOSS_STEPS) {
      const lengths = group.map((name) => {
        const wanted = (share * this.loss) / group.length / this.lengthOf(name);
        return Math.min(wanted, LONGEST * weightLength(this.state.get(name)!.data));
      });
      const expected = lengths.reduce((sum, size, i) => sum + size * this.lengthOf(group[i]!), 0);
      const directions = new Map(
        group.map((name, i) => {
          const factor = lengths[i]! / this.lengthOf(name);
          return [name, this.gradients.get(name)!.map((value) => factor * value)] as const;
        }),
      );
      const off = Math.abs((await this.change(directions)) / 2 - expected);
      best = Math.min(best, Math.max(0, off - ROUNDING * this.loss) / expected);
      if (best <= AGREES) break;
    }
    return best;
  }

  /** The error of one parameter; where float32 leaves it in doubt, float64 on the CPU decides. */
  async errorAlone(name: string): Promise<number> {
    const error = await this.error([name]);
    return error <= SUSPICIOUS ? error : this.errorInFloat64(name);
  }

  /**
   * As {@link error}, of the loss in float64, which bears small steps, with rectifiers on the side they are on here: in
   * a deep network the few that rounding puts on the other side change gradients by percents.
   */
  private async errorInFloat64(name: string): Promise<number> {
    const { network } = this;
    const gradient = this.gradients.get(name)!;
    const factor = (FLOAT64_STEP * weightLength(this.state.get(name)!.data)) / this.lengthOf(name);
    const direction = gradient.map((value) => factor * value);
    const reads = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, this.examples, this.positions);
      const [here, above, below] = [0, 1, -1].map((sign) => {
        const replace = moved(network, this.state, new Map([[name, direction]]), sign);
        const tape = new Tape(network.gpu).watch([images]);
        const losses = sampleLosses(tape, network.forward(tape, images, { replace }), targets);
        return { tape, losses, weights: replace.get(name)! };
      });
      return [above!, below!].map(async ({ tape, losses, weights }) => {
        const [replay, values] = await Promise.all([Replay.run(tape, here!.tape), weights.read()]);
        return { loss: average(replay.value(losses).data), weights: values };
      });
    });
    const [above, below] = await Promise.all(reads);
    // With the steps as float32 holds them.
    const expected = gradient.reduce((sum, g, i) => sum + g * (above!.weights[i]! - below!.weights[i]!), 0);
    return Math.abs((above!.loss - below!.loss) / expected - 1);
  }

  /** The loss's change along a random step, against that of an ordinary step. */
  async errorOfStill(name: string): Promise<number> {
    const { data } = this.state.get(name)!;
    const noise = new Random(0).fork(name).normal(data.length);
    const factor = (LONGEST * weightLength(data)) / length(noise);
    const change = await this.change(new Map([[name, noise.map((value) => factor * value)]]));
    const unexplained = Math.max(0, Math.abs(change) / 2 - ROUNDING * this.loss);
    return unexplained / (LOSS_STEPS[0]! * this.loss);
  }

  /** loss(weights + step) - loss(weights - step). */
  private async change(step: Values): Promise<number> {
    const [above, below] = await Promise.all([this.lossAt(step, 1), this.lossAt(step, -1)]);
    return above - below;
  }

  private async lossAt(step: Values, sign: number): Promise<number> {
    const { network } = this;
    const read = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, this.examples, this.positions);
      const tape = new Tape(network.gpu);
      const replace = moved(network, this.state, step, sign);
      return sampleLosses(tape, network.forward(tape, images, { replace }), targets).read();
    });
    return average(await read);
  }
}

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
  const outputsAt = async (name: string, at: number, step: number): Promise<Float32Array> => {
    const direction = new Float32Array(state.get(name)!.data.length);
    direction[at] = step;
    const read = network.gpu.scope(() => {
      const { images } = uploadBatch(network, examples, positions);
      const replace = moved(network, state, new Map([[name, direction]]), 1);
      return network.forward(new Tape(network.gpu), images, { replace }).read();
    });
    return read;
  };
  const names = [...fisher.entries.keys()];
  const here = await outputsAt(names[0]!, 0, 0);
  const rounding = ROUNDING * here.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const found: Deviation[] = [];
  for (const name of spread(names, MOST_DIVERGENCES)) {
    const { data } = fisher.entries.get(name)!;
    const at = largestAt(data);
    if (data[at] === 0) continue;
    let error = Number.POSITIVE_INFINITY;
    for (const wanted of DIVERGENCES) {
      const longest = (LONGEST * weightLength(state.get(name)!.data)) / Math.sqrt(data.length);
      const step = Math.min(Math.sqrt((2 * wanted) / data[at]!), longest);
      const divergence = (data[at]! * step ** 2) / 2;
      const sides = await Promise.all([outputsAt(name, at, step), outputsAt(name, at, -step)]);
      const measured = average(sides.map((there) => divergenceOf(here, there, samples, observed)));
      const noise = rounding ** 2 + rounding * Math.sqrt(2 * divergence);
      error = Math.min(error, Math.max(0, Math.abs(measured - divergence) - noise) / divergence);
      if (error <= AGREES) break;
    }
    found.push({ name, error });
  }
  return found;
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
  here: Float32Array,
  there: Float32Array,
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

function logSoftmax(logits: Float32Array): Float64Array {
  const values = Float64Array.from(logits);
  const largest = Math.max(...values);
  const total = Math.log(values.reduce((sum, z) => sum + Math.exp(z - largest), 0)) + largest;
  return values.map((z) => z - total);
}

/** The tensors of weights + sign * step, made within the caller's scope. */
function moved(network: Network, state: StateDict, step: Values, sign: number): Map<string, Tensor<'f32'>> {
  return new Map(
    [...step].map(([name, direction]) => {
      const { shape, data } = state.get(name)!;
      return [
        name,
        network.gpu.tensor(
          data.map((value, i) => value + sign * direction[i]!),
          shape,
        ),
      ];
    }),
  );
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

function length(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

/** Euclidean length, weights of zero counted as small ones. */
function weightLength(values: Float32Array): number {
  return Math.max(length(values), SMALLEST * Math.sqrt(values.length));
}

function average(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0) / values.length;
}
