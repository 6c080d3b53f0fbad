import { type Shape, sizeOf } from './tensor.ts';

/** A dense array in float64 on the CPU, last axis fastest; images are NHWC. */
export interface Array64 {
  shape: Shape;
  data: Float64Array;
}

/** An op of the engine in float64 by plain loops: what kernels are measured against. */
export interface ReferenceOp {
  forward(...inputs: readonly Array64[]): Array64;
  /** The gradient by each input in turn, given one of the output's shape. */
  gradient(inputs: readonly Array64[], upstream: Array64): Array64[];
}

/** Calls `visit` with the places of `a`, `b` and the output in each product that an output entry sums. */
type Products = (a: Shape, b: Shape, visit: (a: number, b: number, y: number) => void) => void;

export function array64(shape: Shape, data?: ArrayLike<number>): Array64 {
  return { shape, data: data ? Float64Array.from(data) : new Float64Array(sizeOf(shape)) };
}

/**
 * Every op of engine/ops by its name there, as a function of that op's options. Layouts, shapes and rules (which of
 * equal maxima wins, NaN kept by relu) are those the ops document; inputs are taken to fit, so nothing is checked.
 */
export const reference = {
  /** Inputs: x [samples, height, width, in], weights [out, in, kernel height, kernel width]. */
  conv2d(options: { stride?: number; padding?: number | readonly [number, number] } = {}): ReferenceOp {
    const { stride = 1, padding = 0 } = options;
    const [paddingY, paddingX] = typeof padding === 'number' ? [padding, padding] : padding;
    const outputShape = (x: Shape, w: Shape): Shape => [
      x[0]!,
      Math.floor((x[1]! + 2 * paddingY - w[2]!) / stride) + 1,
      Math.floor((x[2]! + 2 * paddingX - w[3]!) / stride) + 1,
      w[0]!,
    ];
    return bilinear(outputShape, (x, w, visit) => {
      const [, height, width, channels] = x as [number, number, number, number];
      const [outChannels, , kernelHeight, kernelWidth] = w as [number, number, number, number];
      let at = 0;
      eachIndex(outputShape(x, w).slice(0, 3), (n, oy, ox) => {
        eachIndex([outChannels, kernelHeight, kernelWidth], (o, ky, kx) => {
          const iy = oy * stride - paddingY + ky;
          const ix = ox * stride - paddingX + kx;
          if (iy < 0 || iy >= height || ix < 0 || ix >= width) return;
          for (let c = 0; c < channels; c++) {
            const weight = ((o * channels + c) * kernelHeight + ky) * kernelWidth + kx;
            visit(((n * height + iy) * width + ix) * channels + c, weight, at + o);
          }
        });
        at += outChannels;
      });
    });
  },

  /** Inputs: x [samples, in], weights [out, in]. */
  linear(): ReferenceOp {
    return bilinear(
      ([samples], [out]) => [samples!, out!],
      ([samples, channels], [out], visit) => {
        eachIndex([samples!, out!, channels!], (n, o, c) => {
          visit(n * channels! + c, o * channels! + c, n * out! + o);
        });
      },
    );
  },

  /** Inputs: x [..., channels], b [channels]. */
  bias(): ReferenceOp {
    return {
      forward: (x, b) => map(x!, (value, i) => value + b!.data[i % b!.data.length]!),
      gradient([, b], upstream) {
        const db = array64(b!.shape);
        for (const [i, g] of upstream.data.entries()) db.data[i % db.data.length]! += g;
        return [upstream, db];
      },
    };
  },

  relu(): ReferenceOp {
    return {
      forward: (x) => map(x!, (value) => Math.max(value, 0)),
      gradient: ([x], upstream) => [map(upstream, (g, i) => (x!.data[i]! > 0 ? g : 0))],
    };
  },

  add(): ReferenceOp {
    return {
      forward: (a, b) => map(a!, (value, i) => value + b!.data[i]!),
      gradient: (_, upstream) => [upstream, upstream],
    };
  },

  multiply(): ReferenceOp {
    const product = (a: Array64, b: Array64) => map(a, (value, i) => value * b.data[i]!);
    return {
      forward: (a, b) => product(a!, b!),
      gradient: ([a, b], upstream) => [product(upstream, b!), product(upstream, a!)],
    };
  },

  scale(factor: number): ReferenceOp {
    return {
      forward: (x) => map(x!, (value) => factor * value),
      gradient: (_, upstream) => [map(upstream, (g) => factor * g)],
    };
  },

  /** Input: x [samples, height, width, channels]. */
  maxpool2d(options: { kernel: number; stride?: number; padding?: number }): ReferenceOp {
    const { kernel, stride = kernel, padding = 0 } = options;
    const extent = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
    /** The output, and for each of its entries the place in x of the maximum. */
    const pool = (x: Array64): { y: Array64; winners: number[] } => {
      const [samples, height, width, channels] = x.shape as [number, number, number, number];
      const shape = [samples, extent(height), extent(width), channels];
      const winners: number[] = [];
      eachIndex(shape, (n, oy, ox, c) => {
        let winner = -1;
        eachIndex([kernel, kernel], (ky, kx) => {
          const iy = oy * stride - padding + ky;
          const ix = ox * stride - padding + kx;
          if (iy < 0 || iy >= height || ix < 0 || ix >= width) return;
          const at = ((n * height + iy) * width + ix) * channels + c;
          if (winner < 0 || x.data[at]! > x.data[winner]!) winner = at;
        });
        winners.push(winner);
      });
      const y = array64(
        shape,
        winners.map((at) => x.data[at]!),
      );
      return { y, winners };
    };
    return {
      forward: (x) => pool(x!).y,
      gradient([x], upstream) {
        const dx = array64(x!.shape);
        for (const [i, at] of pool(x!).winners.entries()) dx.data[at]! += upstream.data[i]!;
        return [dx];
      },
    };
  },

  /** Input: x [samples, height, width, channels]; output in PyTorch's order (channel, row, column). */
  flatten(): ReferenceOp {
    /** Calls `visit` with the place of an entry in NHWC and in NCHW. */
    const places = ([samples, height, width, channels]: Shape, visit: (x: number, y: number) => void) => {
      let y = 0;
      eachIndex([samples!, channels!, height! * width!], (n, c, pixel) => {
        visit((n * height! * width! + pixel) * channels! + c, y++);
      });
    };
    return {
      forward(x) {
        const y = array64([x!.shape[0]!, sizeOf(x!.shape.slice(1))]);
        places(x!.shape, (from, to) => {
          y.data[to] = x!.data[from]!;
        });
        return y;
      },
      gradient([x], upstream) {
        const dx = array64(x!.shape);
        places(x!.shape, (to, from) => {
          dx.data[to] = upstream.data[from]!;
        });
        return [dx];
      },
    };
  },

  /** Input: logits [samples, classes]; each row is continued by `zeroLogits` zeros. Output: one loss a sample. */
  softmaxCrossEntropy(labels: ArrayLike<number>, zeroLogits = 0): ReferenceOp {
    const rows = (logits: Array64): number[][] => {
      const classes = logits.shape[1]!;
      return Array.from({ length: logits.shape[0]! }, (_, n) => [
        ...logits.data.subarray(n * classes, (n + 1) * classes),
        ...new Array<number>(zeroLogits).fill(0),
      ]);
    };
    return {
      forward(logits) {
        const losses = rows(logits!).map((row, n) => {
          const own = row[labels[n]!]!;
          // log(1 + the others over the own): exact where the own logit is far the largest.
          const largest = Math.max(...row);
          const others = row.map((z, c) => (c === labels[n] ? 0 : Math.exp(z - largest)));
          const sum = others.reduce((a, b) => a + b, 0);
          return own === largest ? Math.log1p(sum) : largest - own + Math.log(sum + Math.exp(own - largest));
        });
        return array64([losses.length], losses);
      },
      gradient([logits], upstream) {
        const classes = logits!.shape[1]!;
        const gradients = rows(logits!).flatMap((row, n) => {
          const largest = Math.max(...row);
          const powers = row.map((z) => Math.exp(z - largest));
          const total = powers.reduce((a, b) => a + b, 0);
          const others = powers.reduce((a, b, c) => (c === labels[n] ? a : a + b), 0);
          return powers
            .map((power, c) => (upstream.data[n]! * (c === labels[n] ? -others : power)) / total)
            .slice(0, classes);
        });
        return [array64(logits!.shape, gradients)];
      },
    };
  },

  sum(): ReferenceOp {
    return scaledSum(() => 1);
  },

  mean(): ReferenceOp {
    return scaledSum((size) => 1 / size);
  },
};

/** y = the sum of products of two inputs that `products` lists; its gradients sum the same products. */
function bilinear(outputShape: (a: Shape, b: Shape) => Shape, products: Products): ReferenceOp {
  return {
    forward(a, b) {
      const y = array64(outputShape(a!.shape, b!.shape));
      products(a!.shape, b!.shape, (ai, bi, yi) => {
        y.data[yi]! += a!.data[ai]! * b!.data[bi]!;
      });
      return y;
    },
    gradient([a, b], upstream) {
      const da = array64(a!.shape);
      const db = array64(b!.shape);
      products(a!.shape, b!.shape, (ai, bi, yi) => {
        da.data[ai]! += b!.data[bi]! * upstream.data[yi]!;
        db.data[bi]! += a!.data[ai]! * upstream.data[yi]!;
      });
      return [da, db];
    },
  };
}

function scaledSum(factor: (size: number) => number): ReferenceOp {
  return {
    forward: (x) => array64([1], [factor(x!.data.length) * x!.data.reduce((a, b) => a + b, 0)]),
    gradient: ([x], upstream) => [map(x!, () => factor(x!.data.length) * upstream.data[0]!)],
  };
}

function map(x: Array64, entry: (value: number, i: number) => number): Array64 {
  return { shape: x.shape, data: x.data.map(entry) };
}

/** Calls `visit` with every index of an array of that shape, last axis fastest. */
function eachIndex(shape: Shape, visit: (...index: [number, number, number, number]) => void): void {
  const index = shape.map(() => 0);
  for (let left = sizeOf(shape); left > 0; left--) {
    visit(...(index as [number, number, number, number]));
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis]! === shape[axis]; axis--) index[axis] = 0;
  }
}
