import { Matrix, solve } from 'ml-matrix';
import type { Random } from '../../engine/index.ts';
import type { DiagonalEntries } from '../distance.ts';
import { pearson } from '../statistics/correlation.ts';
import { standardDeviation } from '../statistics/summary.ts';

/**
 * The case the paper's theorems speak of (section 1.6), in float64 on the CPU: softmax regression with an L2 penalty,
 * whose loss is strongly convex and smooth. Weights are [classes, size], as is a linear layer's.
 */
export interface ConvexTask {
  /** [count, size]; the last of a row is 1, for the bias. */
  inputs: Float64Array;
  labels: Uint32Array;
  size: number;
  classes: number;
  /** Of penalty * |weights|^2 / 2, added to the mean cross-entropy. */
  penalty: number;
}

export interface ConvexOptions {
  count: number;
  features: number;
  classes: number;
  penalty: number;
}

/** Two tasks on the same inputs, drawn from Gaussians: which Gaussian it was, and another rule with noise. */
export function gaussianTasks(
  { count, features, classes, penalty }: ConvexOptions,
  random: Random,
): [ConvexTask, ConvexTask] {
  const size = features + 1;
  const centres = random.fork('centres').normal(classes * features);
  const rule = random.fork('rule').normal(classes * size);
  const noise = random.fork('noise').normal(count * features);
  const doubt = random.fork('doubt').normal(count * classes);
  const inputs = new Float64Array(count * size).fill(1);
  const gaussian = Uint32Array.from({ length: count }, (_, n) => n % classes);
  const ruled = new Uint32Array(count);
  for (let n = 0; n < count; n++) {
    for (let j = 0; j < features; j++) {
      inputs[n * size + j] = centres[gaussian[n]! * features + j]! + noise[n * features + j]!;
    }
    const scores = Array.from({ length: classes }, (_, c) => {
      return doubt[n * classes + c]! + dot(inputs, n * size, rule, c * size, size);
    });
    ruled[n] = scores.indexOf(Math.max(...scores));
  }
  const shared = { inputs, size, classes, penalty };
  return [
    { ...shared, labels: gaussian },
    { ...shared, labels: ruled },
  ];
}

/**
 * Stochastic gradient descent on one sample a step, drawn with replacement, with step `first` * t^-`power` and the
 * mean of the iterates kept (Polyak and Juditsky 1992). Starts from normal weights of deviation 0.1.
 * @param steps numbers of steps, ascending
 * @returns the mean of the iterates so far, at each of `steps`
 */
export function averagedSgd(
  task: ConvexTask,
  steps: readonly number[],
  random: Random,
  { first, power }: { first: number; power: number },
): Float64Array[] {
  const { inputs, labels, size, classes, penalty } = task;
  const weights = Float64Array.from(random.fork('start').normal(classes * size), (value) => value / 10);
  const average = new Float64Array(weights.length);
  const errors = new Float64Array(classes);
  const order = random.fork('order');
  const found: Float64Array[] = [];
  let drawn = order.uniform(CHUNK);
  for (let t = 1; found.length < steps.length; t++) {
    const n = Math.floor(drawn[(t - 1) % CHUNK]! * labels.length);
    if (t % CHUNK === 0) drawn = order.uniform(CHUNK);
    errorsOf(task, weights, n, errors);
    const rate = first * t ** -power;
    for (let c = 0; c < classes; c++) {
      for (let j = 0; j < size; j++) {
        const i = c * size + j;
        weights[i]! -= rate * (errors[c]! * inputs[n * size + j]! + penalty * weights[i]!);
        average[i]! += (weights[i]! - average[i]!) / t;
      }
    }
    if (t === steps[found.length]) found.push(average.slice());
  }
  return found;
}

const CHUNK = 4096;

/** Gradient of the mean cross-entropy with its penalty. */
export function convexGradient(task: ConvexTask, weights: Float64Array): Float64Array {
  const gradient = weights.map((value) => task.penalty * value);
  eachSample(task, weights, (errors, n) => {
    for (const [i] of gradient.entries()) {
      gradient[i]! +=
        (errors[Math.floor(i / task.size)]! * task.inputs[n * task.size + (i % task.size)]!) /
        task.labels.length;
    }
  });
  return gradient;
}

/** The minimiser by Newton's method: its gradient is below 1e-12 in every entry. */
export function convexMinimiser(task: ConvexTask): Float64Array {
  let weights = new Float64Array(task.classes * task.size);
  for (let step = 0; step < 50; step++) {
    const gradient = convexGradient(task, weights);
    if (gradient.every((value) => Math.abs(value) < 1e-12)) return weights;
    const change = solve(hessian(task, weights), Matrix.columnVector(gradient)).to1DArray();
    weights = weights.map((value, i) => value - change[i]!);
  }
  throw new Error("Newton's method has not converged in 50 steps");
}

/** Diagonal Fisher by the definition: mean over the samples of the squared gradient of each one's cross-entropy. */
export function convexFisher(task: ConvexTask, weights: Float64Array): DiagonalEntries {
  const { inputs, labels, size, classes } = task;
  const data = new Float64Array(weights.length);
  eachSample(task, weights, (errors, n) => {
    for (const [i] of data.entries()) {
      data[i]! += (errors[Math.floor(i / size)]! * inputs[n * size + (i % size)]!) ** 2 / labels.length;
    }
  });
  return { entries: new Map([['head.weight', { shape: [classes, size], data }]]) };
}

/** The power of t that the values follow, by least squares of their logarithms. */
export function exponentOf(steps: readonly number[], values: readonly number[]): number {
  const [x, y] = [steps.map(Math.log), values.map(Math.log)];
  return (pearson(x, y) * standardDeviation(y)) / standardDeviation(x);
}

function hessian(task: ConvexTask, weights: Float64Array): Matrix {
  const { inputs, labels, size, penalty } = task;
  const matrix = Matrix.eye(weights.length).mul(penalty);
  eachSample(task, weights, (errors, n) => {
    const p = errors.map((error, c) => error + (c === labels[n] ? 1 : 0));
    for (let a = 0; a < weights.length; a++) {
      for (let b = 0; b < weights.length; b++) {
        const [c, d] = [Math.floor(a / size), Math.floor(b / size)];
        const curvature = p[c]! * ((c === d ? 1 : 0) - p[d]!);
        const product = inputs[n * size + (a % size)]! * inputs[n * size + (b % size)]!;
        matrix.set(a, b, matrix.get(a, b) + (curvature * product) / labels.length);
      }
    }
  });
  return matrix;
}

function eachSample(
  task: ConvexTask,
  weights: Float64Array,
  visit: (errors: Float64Array, n: number) => void,
): void {
  const errors = new Float64Array(task.classes);
  for (let n = 0; n < task.labels.length; n++) {
    errorsOf(task, weights, n, errors);
    visit(errors, n);
  }
}

/** Probabilities less the label's one: the gradient of a sample's cross-entropy by its logits. */
function errorsOf(
  { inputs, labels, size, classes }: ConvexTask,
  weights: Float64Array,
  n: number,
  errors: Float64Array,
): void {
  let largest = -Infinity;
  for (let c = 0; c < classes; c++) {
    errors[c] = dot(inputs, n * size, weights, c * size, size);
    largest = Math.max(largest, errors[c]!);
  }
  let total = 0;
  for (let c = 0; c < classes; c++) total += errors[c] = Math.exp(errors[c]! - largest);
  for (let c = 0; c < classes; c++) errors[c]! /= total;
  errors[labels[n]!]! -= 1;
}

function dot(
  a: Float64Array,
  from: number,
  b: Float64Array | Float32Array,
  start: number,
  size: number,
): number {
  let sum = 0;
  for (let j = 0; j < size; j++) sum += a[from + j]! * b[start + j]!;
  return sum;
}
