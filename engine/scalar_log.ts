import type { Gpu } from './gpu.ts';
import type { Tensor } from './tensor.ts';

/** Numbers that a loop makes on the GPU, one a run, gathered there so that many are read at once. */
export class ScalarLog implements Disposable {
  private readonly values: Tensor<'f32'>;
  private count = 0;

  /** @param most how many may wait to be read */
  constructor(
    private readonly gpu: Gpu,
    private readonly most: number,
  ) {
    this.values = gpu.keep(gpu.empty([most], 'f32'));
  }

  /** Adds the number in `value` [1], also in each replay of a capture. */
  push(value: Tensor<'f32'>): void {
    this.gpu.eachRun(() => {
      if (this.count === this.most)
        throw new RangeError(`a log of ${this.most} numbers was not read in time`);
      this.count++;
    });
    this.gpu.dispatch(
      this.gpu.kernel('copy_channels'),
      { source: value, result: this.values },
      {
        count: 1,
        copied: 1,
        source_channels: 1,
        source_offset: 0,
        result_channels: this.most,
        result_offset: () => this.count - 1,
      },
      1,
    );
  }

  /** The numbers added since the last read. */
  async read(): Promise<Float32Array> {
    const { count } = this;
    this.count = 0;
    return (await this.values.read()).subarray(0, count);
  }

  [Symbol.dispose](): void {
    this.values.dispose();
  }
}
