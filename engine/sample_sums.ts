import { addPartials } from './convolution.ts';
import { FathomError } from './errors.ts';
import type { Gpu } from './gpu.ts';
import { fill } from './ops/elementwise.ts';
import { type Shape, sizeOf, type Tensor } from './tensor.ts';

/** What is summed over samples: gradients, or their squares. */
export type Summand = 'gradient' | 'square';

/** What one lane of a sum holds, where that is not the parameter's own layout. */
export interface LaneLayout {
  shape: Shape;
  /** Adds the lanes up, in order, into the parameter's layout. */
  total(lanes: Tensor<'f32'>): Tensor<'f32'>;
}

/**
 * A running sum over samples of one parameter's gradients, or of their squares. Samples are counted over all batches;
 * sample n is added to lane n mod `count`, in order, and lanes are added in order at the end. So the bits of the
 * result depend on the samples alone, not on how they were cut into batches.
 */
export class SampleSum {
  private lanes: Tensor<'f32'> | undefined;
  private layout: LaneLayout | undefined;

  constructor(
    private readonly gpu: Gpu,
    readonly shape: Shape,
    readonly summand: Summand,
    /** Samples added before the current batch. */
    private readonly before: () => number,
  ) {}

  /**
   * The lanes to add to, and which of them takes the sample `start` of the current batch.
   * @param count a number that does not depend on the batch (see `planLanes`)
   * @returns `sums` [count, ...shape of a lane], zeros at first
   * @throws FathomError `shared-parameter` when a parameter is used by layers whose sums are laid out differently
   */
  take(count: number, start: number, layout?: LaneLayout): { sums: Tensor<'f32'>; first: () => number } {
    const shape = [count, ...(layout?.shape ?? this.shape)];
    const make = () => fill(this.gpu, shape, 0);
    this.layout = layout;
    this.lanes ??= this.gpu.keep(this.gpu.aside(make));
    if (this.lanes.shape.some((extent, i) => extent !== shape[i])) throw unlikeUses(this.shape);
    return { sums: this.lanes, first: () => (this.before() + start) % count };
  }

  /** The lanes' total, in the parameter's shape; zeros where nothing was added. */
  total(): Tensor<'f32'> {
    if (!this.lanes) return fill(this.gpu, this.shape, 0);
    if (this.layout) return this.layout.total(this.lanes);
    const count = this.lanes.size / sizeOf(this.shape);
    const result = this.gpu.empty(this.shape, 'f32');
    addPartials(this.lanes, result, count);
    return result;
  }

  /** Sets the lanes to zero. */
  clear(): void {
    if (this.lanes) this.gpu.clear(this.lanes);
  }

  dispose(): void {
    this.lanes?.dispose();
    this.lanes = undefined;
  }
}

/** The {@link SampleSum} of each of some parameters, for `Tape.accumulate`. */
export class SampleSums implements Disposable {
  private readonly sums: ReadonlyMap<Tensor<'f32'>, SampleSum>;
  private samples = 0;

  constructor(
    private readonly gpu: Gpu,
    readonly parameters: readonly Tensor<'f32'>[],
    readonly summand: Summand,
  ) {
    const before = () => this.samples;
    this.sums = new Map(parameters.map((p) => [p, new SampleSum(gpu, p.shape, summand, before)]));
  }

  /** Samples added so far. */
  get count(): number {
    return this.samples;
  }

  of(parameter: Tensor<'f32'>): SampleSum | undefined {
    return this.sums.get(parameter);
  }

  /** Notes that a batch has been added. */
  advance(samples: number): void {
    this.gpu.eachRun(() => {
      this.samples += samples;
    });
  }

  /** Starts anew, in the same tensors. */
  clear(): void {
    for (const sum of this.sums.values()) sum.clear();
    this.samples = 0;
  }

  /** Totals in the order of the parameters. */
  totals(): Tensor<'f32'>[] {
    return [...this.sums.values()].map((sum) => sum.total());
  }

  [Symbol.dispose](): void {
    for (const sum of this.sums.values()) sum.dispose();
  }
}

function unlikeUses(shape: Shape): FathomError {
  return new FathomError({
    code: 'shared-parameter',
    message: `A parameter of shape [${shape}] is used by layers of different geometry, so its gradients cannot be summed over samples in one pass`,
    fix: 'Use perSampleGradients and add them up, or give each use its own parameter',
  });
}
