import { type Gpu, linear, Random, type Shape, sizeOf, Tape } from '../engine/index.ts';
import { type Case, withoutRunning } from './measure.ts';

/** Products of a linear layer of n inputs, outputs and rows: forward, input gradient, weight gradient. */
export function matmulCases(): Case[] {
  return [512, 1024].flatMap((n) => linearCases(n, n, n)).concat(linearCases(64, 784, 10));
}

function linearCases(rows: number, from: number, to: number): Case[] {
  const common = { flop: 2 * rows * from * to, bytes: 4 * (rows * from + from * to + rows * to) };
  const name = (part: string) => `linear ${rows} x ${from} to ${to}, ${part}`;
  const gradient = (i: 0 | 1) => (gpu: Gpu) => {
    const [x, w, dy] = [normal(gpu, [rows, from]), normal(gpu, [to, from]), normal(gpu, [rows, to])];
    const tape = new Tape(gpu).watch([x]);
    withoutRunning(gpu, () => linear(tape, x, w).dispose());
    const { rule } = tape.operations[0]!;
    return () => rule.gradient(i, dy).dispose();
  };
  return [
    {
      ...common,
      name: name('forward'),
      prepare(gpu) {
        const [x, w] = [normal(gpu, [rows, from]), normal(gpu, [to, from])];
        return () => linear(new Tape(gpu), x, w).dispose();
      },
    },
    { ...common, name: name('input gradient'), prepare: gradient(0) },
    { ...common, name: name('weight gradient'), prepare: gradient(1) },
  ];
}

/** Normal values, the same every time. */
export function normal(gpu: Gpu, shape: Shape) {
  return gpu.tensor(new Random(0).normal(sizeOf(shape)), shape);
}
