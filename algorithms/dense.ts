/** Matrices here are flat arrays, rows first: several times as fast as a class with a method for each entry. */
export type Values = Float32Array | Float64Array;

/** X X^T [count, count] of rows [count, width]; its lower triangle alone is filled in. */
export function gram(rows: Values, count: number, width: number): Float64Array {
  const result = new Float64Array(count * count);
  for (let i = 0; i < count; i += 2) {
    // Two rows by two, so that each value read serves twice; a missing second row stands for the first.
    const i2 = Math.min(i + 1, count - 1);
    const [a, b] = [i * width, i2 * width];
    for (let j = 0; j <= i2; j += 2) {
      const j2 = Math.min(j + 1, count - 1);
      const [c, d] = [j * width, j2 * width];
      let [ac, ad, bc, bd] = [0, 0, 0, 0];
      for (let k = 0; k < width; k++) {
        const [x, y, z, w] = [rows[a + k]!, rows[b + k]!, rows[c + k]!, rows[d + k]!];
        ac += x * z;
        ad += x * w;
        bc += y * z;
        bd += y * w;
      }
      result[i * count + j] = ac;
      result[i * count + j2] = ad;
      result[i2 * count + j] = bc;
      result[i2 * count + j2] = bd;
    }
  }
  return result;
}

export function transposed(values: Values, rows: number, columns: number): Float64Array {
  const result = new Float64Array(values.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = values[i * columns + j]!;
  }
  return result;
}

/** A B^T [count, others] of `a` [count, width] and `b` [others, width]. */
export function timesTransposed(
  a: Float64Array,
  count: number,
  b: Float64Array,
  others: number,
  width: number,
): Float64Array {
  const result = new Float64Array(count * others);
  for (let i = 0; i < count; i += 2) {
    const i2 = Math.min(i + 1, count - 1);
    const [first, second] = [i * width, i2 * width];
    for (let j = 0; j < others; j += 2) {
      const j2 = Math.min(j + 1, others - 1);
      const [third, fourth] = [j * width, j2 * width];
      let [p, q, r, s] = [0, 0, 0, 0];
      for (let k = 0; k < width; k++) {
        const [x, y, z, w] = [a[first + k]!, a[second + k]!, b[third + k]!, b[fourth + k]!];
        p += x * z;
        q += x * w;
        r += y * z;
        s += y * w;
      }
      result[i * others + j] = p;
      result[i * others + j2] = q;
      result[i2 * others + j] = r;
      result[i2 * others + j2] = s;
    }
  }
  return result;
}

/** A^T B [columns, width] of `a` [count, columns] and `b` [count, width]. */
export function transposedTimes(
  a: Float64Array,
  columns: number,
  b: Float64Array,
  width: number,
): Float64Array {
  const result = new Float64Array(columns * width);
  const count = b.length / width;
  for (let n = 0; n < count; n += 4) {
    const rows = [n, n + 1, n + 2, n + 3].map((row) => Math.min(row, count - 1));
    const [first, second, third, fourth] = rows.map((row) => row * width) as [number, number, number, number];
    for (let c = 0; c < columns; c++) {
      const factor = (i: number) => (n + i < count ? a[(n + i) * columns + c]! : 0);
      const [p, q, r, s] = [factor(0), factor(1), factor(2), factor(3)];
      const to = c * width;
      for (let j = 0; j < width; j++) {
        result[to + j]! += p * b[first + j]! + q * b[second + j]! + r * b[third + j]! + s * b[fourth + j]!;
      }
    }
  }
  return result;
}

/**
 * Cholesky's factor of `matrix` + ridge in its place: rows of the lower triangular L with L L^T equal to it. Reads the
 * lower triangle; what is above the diagonal is left as it was. A pivot that rounding has made negative becomes NaN.
 */
export function factorise(matrix: Float64Array, size: number, ridge: number): Float64Array {
  for (let i = 0; i < size; i++) {
    const row = i * size;
    for (let j = 0; j <= i; j++) {
      const other = j * size;
      // Four sums side by side: one alone would wait for itself at every step.
      let [p, q, r, s] = [0, 0, 0, 0];
      let k = 0;
      for (; k + 3 < j; k += 4) {
        p += matrix[row + k]! * matrix[other + k]!;
        q += matrix[row + k + 1]! * matrix[other + k + 1]!;
        r += matrix[row + k + 2]! * matrix[other + k + 2]!;
        s += matrix[row + k + 3]! * matrix[other + k + 3]!;
      }
      for (; k < j; k++) p += matrix[row + k]! * matrix[other + k]!;
      const rest = matrix[row + j]! - (p + q + (r + s));
      matrix[row + j] = i === j ? Math.sqrt(rest + ridge) : rest / matrix[other + j]!;
    }
  }
  return matrix;
}

/** Divides each column of `vectors` [size, count] by L L^T, in its place. */
export function divideBy(factor: Float64Array, size: number, vectors: Float64Array, count: number): void {
  const take = (from: number, times: number, to: number) => {
    for (let c = 0; c < count; c++) vectors[to * count + c]! -= times * vectors[from * count + c]!;
  };
  const shrink = (i: number) => {
    for (let c = 0; c < count; c++) vectors[i * count + c]! /= factor[i * size + i]!;
  };
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < i; j++) take(j, factor[i * size + j]!, i);
    shrink(i);
  }
  for (let i = size - 1; i >= 0; i--) {
    shrink(i);
    for (let j = 0; j < i; j++) take(i, factor[i * size + j]!, j);
  }
}
