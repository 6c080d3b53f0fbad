import { Replay, Tape, type Tensor } from '../engine/index.ts';
import type { Network, StateDict } from '../models/index.ts';

/** Of several steps the best counts (large ones cross kinks, small ones drown in rounding); this ends the search. */
export const AGREES = 0.01;
/** Beyond this float32 leaves it in doubt, and float64 decides. */
export const SUSPICIOUS = 0.02;
/** Steps are no longer than this share of the weights, where a parameter matters so little that they would be. */
export const LONGEST = 0.05;
/** Rounding of a mean loss or an output, as a share of it: what lies within it is no deviation. */
export const ROUNDING = 2 ** -22;
/** Weights of zero count as of this size. */
const SMALLEST = 0.1;

/** A result of a network in float64, and the values its moved parameter had as float32 holds them. */
export interface Replayed {
  values: Float64Array;
  weights: Float32Array;
}

/**
 * Runs a network with one parameter where it is, and moved along a direction and against it, in float64 on the CPU.
 * Rectifiers keep the side they are on here on the adapter: in a deep network the few that rounding or the step puts
 * on the other side change derivatives by percents.
 * @param result runs the network with some tensors replaced, within the caller's scope
 */
export async function movedInFloat64(
  network: Network,
  state: StateDict,
  name: string,
  direction: Float32Array,
  result: (tape: Tape, replace: ReadonlyMap<string, Tensor<'f32'>>) => Tensor<'f32'>,
): Promise<Record<'here' | 'above' | 'below', Replayed>> {
  const reads = network.gpu.scope(() => {
    const runs = [0, 1, -1].map((sign) => {
      const replace = moved(network, state, new Map([[name, direction]]), sign);
      const tape = new Tape(network.gpu).watch(replace.values());
      return { tape, output: result(tape, replace), weights: replace.get(name)! };
    });
    return runs.map(async ({ tape, output, weights }) => {
      const [replay, values] = await Promise.all([Replay.run(tape, runs[0]!.tape), weights.read()]);
      return { values: replay.value(output).data, weights: values };
    });
  });
  const [here, above, below] = (await Promise.all(reads)) as [Replayed, Replayed, Replayed];
  return { here, above, below };
}

/** The tensors of weights + sign * step, made within the caller's scope. */
export function moved(
  network: Network,
  state: StateDict,
  step: ReadonlyMap<string, Float32Array>,
  sign: number,
): Map<string, Tensor<'f32'>> {
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

/** Euclidean length. */
export function length(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

/** Euclidean length, weights of zero counted as small ones. */
export function weightLength(values: Float32Array): number {
  return Math.max(length(values), SMALLEST * Math.sqrt(values.length));
}

export function average(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0) / values.length;
}
