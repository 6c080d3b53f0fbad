import type { Array64, ReferenceOp } from '../reference.ts';

/** Mean and 1 / sqrt(variance + epsilon) of the cell each entry belongs to. */
interface Cells {
  mean: Float64Array;
  inverse: Float64Array;
  /** The cell of an entry by its sample, pixel and channel. */
  of(n: number, p: number, c: number): number;
}

/** Inputs of all: x [samples, ..., channels], weight [channels], bias [channels]. */
export const normalisationReference = {
  /** By given statistics, [channels] each. */
  batchNorm(mean: ArrayLike<number>, variance: ArrayLike<number>, epsilon: number): ReferenceOp {
    const inverse = Float64Array.from(variance, (value) => 1 / Math.sqrt(value + epsilon));
    const cells: Cells = { mean: Float64Array.from(mean), inverse, of: (_n, _p, c) => c };
    return normalisation(() => cells, false);
  },

  /** By the batch's own statistics, with the biased variance. */
  batchNormTraining(epsilon: number): ReferenceOp {
    return normalisation((x) => statistics(x, rowsOf(x).channels, (_n, _p, c) => c, epsilon), true);
  },

  /** By sample and group of channels. */
  groupNorm({ groups, epsilon }: { groups: number; epsilon: number }): ReferenceOp {
    return normalisation((x) => {
      const { samples, channels } = rowsOf(x);
      const groupOf = Uint32Array.from({ length: channels }, (_, c) => Math.floor((c * groups) / channels));
      return statistics(x, samples * groups, (n, _p, c) => n * groups + groupOf[c]!, epsilon);
    }, true);
  },

  /** By pixel, over its channels. */
  layerNorm({ epsilon }: { epsilon: number }): ReferenceOp {
    return normalisation((x) => {
      const { samples, pixels } = rowsOf(x);
      return statistics(x, samples * pixels, (n, p) => n * pixels + p, epsilon);
    }, true);
  },
};

function rowsOf({ shape, data }: Array64): { samples: number; pixels: number; channels: number } {
  const samples = shape[0]!;
  const channels = shape.at(-1)!;
  return { samples, pixels: data.length / samples / channels, channels };
}

function statistics(x: Array64, cells: number, of: Cells['of'], epsilon: number): Cells {
  const mean = new Float64Array(cells);
  const inverse = new Float64Array(cells);
  const share = cells / x.data.length;
  eachEntry(x, (i, n, p, c) => {
    mean[of(n, p, c)]! += share * x.data[i]!;
  });
  eachEntry(x, (i, n, p, c) => {
    const cell = of(n, p, c);
    inverse[cell]! += share * (x.data[i]! - mean[cell]!) ** 2;
  });
  for (let cell = 0; cell < cells; cell++) inverse[cell] = 1 / Math.sqrt(inverse[cell]! + epsilon);
  return { mean, inverse, of };
}

/** @param own whether the statistics are the input's own, so that its gradient goes through them */
function normalisation(cellsOf: (x: Array64) => Cells, own: boolean): ReferenceOp {
  return {
    forward(x, weight, bias) {
      const { mean, inverse, of } = cellsOf(x!);
      const y = new Float64Array(x!.data.length);
      eachEntry(x!, (i, n, p, c) => {
        const cell = of(n, p, c);
        y[i] = (x!.data[i]! - mean[cell]!) * inverse[cell]! * weight!.data[c]! + bias!.data[c]!;
      });
      return { shape: x!.shape, data: y };
    },
    gradient([x, weight, bias], { data: dy }) {
      const { mean, inverse, of } = cellsOf(x!);
      const dx = new Float64Array(x!.data.length);
      const dw = new Float64Array(weight!.data.length);
      const db = new Float64Array(bias!.data.length);
      const sums = new Float64Array(mean.length);
      const products = new Float64Array(mean.length);
      eachEntry(x!, (i, n, p, c) => {
        const cell = of(n, p, c);
        const normalised = (x!.data[i]! - mean[cell]!) * inverse[cell]!;
        const weighted = dy[i]! * weight!.data[c]!;
        db[c]! += dy[i]!;
        dw[c]! += dy[i]! * normalised;
        sums[cell]! += weighted;
        products[cell]! += weighted * normalised;
      });
      const share = own ? mean.length / x!.data.length : 0;
      eachEntry(x!, (i, n, p, c) => {
        const cell = of(n, p, c);
        const normalised = (x!.data[i]! - mean[cell]!) * inverse[cell]!;
        const through = share * (sums[cell]! + normalised * products[cell]!);
        dx[i] = inverse[cell]! * (dy[i]! * weight!.data[c]! - through);
      });
      return [
        { shape: x!.shape, data: dx },
        { shape: weight!.shape, data: dw },
        { shape: bias!.shape, data: db },
      ];
    },
  };
}

function eachEntry(x: Array64, visit: (i: number, n: number, p: number, c: number) => void): void {
  const { samples, pixels, channels } = rowsOf(x);
  let i = 0;
  for (let n = 0; n < samples; n++) {
    for (let p = 0; p < pixels; p++) {
      for (let c = 0; c < channels; c++) visit(i++, n, p, c);
    }
  }
}
