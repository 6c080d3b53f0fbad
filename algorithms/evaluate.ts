import { type Examples, gatherLabels } from '../data/index.ts';
import { Tape } from '../engine/index.ts';
import type { Network } from '../models/index.ts';
import { sampleLosses, uploadBatch } from './objective.ts';

/** How well a network does on some examples. */
export interface Evaluation {
  /** Share of examples whose largest logit is their label's. */
  accuracy: number;
  /** Mean cross-entropy, in nats. */
  loss: number;
}

const BATCH = 256;

/** Positions 0 to count - 1, in runs of `batch`. */
export function* batches(count: number, batch: number): Generator<Uint32Array> {
  for (let start = 0; start < count; start += batch) {
    yield Uint32Array.from({ length: Math.min(batch, count - start) }, (_, i) => start + i);
  }
}

/** Accuracy and loss over all of `examples`. */
export function evaluate(network: Network, examples: Examples): Promise<Evaluation> {
  return network.gpu.span('evaluation', () => evaluateAll(network, examples));
}

async function evaluateAll(network: Network, examples: Examples): Promise<Evaluation> {
  let right = 0;
  let loss = 0;
  for (const positions of batches(examples.index.length, BATCH)) {
    const out = network.gpu.scope(() => {
      const { images, targets } = uploadBatch(network, examples, positions);
      const tape = new Tape(network.gpu);
      const logits = network.forward(tape, images);
      return { logits, losses: sampleLosses(tape, logits, targets) };
    });
    const [logits, losses] = await Promise.all([out.logits.read(), out.losses.read()]);
    out.logits.dispose();
    out.losses.dispose();
    const labels = gatherLabels(examples, positions);
    const classes = logits.length / positions.length;
    for (const [n, label] of labels.entries()) {
      if (argmax(logits.subarray(n * classes, (n + 1) * classes)) === label) right++;
      loss += losses[n]!;
    }
  }
  const count = examples.index.length;
  return { accuracy: right / count, loss: loss / count };
}

function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}
