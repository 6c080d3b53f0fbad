import { type Array64, array64, type ReferenceOp } from '../reference.ts';

const exponential = (x: number) => Math.exp(-Math.abs(x));
const logistic = (x: number) => (x >= 0 ? 1 : exponential(x)) / (1 + exponential(x));
const density = (x: number) => Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI);

/** Distribution function of the standard normal: Marsaglia's series, and a continued fraction for the tails. */
function normalBelow(x: number): number {
  if (Number.isNaN(x)) return x;
  const size = Math.abs(x);
  if (size > 5) {
    let fraction = size;
    for (let k = 100; k > 0; k--) fraction = size + k / fraction;
    const tail = density(x) / fraction;
    return x > 0 ? 1 - tail : tail;
  }
  let term = x;
  let sum = x;
  for (let k = 3; Math.abs(term) > 1e-18 * Math.abs(sum); k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return 0.5 + density(x) * sum;
}

/** An op that maps every entry by itself. */
function entrywise(value: (x: number) => number, derivative: (x: number) => number): ReferenceOp {
  return {
    forward: (x) => ({ shape: x!.shape, data: x!.data.map(value) }),
    gradient([x], upstream): Array64[] {
      const dx = array64(x!.shape);
      for (let i = 0; i < dx.data.length; i++) dx.data[i] = upstream.data[i]! * derivative(x!.data[i]!);
      return [dx];
    },
  };
}

/** Activations and dropout. Input: x, of any shape. */
export const activationReference = {
  relu: (): ReferenceOp =>
    entrywise(
      (x) => Math.max(x, 0),
      (x) => (x > 0 ? 1 : 0),
    ),

  relu6: (): ReferenceOp =>
    entrywise(
      (x) => Math.min(Math.max(x, 0), 6),
      (x) => (x > 0 && x < 6 ? 1 : 0),
    ),

  sigmoid: (): ReferenceOp => entrywise(logistic, (x) => logistic(x) * logistic(-x)),

  tanh: (): ReferenceOp => entrywise(Math.tanh, (x) => 4 * logistic(2 * x) * logistic(-2 * x)),

  gelu: (): ReferenceOp =>
    entrywise(
      (x) => x * normalBelow(x),
      (x) => normalBelow(x) + x * density(x),
    ),

  silu: (): ReferenceOp =>
    entrywise(
      (x) => x * logistic(x),
      (x) => logistic(x) * (1 + x * logistic(-x)),
    ),

  /** `mask`: what each entry is multiplied by. */
  dropout(mask: ArrayLike<number>): ReferenceOp {
    const masked = (x: Array64): Array64 => ({
      shape: x.shape,
      data: x.data.map((value, i) => value * mask[i]!),
    });
    return { forward: (x) => masked(x!), gradient: (_, upstream) => [masked(upstream)] };
  },
};
