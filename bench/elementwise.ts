import {
  adam,
  adaptiveAvgpool2d,
  avgpool2d,
  batchNorm,
  batchNormTraining,
  bias,
  type Gpu,
  groupNorm,
  maxpool2d,
  relu,
  sgd,
  silu,
  softmaxCrossEntropy,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import { normal } from './matmul.ts';
import { type Case, withoutRunning } from './measure.ts';

type F32 = Tensor<'f32'>;

const IMAGES = [16, 32, 32, 64] as const;
const SIZE = IMAGES.reduce((a, b) => a * b, 1);
const CHANNELS = IMAGES[3];
const WEIGHTS = 1 << 20;

/** What moves memory more than it computes: GB/s and its share of a copy's are what counts. */
export function elementwiseCases(): Case[] {
  const vector = (gpu: Gpu) => normal(gpu, [CHANNELS]);
  return [
    ...both('relu', 2, 3, () => relu),
    ...both('silu', 2, 3, () => silu),
    ...both('bias', 2, 2, (gpu) => {
      const offset = vector(gpu);
      return (tape, x) => bias(tape, x, offset);
    }),
    ...both('max pool 2x2', 1.25, 1.25, () => (tape, x) => maxpool2d(tape, x, { kernel: 2 })),
    ...both('average pool 2x2', 1.25, 1.25, () => (tape, x) => avgpool2d(tape, x, { kernel: 2 })),
    ...both('global average pool', 1, 1, () => (tape, x) => adaptiveAvgpool2d(tape, x, [1, 1])),
    ...both('batch norm, training', 3, 5, (gpu) => {
      const [scale, offset] = [vector(gpu), vector(gpu)];
      return (tape, x) => batchNormTraining(tape, x, scale, offset).y;
    }),
    ...both('batch norm, evaluation', 2, 2, (gpu) => {
      const [scale, offset, mean] = [vector(gpu), vector(gpu), vector(gpu)];
      const variance = gpu.tensor(new Float32Array(CHANNELS).fill(1), [CHANNELS]);
      return (tape, x) => batchNorm(tape, x, scale, offset, { mean, variance });
    }),
    ...both('group norm, 8 groups', 3, 5, (gpu) => {
      const [scale, offset] = [vector(gpu), vector(gpu)];
      return (tape, x) => groupNorm(tape, x, scale, offset, { groups: 8 });
    }),
    softmax(),
    optimiser('sgd with momentum', 5, (gpu, w) => sgd(gpu, [w], { learningRate: 1e-9, momentum: 0.9 })),
    optimiser('adam', 7, (gpu, w) => adam(gpu, [w], { learningRate: 1e-9 })),
  ];
}

/**
 * An op on one stack of images, alone and with its gradient, which may share what it computes with other gradients of
 * the same forward run. `passes` are tensors of the images' size read or written.
 */
function both(
  name: string,
  forwardPasses: number,
  backwardPasses: number,
  make: (gpu: Gpu) => (tape: Tape, x: F32) => F32,
): Case[] {
  return [
    {
      name: `${name}, forward`,
      bytes: 4 * SIZE * forwardPasses,
      prepare(gpu) {
        const [op, x] = [make(gpu), normal(gpu, IMAGES)];
        return () => gpu.scope(() => void op(new Tape(gpu), x));
      },
    },
    {
      name: `${name}, forward and gradient`,
      bytes: 4 * SIZE * (forwardPasses + backwardPasses),
      prepare(gpu) {
        const [op, x] = [make(gpu), normal(gpu, IMAGES)];
        const { shape } = withoutRunning(gpu, () => op(new Tape(gpu), x));
        const upstream = normal(gpu, shape);
        return () =>
          gpu.scope(() => {
            const tape = new Tape(gpu).watch([x]);
            op(tape, x);
            tape.operations[0]!.rule.gradient(0, upstream);
          });
      },
    },
  ];
}

function softmax(): Case {
  const [samples, classes] = [4096, 1000];
  return {
    name: `softmax cross-entropy of ${samples} x ${classes} with gradient`,
    bytes: 4 * samples * classes * 3,
    prepare(gpu) {
      const logits = normal(gpu, [samples, classes]);
      const labels = gpu.tensor(new Uint32Array(samples), [samples]);
      return () =>
        gpu.scope(() => {
          const tape = new Tape(gpu).watch([logits]);
          tape.gradients(softmaxCrossEntropy(tape, logits, labels), [logits]);
        });
    },
  };
}

function optimiser(name: string, passes: number, make: (gpu: Gpu, w: F32) => ReturnType<typeof sgd>): Case {
  return {
    name: `${name}, ${WEIGHTS} weights`,
    bytes: 4 * WEIGHTS * passes,
    prepare(gpu) {
      const [w, gradient] = [normal(gpu, [WEIGHTS]), normal(gpu, [WEIGHTS])];
      const made = make(gpu, w);
      return () => made.step([gradient]);
    },
  };
}
