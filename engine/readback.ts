import type { GpuStats } from './commands.ts';

/** Bytes of a staging buffer, unless one read needs more. */
const STAGING_BYTES = 64 * 1024;
/** Staging buffers kept for further reads. */
const KEPT = 4;

interface Staging {
  buffer: GPUBuffer;
  used: number;
  done: Promise<ArrayBuffer>;
}

/**
 * Copies GPU buffers to the CPU. Copies asked for in one turn of the event loop share a staging buffer, which is
 * mapped once, in the microtask that follows: a map costs 10 ms on some runtimes, whatever its size.
 */
export class Readback {
  private open: Staging | undefined;
  private readonly idle: GPUBuffer[] = [];

  /** `submit` sends what was recorded; `guard` turns device errors while waiting into Fathom's. */
  constructor(
    private readonly device: GPUDevice,
    private readonly stats: GpuStats,
    private readonly submit: () => void,
    private readonly guard: <T>(work: Promise<T>) => Promise<T>,
  ) {}

  /** Records a copy of `bytes` (a multiple of 4) from `offset` at once; its result follows the next submit. */
  async copy(
    encoder: GPUCommandEncoder,
    source: GPUBuffer,
    offset: number,
    bytes: number,
  ): Promise<ArrayBuffer> {
    let staging = this.open;
    if (!staging || staging.used + bytes > staging.buffer.size) staging = this.openStaging(bytes);
    const start = staging.used;
    staging.used += bytes;
    encoder.copyBufferToBuffer(source, offset, staging.buffer, start, bytes);
    return (await staging.done).slice(start, start + bytes);
  }

  private openStaging(bytes: number): Staging {
    const buffer = (bytes <= STAGING_BYTES && this.idle.pop()) || this.makeBuffer(bytes);
    const staging: Staging = { buffer, used: 0, done: Promise.resolve(new ArrayBuffer(0)) };
    staging.done = Promise.resolve().then(async () => {
      if (this.open === staging) this.open = undefined;
      this.submit();
      await this.guard(buffer.mapAsync(GPUMapMode.READ, 0, staging.used));
      const copy = buffer.getMappedRange(0, staging.used).slice(0);
      if (buffer.size === STAGING_BYTES && this.idle.length < KEPT) {
        buffer.unmap();
        this.idle.push(buffer);
      } else buffer.destroy();
      return copy;
    });
    this.open = staging;
    return staging;
  }

  private makeBuffer(bytes: number): GPUBuffer {
    this.stats.buffers++;
    return this.device.createBuffer({
      size: Math.max(STAGING_BYTES, bytes),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }
}
