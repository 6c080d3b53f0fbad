import { DryGpu, type Gpu, type Operation, sizeOf, Tape } from '../engine/index.ts';
import { type Architecture, Network } from '../models/index.ts';
import { emptyBatch } from './objective.ts';

/** What a network takes, for one image. */
export interface NetworkCost {
  /** Learned values. */
  parameters: number;
  /** Multiply-adds of convolutions and linear layers in a forward pass. */
  multiplyAdds: number;
}

/** Counts a network's parameters and work, without running it. */
export function costOf(gpu: Gpu, architecture: Architecture): NetworkCost {
  using dry = new DryGpu(gpu);
  using network = Network.allocate(dry, architecture);
  return dry.scope(() => {
    const { images } = emptyBatch(network, 1);
    const tape = new Tape(dry).watch(network.parameters.values());
    network.forward(tape, images);
    const multiplyAdds = tape.operations.reduce((sum, operation) => sum + multiplyAddsOf(operation), 0);
    return { parameters: network.size, multiplyAdds };
  });
}

function multiplyAddsOf({ op, inputs, output }: Operation): number {
  const perOutput = () => sizeOf(inputs[1]!.shape) / inputs[1]!.shape[0]!;
  if (op === 'conv2d' || op === 'linear') return output.size * perOutput();
  return op === 'convTranspose2d' ? inputs[0]!.size * perOutput() : 0;
}
