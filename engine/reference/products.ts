/**
 * Sizes of the three products of a layer in float64, in loops that V8 keeps in registers: `a` is [rows, size], `b`
 * [columns, size]; `y` holds [rows, columns] at the columns from `first` of lines `stride` long.
 */
export interface ProductShape {
  rows: number;
  columns: number;
  size: number;
  first: number;
  stride: number;
}

/** y = a b^T. */
export function dotProducts(
  a: Float64Array,
  b: Float64Array,
  y: Float64Array,
  { rows, columns, size, first, stride }: ProductShape,
): void {
  for (let column = 0; column < columns; column += 4) {
    const count = Math.min(4, columns - column);
    const b0 = column * size;
    const b1 = (column + Math.min(1, count - 1)) * size;
    const b2 = (column + Math.min(2, count - 1)) * size;
    const b3 = (column + Math.min(3, count - 1)) * size;
    for (let row = 0; row < rows; row++) {
      const start = row * size;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let k = 0; k < size; k++) {
        const value = a[start + k]!;
        s0 += value * b[b0 + k]!;
        s1 += value * b[b1 + k]!;
        s2 += value * b[b2 + k]!;
        s3 += value * b[b3 + k]!;
      }
      const at = row * stride + first + column;
      y[at] = s0;
      if (count > 1) y[at + 1] = s1;
      if (count > 2) y[at + 2] = s2;
      if (count > 3) y[at + 3] = s3;
    }
  }
}

/** a += y b. */
export function addProducts(
  y: Float64Array,
  b: Float64Array,
  a: Float64Array,
  { rows, columns, size, first, stride }: ProductShape,
): void {
  for (let row = 0; row < rows; row++) {
    addCombination(y, row * stride + first, 1, columns, b, a, row * size, size);
  }
}

/** b += y^T a. */
export function addTransposedProducts(
  y: Float64Array,
  a: Float64Array,
  b: Float64Array,
  { rows, columns, size, first, stride }: ProductShape,
): void {
  for (let column = 0; column < columns; column++) {
    addCombination(y, first + column, stride, rows, a, b, column * size, size);
  }
}

/** Adds to `size` entries of `to` the lines of `from`, weighted by `count` factors; those that are zero are skipped. */
function addCombination(
  factors: Float64Array,
  start: number,
  step: number,
  count: number,
  from: Float64Array,
  to: Float64Array,
  at: number,
  size: number,
): void {
  for (let i = 0; ; ) {
    const i0 = nonzeroFrom(i, factors, start, step, count);
    const i1 = nonzeroFrom(i0 + 1, factors, start, step, count);
    const i2 = nonzeroFrom(i1 + 1, factors, start, step, count);
    const i3 = nonzeroFrom(i2 + 1, factors, start, step, count);
    i = i3 + 1;
    if (i0 >= count) return;
    const f0 = factors[start + i0 * step]!;
    const f1 = i1 < count ? factors[start + i1 * step]! : 0;
    const f2 = i2 < count ? factors[start + i2 * step]! : 0;
    const f3 = i3 < count ? factors[start + i3 * step]! : 0;
    const from0 = i0 * size;
    const from1 = (i1 < count ? i1 : i0) * size;
    const from2 = (i2 < count ? i2 : i0) * size;
    const from3 = (i3 < count ? i3 : i0) * size;
    for (let k = 0; k < size; k++) {
      to[at + k]! +=
        f0 * from[from0 + k]! + f1 * from[from1 + k]! + f2 * from[from2 + k]! + f3 * from[from3 + k]!;
    }
  }
}

/** The first factor from the i-th on that is not zero; `count` or more if there is none. */
function nonzeroFrom(i: number, factors: Float64Array, start: number, step: number, count: number): number {
  while (i < count && factors[start + i * step] === 0) i++;
  return i;
}
