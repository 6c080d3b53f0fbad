import type { Values } from './contests.ts';

/** Axes in another order: `axes[i]` is the old place of the new axis i. */
export function permuted({ shape, data }: Values, axes: readonly number[]): Values {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const newShape = axes.map((axis) => shape[axis]!);
  const result = new Float32Array(data.length);
  const at = newShape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    result[i] = data[axes.reduce((sum, axis, k) => sum + at[k]! * strides[axis]!, 0)]!;
    for (let k = at.length - 1; k >= 0; k--) {
      at[k]!++;
      if (at[k]! < newShape[k]!) break;
      at[k] = 0;
    }
  }
  return { shape: newShape, data: result };
}

/** PyTorch's [out, in, height, width] as [height, width, in, out]. */
export const toHwio = (values: Values): Values => permuted(values, [2, 3, 1, 0]);

/** PyTorch's [out, in] as [in, out]. */
export const toInOut = (values: Values): Values => permuted(values, [1, 0]);

/** A linear layer's [out, in] over images flattened as PyTorch does (C, H, W), as [in, out] over (H, W, C). */
export function toInOutChannelsLast({ shape, data }: Values, channels: number): Values {
  const [out, from] = shape as [number, number];
  const byPixel = permuted({ shape: [out, channels, from / channels], data }, [2, 1, 0]);
  return { shape: [from, out], data: byPixel.data };
}

/** NHWC as NCHW. */
export const toChannelsFirst = (values: Values): Values => permuted(values, [0, 3, 1, 2]);
