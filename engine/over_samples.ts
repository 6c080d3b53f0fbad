import { batchRuns } from './planner.ts';
import type { Tensor } from './tensor.ts';

/**
 * Calls `dispatch` with tensors whose first axis is samples: whole, or in runs of samples where one exceeds a
 * binding. `start` is a run's first sample, `samples` their number.
 */
export function overSamples<Name extends string>(
  tensors: Readonly<Record<Name, Tensor<'f32'>>>,
  dispatch: (parts: Record<Name, Tensor<'f32'>>, samples: number, start: number) => void,
): void {
  const entries = Object.entries<Tensor<'f32'>>(tensors);
  const [, { gpu, shape }] = entries[0]!;
  const perSample = entries.map(([, tensor]) => tensor.bytes / shape[0]!);
  gpu.scope(() => {
    for (const { start, count } of batchRuns(shape[0]!, perSample, gpu.maxBindingBytes)) {
      const parts = entries.map(([name, tensor]) => [name, tensor.slice(start, count)]);
      dispatch(Object.fromEntries(parts) as Record<Name, Tensor<'f32'>>, count, start);
    }
  });
}
