/** A GPU buffer on loan from a {@link BufferPool}. */
export interface PooledBuffer {
  readonly buffer: GPUBuffer;
  /** Never reused, so that caches may key on it. */
  readonly id: number;
  readonly bytes: number;
}

/** Rounds up to the next of four sizes per octave, at least 256 bytes. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const quarter = 2 ** Math.max(6, Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

/**
 * Storage buffers kept for reuse by size class. A buffer given back may be handed out at once: WebGPU runs commands
 * in the order they were encoded. Beyond `cap` idle bytes buffers are dropped, but only destroyed by
 * {@link destroyDropped}, once no unsubmitted command can name them.
 */
export class BufferPool {
  private readonly idle = new Map<number, PooledBuffer[]>();
  private readonly dropped: PooledBuffer[] = [];
  private nextId = 0;
  private idleBytes = 0;
  private bytes = 0;
  private peak = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly cap: number,
  ) {}

  acquire(bytes: number): PooledBuffer {
    const size = Math.min(sizeClass(bytes), Math.max(bytes, this.device.limits.maxBufferSize));
    const pooled = this.idle.get(size)?.pop();
    if (pooled) {
      this.idleBytes -= size;
      return pooled;
    }
    this.bytes += size;
    this.peak = Math.max(this.peak, this.bytes);
    const buffer = this.device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    return { buffer, id: this.nextId++, bytes: size };
  }

  release(pooled: PooledBuffer): void {
    if (this.idleBytes + pooled.bytes > this.cap) {
      this.dropped.push(pooled);
      return;
    }
    this.idleBytes += pooled.bytes;
    const list = this.idle.get(pooled.bytes);
    if (list) list.push(pooled);
    else this.idle.set(pooled.bytes, [pooled]);
  }

  /** Destroys dropped buffers; true if there were any, whose ids caches must forget. Call right after a submit. */
  destroyDropped(): boolean {
    const any = this.dropped.length > 0;
    for (const { buffer, bytes } of this.dropped.splice(0)) {
      this.bytes -= bytes;
      buffer.destroy();
    }
    return any;
  }

  /** Drops every idle buffer, and counts the peak anew. */
  trim(): void {
    this.dropped.push(...[...this.idle.values()].flat());
    this.idle.clear();
    this.idleBytes = 0;
    this.peak = this.bytes - this.dropped.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Largest number of bytes that existed at one time, lent or idle, since the last {@link trim}. */
  get peakBytes(): number {
    return this.peak;
  }

  destroy(): void {
    this.trim();
    this.destroyDropped();
  }
}
