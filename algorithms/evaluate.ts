import { type Examples, gatherLabels } from '../data/index.ts';
import { CapturedLoop, Tape, type Tensor } from '../engine/index.ts';
import type { Network } from '../models/index.ts';
import { BatchSlots, sampleLosses } from './objective.ts';

/** How well a network does on some examples. */
export interface Evaluation {
  /** Share of examples whose largest logit is their label's; left out of a network that gives images. */
  accuracy?: number;
  /** Mean cross-entropy, in nats; of a network that gives images the mean squared error. */
  loss: number;
}

const BATCH = 256;

/** Positions 0 to count - 1, in runs of `batch`. */
export function* batches(count: number, batch: number): Generator<Uint32Array> {
  for (let start = 0; start < count; start += batch) {
    yield Uint32Array.from({ length: Math.min(batch, count - start) }, (_, i) => start + i);
  }
}

/** Loss, and of a classifier accuracy, over all of `examples`. */
export function evaluate(network: Network, examples: Examples): Promise<Evaluation> {
  return network.gpu.span('evaluation', () => evaluateAll(network, examples));
}

async function evaluateAll(network: Network, examples: Examples): Promise<Evaluation> {
  const { gpu, architecture } = network;
  const count = examples.index.length;
  using slots = BatchSlots.of(network, examples, Math.min(BATCH, count));
  using loop = new CapturedLoop<number, Tensor<'f32'>[]>(gpu, network.parameters.values());
  let right = 0;
  let loss = 0;
  for (const positions of batches(count, BATCH)) {
    slots.load(examples, positions);
    const out = loop.run(positions.length, () => {
      const { images, targets } = slots.first(positions.length);
      const tape = new Tape(gpu);
      const outputs = network.forward(tape, images);
      const losses = sampleLosses(tape, outputs, targets);
      return architecture.target ? [losses] : [losses, outputs];
    });
    const [losses, logits] = await Promise.all(out.map((tensor) => tensor.read()));
    for (const value of losses!) loss += value;
    if (logits) right += hits(logits, gatherLabels(examples, positions));
  }
  return architecture.target ? { loss: loss / count } : { accuracy: right / count, loss: loss / count };
}

/** Rows of logits that are largest at their label. */
function hits(logits: Float32Array, labels: Uint32Array): number {
  const classes = logits.length / labels.length;
  let right = 0;
  for (const [n, label] of labels.entries()) {
    if (argmax(logits.subarray(n * classes, (n + 1) * classes)) === label) right++;
  }
  return right;
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
