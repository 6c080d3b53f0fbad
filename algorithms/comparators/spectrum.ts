import { gram, transposed } from '../dense.ts';
import type { LabelledRows } from '../features.ts';
import { classesOf } from './score.ts';

/** Labelled rows X [samples, width] = U S V^T, seen from the side of the samples. */
export interface Spectrum {
  samples: number;
  width: number;
  /** Samples of each class that occurs. */
  sizes: number[];
  /** Squares of the singular values, min(samples, width) of them; exactly 0 beyond the rank. */
  values: Float64Array;
  /** By class: (u_k . y)^2, y being 1 at its samples and 0 elsewhere; 0 beyond the rank. */
  squares: Float64Array[];
  rank: number;
}

/**
 * Spectrum of rows in float64, by way of the smaller of X X^T and X^T X: an eigenvalue below eps * max(samples, width)
 * of the largest counts as 0.
 */
export function spectrumOf({ values, width, labels }: LabelledRows): Spectrum {
  const samples = labels.length;
  const { of, sizes } = classesOf(labels);
  const bySamples = samples <= width;
  const size = Math.min(samples, width);
  const rows = bySamples ? values : transposed(values, samples, width);
  // Coordinates [size, classes] of what is to be turned into the eigenbasis: y itself, or X^T y.
  const turned = new Float64Array(size * sizes.length);
  for (let n = 0; n < samples; n++) {
    if (bySamples) turned[n * sizes.length + of[n]!] = 1;
    else for (let j = 0; j < width; j++) turned[j * sizes.length + of[n]!]! += values[n * width + j]!;
  }
  const eigenvalues = diagonalise(gram(rows, size, bySamples ? width : samples), size, turned, sizes.length);
  const largest = eigenvalues.reduce((most, value) => Math.max(most, value), 0);
  const least = largest * Number.EPSILON * Math.max(samples, width);
  const kept = eigenvalues.map((value) => (value > least ? value : 0));
  const squares = sizes.map((_, c) =>
    kept.map((value, k) => {
      const square = turned[k * sizes.length + c]! ** 2;
      return value === 0 ? 0 : bySamples ? square : square / value;
    }),
  );
  return { samples, width, sizes, values: kept, squares, rank: kept.filter((value) => value > 0).length };
}

/**
 * Eigenvalues of a symmetric matrix, in no particular order, with vectors turned into the eigenbasis: the eigenvectors
 * themselves, whose making would cost most of the time, are never formed. Householder's reduction to a tridiagonal
 * matrix, then QL steps with implicit shifts (Golub and Van Loan, sections 8.3.1 and 8.3.3).
 * @param matrix [size, size], of which the lower triangle is read; overwritten
 * @param vectors [size, count], a column each; on return row k holds their coordinates along eigenvector k
 */
export function diagonalise(
  matrix: Float64Array,
  size: number,
  vectors: Float64Array,
  count: number,
): Float64Array {
  const beside = tridiagonalise(matrix, size, vectors, count);
  const diagonal = Float64Array.from({ length: size }, (_, i) => matrix[i * size + i]!);
  for (let low = 0; low < size; low++) {
    for (;;) {
      let high = low;
      for (; high + 1 < size; high++) {
        const scale = Math.abs(diagonal[high]!) + Math.abs(diagonal[high + 1]!);
        if (Math.abs(beside[high]!) <= Number.EPSILON * scale) break;
      }
      if (high === low) break;
      chase(diagonal, beside, low, high, vectors, count);
    }
  }
  return diagonal;
}

/** @returns what stands beside the diagonal, [size] with a 0 at the end; the diagonal is left in the matrix. */
function tridiagonalise(
  matrix: Float64Array,
  size: number,
  vectors: Float64Array,
  count: number,
): Float64Array {
  const beside = new Float64Array(size);
  const w = new Float64Array(size);
  const along = new Float64Array(count);
  for (let row = size - 1; row > 0; row--) {
    // The row's entries left of its diagonal become multiples of the last of them.
    const v = matrix.subarray(row * size, row * size + row);
    let largest = 0;
    for (let j = 0; j < row - 1; j++) largest = Math.max(largest, Math.abs(v[j]!));
    if (largest === 0) {
      beside[row - 1] = v[row - 1]!;
      continue;
    }
    largest = Math.max(largest, Math.abs(v[row - 1]!));
    let length = 0;
    for (let j = 0; j < row; j++) length += (v[j]! / largest) ** 2;
    length = largest * Math.sqrt(length);
    const end = v[row - 1]! > 0 ? -length : length;
    const last = v[row - 1]! - end;
    for (let j = 0; j < row - 1; j++) v[j]! /= last;
    v[row - 1] = 1;
    const beta = -last / end;
    beside[row - 1] = end;

    w.fill(0, 0, row);
    for (let i = 0; i < row; i++) {
      const start = i * size;
      const vi = v[i]!;
      let sum = 0;
      for (let j = 0; j < i; j++) {
        const entry = matrix[start + j]!;
        sum += entry * v[j]!;
        w[j]! += entry * vi;
      }
      w[i]! += sum + matrix[start + i]! * vi;
    }
    let overlap = 0;
    for (let j = 0; j < row; j++) overlap += w[j]! * v[j]!;
    const half = (beta * beta * overlap) / 2;
    for (let j = 0; j < row; j++) w[j] = beta * w[j]! - half * v[j]!;
    for (let i = 0; i < row; i++) {
      const start = i * size;
      const [vi, wi] = [v[i]!, w[i]!];
      for (let j = 0; j <= i; j++) matrix[start + j]! -= vi * w[j]! + wi * v[j]!;
    }

    along.fill(0);
    for (let j = 0; j < row; j++) {
      for (let c = 0; c < count; c++) along[c]! += v[j]! * vectors[j * count + c]!;
    }
    for (let j = 0; j < row; j++) {
      const factor = beta * v[j]!;
      for (let c = 0; c < count; c++) vectors[j * count + c]! -= factor * along[c]!;
    }
  }
  return beside;
}

/** One implicit QL step on the rows `low` to `high`. */
function chase(
  diagonal: Float64Array,
  beside: Float64Array,
  low: number,
  high: number,
  vectors: Float64Array,
  count: number,
): void {
  // Wilkinson's shift: the eigenvalue of the first two rows that is nearer to the first entry.
  const ratio = (diagonal[low + 1]! - diagonal[low]!) / (2 * beside[low]!);
  const root = Math.hypot(ratio, 1);
  const shift = diagonal[low]! - beside[low]! / (ratio + (ratio >= 0 ? root : -root));
  let g = diagonal[high]! - shift;
  let [sine, cosine, moved] = [1, 1, 0];
  for (let i = high - 1; i >= low; i--) {
    const f = sine * beside[i]!;
    const b = cosine * beside[i]!;
    const length = Math.hypot(f, g);
    beside[i + 1] = length;
    if (length === 0) {
      diagonal[i + 1]! -= moved;
      beside[high] = 0;
      return;
    }
    sine = f / length;
    cosine = g / length;
    g = diagonal[i + 1]! - moved;
    const turn = (diagonal[i]! - g) * sine + 2 * cosine * b;
    moved = sine * turn;
    diagonal[i + 1] = g + moved;
    g = cosine * turn - b;
    for (let c = i * count; c < (i + 1) * count; c++) {
      const upper = vectors[c + count]!;
      const lower = vectors[c]!;
      vectors[c + count] = sine * lower + cosine * upper;
      vectors[c] = cosine * lower - sine * upper;
    }
  }
  diagonal[low]! -= moved;
  beside[low] = g;
  beside[high] = 0;
}
