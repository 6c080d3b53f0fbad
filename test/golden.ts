import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import type { StateDict } from '../models/index.ts';

/** Where the reference values are: FATHOM_SHARED, else the folder `shared` beside the repository. */
const SHARED = process.env.FATHOM_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url));

/** Reference values of one network: PyTorch in float64, one sample at a time. */
export interface Golden {
  salt: number;
  batch: number;
  state_dict: [name: string, shape: number[]][];
  labels: number[];
  logits: number[][];
  loss: number[];
  trace: number;
  distance_from_salt_plus_1: number;
  parameters: Record<
    string,
    {
      shape: number[];
      grad_l2: number;
      fisher_sum: number;
      fisher: { index: number[]; value: number[] };
      grad: { index: number[]; value: number[] };
    }
  >;
}

/** The reference values of a network, or undefined where they are not at hand. */
export function readGolden(net: string): Golden | undefined {
  const path = `${SHARED}/golden/${net}.json`;
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
}

/** Numbers in [0, 1): the closed formula that all weights and inputs of the reference values come from. */
function hash32(count: number, stream: number): Float64Array {
  const offset = (Math.imul(stream, 2891336453) + 277803737) >>> 0;
  return Float64Array.from({ length: count }, (_, i) => {
    let x = (Math.imul(i, 747796405) + offset) >>> 0;
    x = ((x >>> ((x >>> 28) + 4)) ^ x) >>> 0;
    x = Math.imul(x, 277803737) >>> 0;
    x = ((x >>> 22) ^ x) >>> 0;
    return (x >>> 8) / 2 ** 24;
  });
}

/** The weights and running statistics of a network. */
export function goldenWeights({ state_dict }: Golden, salt: number): StateDict {
  const names = new Set(state_dict.map(([name]) => name));
  return new Map(
    state_dict.map(([name, shape], k) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const u = hash32(size, salt * 100000 + k);
      const normalises = names.has(name.replace(/\w+$/, 'running_mean'));
      const bound = Math.sqrt(6 / (size / shape[0]!));
      const positive = name.endsWith('running_var') || (normalises && name.endsWith('weight'));
      const small = name.endsWith('bias') || name.endsWith('running_mean');
      const value = (x: number) => (positive ? 0.75 + 0.5 * x : small ? 0.2 * x - 0.1 : (2 * x - 1) * bound);
      return [name, { shape, data: Float32Array.from(u, value) }];
    }),
  );
}

/** Images [count, channels, height, width] and their labels. */
export function goldenInputs(
  { salt, batch }: Golden,
  shape: readonly [channels: number, height: number, width: number],
): { images: Float32Array; labels: number[] } {
  const size = batch * shape[0] * shape[1] * shape[2];
  return {
    images: Float32Array.from(hash32(size, salt * 100000 + 50000), (u) => 2 * u - 1),
    labels: Array.from(hash32(batch, salt * 100000 + 50001), (u) => Math.floor(10 * u)),
  };
}
