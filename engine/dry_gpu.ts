import type { ShaderName } from '../shaders/index.ts';
import { SUBMIT_AFTER } from './commands.ts';
import { Gpu } from './gpu.ts';
import type { Kernel } from './kernel.ts';

/**
 * A stand-in for a {@link Gpu} that runs nothing and only keeps its books: the same ops make the same tensors of the
 * same sizes and free them at the same time, so `peakBytes` is what the real one would need.
 */
export class DryGpu extends Gpu {
  private dispatches = 0;

  /** With the limits, kernel family, tiles and kind of adapter of `model`. */
  constructor(model: Gpu) {
    const options = { ...model.options, tile: model.forced, profiler: undefined };
    super(model.runtime, model.opened, idleDevice(model.device), new Map(), options, model.tuning);
  }

  override write(): void {}

  override clear(): void {}

  override kernel(module: ShaderName): Kernel {
    return { name: module } as Kernel;
  }

  /** Drops idle buffers beyond the cap when the real one would. */
  override dispatch(): void {
    if (++this.dispatches % SUBMIT_AFTER === 0) this.pool.destroyDropped();
  }

  override async finish(): Promise<void> {
    this.pool.destroyDropped();
  }
}

/** What the books need of a device: its limits, and buffers that are none. */
function idleDevice({ limits, features }: GPUDevice): GPUDevice {
  const device = {
    limits,
    features,
    lost: new Promise(() => {}),
    queue: { writeBuffer() {}, submit() {} },
    addEventListener() {},
    createCommandEncoder: () => ({ copyBufferToBuffer() {}, finish() {} }),
    createBuffer: () => ({ destroy() {} }),
    destroy() {},
  };
  return device as unknown as GPUDevice;
}
