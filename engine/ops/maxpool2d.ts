import { FathomError } from '../errors.ts';
import { batchRuns } from '../planner.ts';
import type { Rule, Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { type After, recordBefore, requireFit } from './bias.ts';

export interface Pool2dOptions {
  kernel: number;
  /** Defaults to the kernel. */
  stride?: number;
  /** At most half the kernel. */
  padding?: number;
}

/**
 * Maximum over square windows, as in PyTorch (the first maximum wins; padding never does).
 * @param x [samples, height, width, channels]
 * @param after a bias and a rectifier in the same pass, as {@link bias} and {@link biasRelu}
 * @returns [samples, out height, out width, channels]
 * @throws FathomError `shape-mismatch`
 */
export function maxpool2d(
  tape: Tape,
  x: Tensor<'f32'>,
  options: Pool2dOptions,
  after?: After,
): Tensor<'f32'> {
  const { gpu } = tape;
  const { kernel, stride = kernel, padding = 0 } = options;
  const [samples = 0, height = 0, width = 0, channels = 0] = x.shape;
  const outHeight = Math.floor((height + 2 * padding - kernel) / stride) + 1;
  const outWidth = Math.floor((width + 2 * padding - kernel) / stride) + 1;
  if (x.shape.length !== 4 || outHeight < 1 || outWidth < 1 || stride < 1 || padding * 2 > kernel) {
    throw new FathomError({
      code: 'shape-mismatch',
      message: `maxpool2d cannot take an input of shape [${x.shape}] with kernel ${kernel}, stride ${stride} and padding ${padding}`,
      fix: 'Give [samples, height, width, channels], a kernel inside the padded image and padding of at most half of it',
    });
  }
  const outShape = [samples, outHeight, outWidth, channels];
  if (after) requireFit({ shape: outShape }, after.bias);
  const y = gpu.empty(outShape, 'f32');
  const winner = gpu.empty(outShape, 'u32');
  const vec4 = channels % 4 === 0;
  const tiles = stride === kernel && padding === 0 && height % kernel === 0 && width % kernel === 0;
  const pairs = kernel === 2 && stride === 2 && padding === 0;
  const params = {
    height,
    width,
    channels: vec4 ? channels / 4 : channels,
    out_height: outHeight,
    out_width: outWidth,
    kernel,
    stride,
    padding,
  };
  const run = (
    module: 'maxpool2d' | 'maxpool2d_gradient' | 'maxpool2d_scatter',
    perRun: Record<string, Tensor>,
    over: Tensor,
    end?: After,
  ) =>
    gpu.scope(() => {
      const perSample = Object.values(perRun).map((tensor) => tensor.bytes / samples);
      for (const { start, count } of batchRuns(samples, perSample, gpu.maxBindingBytes)) {
        const items = ((over.size / samples) * count) / (vec4 ? 4 : 1);
        const parts = Object.entries(perRun).map(([name, tensor]) => [name, tensor.slice(start, count)]);
        gpu.dispatch(
          gpu.kernel(module, {
            CHANNELS_VEC4: vec4,
            PAIRS: pairs && module !== 'maxpool2d_gradient',
            BIAS: end !== undefined,
            RECTIFY: end?.relu ?? false,
          }),
          { ...Object.fromEntries(parts), ...(end && { bias: end.bias }) },
          { ...params, count: items },
          Math.ceil(items / 64),
        );
      }
    });
  run('maxpool2d', { image: x, result: y, winner }, y, after);
  const rule: Rule = {
    gradient(_, upstream) {
      const dx = gpu.empty(x.shape, 'f32');
      const tensors = { gradient: upstream, winner, result: dx };
      if (tiles) run('maxpool2d_scatter', tensors, upstream);
      else run('maxpool2d_gradient', tensors, dx);
      return dx;
    },
  };
  return recordBefore(tape, y, after, (output) => tape.record('maxpool2d', [x], output, rule, [options]));
}
