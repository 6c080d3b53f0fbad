import type { Examples } from '../data/index.ts';
import { CapturedLoop, type SampleSums, Tape, type Tensor } from '../engine/index.ts';
import type { Network } from '../models/index.ts';
import type { Pass } from './estimators.ts';
import type { BatchSlots } from './objective.ts';

/**
 * Adds a pass over a network, whose parameters do not change meanwhile, to running sums, in evaluation mode, chunk by
 * chunk. A chunk as large as one before is a replay of it.
 */
export class ChunkedPass implements Disposable {
  private readonly loop: CapturedLoop<number, void>;
  private readonly given: Tensor<'f32'> | undefined;

  /** Chunks are of up to as many examples as `slots` holds. */
  constructor(
    private readonly network: Network,
    private readonly slots: BatchSlots,
    private readonly pass: Pass,
    private readonly sums: SampleSums,
  ) {
    const { gpu } = network;
    this.loop = new CapturedLoop(gpu, network.parameters.values());
    this.given = pass.host && gpu.empty([slots.most, pass.host.size], 'f32');
  }

  /** Uploads the next examples and adds them. */
  add(examples: Examples, positions: Uint32Array): void {
    const { gpu } = this.network;
    const count = positions.length;
    this.slots.load(examples, positions);
    gpu.scope(() => {
      if (this.given) gpu.write(this.given.slice(0, count), this.pass.host!.next(count));
    });
    this.addLoaded(count);
  }

  /** Adds the first examples in the slots as they are. */
  addLoaded(count: number): void {
    this.loop.run(count, () => this.record(count));
  }

  private record(count: number): void {
    const { gpu, parameters } = this.network;
    const { images, targets } = this.slots.first(count);
    const tape = new Tape(gpu).watch(parameters.values());
    const outputs = this.network.forward(tape, images);
    const { output, upstream } = this.pass.back(tape, outputs, targets, this.given?.slice(0, count));
    tape.accumulate(output, this.sums, upstream);
  }

  [Symbol.dispose](): void {
    this.loop[Symbol.dispose]();
    this.given?.dispose();
  }
}
