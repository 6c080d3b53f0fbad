import { offerAdapter } from './adapter.ts';
import type { Contender, Prepared } from './child.ts';
import { fingerprint, type Values } from './contests.ts';

/** What gpu.js makes of its kernel's `this`. */
interface Kernel {
  thread: { x: number; y: number };
  constants: { size: number };
}

/** gpu.js, which has matrix products to offer: one invocation an entry, written by its user. */
export async function contender(mode: 'webgpu' | 'cpu'): Promise<Contender> {
  const device = mode === 'cpu' ? 'JavaScript, one thread' : await offerAdapter();
  const { GPU } = await import('gpu.js');
  const gpu = new GPU({ mode: mode as never });
  return { device, prepare: async (_, inputs) => product(gpu, inputs) };
}

function product(gpu: import('gpu.js').GPU, inputs: Map<string, Values>): Prepared {
  const { shape } = inputs.get('x')!;
  const size = shape[0]!;
  const rows = ({ data }: Values) =>
    Array.from({ length: size }, (_, row) => data.subarray(row * size, (row + 1) * size));
  const [x, w] = [rows(inputs.get('x')!), rows(inputs.get('w')!)];
  const kernel = gpu.createKernel(
    function (this: Kernel, a: number[][], b: number[][]) {
      let sum = 0;
      for (let k = 0; k < this.constants.size; k++) sum += a[this.thread.y]![k]! * b[this.thread.x]![k]!;
      return sum;
    } as never,
    { output: [size, size], constants: { size } },
  ) as unknown as (a: Float32Array[], b: Float32Array[]) => Promise<Float32Array[]> | Float32Array[];
  // Its results cannot be waited for without being read.
  const step = async () => await kernel(x, w);
  return { step, check: async () => fingerprint((await step()).flatMap((row) => [...row])) };
}
