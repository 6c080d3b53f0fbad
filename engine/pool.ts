/** A GPU buffer on loan from a {@link BufferPool}. */
export interface PooledBuffer {
  readonly buffer: GPUBuffer;
  /** Never reused, so that caches may key on it. */
  readonly id: number;
  readonly bytes: number;
  /** How many captures name it in commands they replay. */
  captures: number;
}

/** Rounds up to the next of four sizes per octave, at least 256 bytes. */
export function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const quarter = 2 ** Math.max(6, Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

type Idle = Map<number, PooledBuffer[]>;

/**
 * Storage buffers kept for reuse by size class. A buffer given back may be handed out at once: WebGPU runs commands
 * in the order they were encoded. Beyond `cap` idle bytes buffers are dropped, but only destroyed by
 * {@link destroyDropped}, once no unsubmitted command can name them.
 *
 * A buffer lent to a capture is set apart until {@link free}: given back, it is lent to captures only. What lies in
 * it is dead between two replays, so captures may share it; anyone else would be overwritten.
 */
export class BufferPool {
  private readonly idle: Idle = new Map();
  private readonly setApart: Idle = new Map();
  private readonly dropped: PooledBuffer[] = [];
  private nextId = 0;
  private idleBytes = 0;
  private bytes = 0;
  private peak = 0;

  constructor(
    private readonly device: GPUDevice,
    private readonly cap: number,
  ) {}

  /** @param capture buffers of the capture that asks, if one does; this one is added */
  acquire(bytes: number, capture?: Set<PooledBuffer>): PooledBuffer {
    const size = Math.min(sizeClass(bytes), Math.max(bytes, this.device.limits.maxBufferSize));
    const pooled = (capture && this.setApart.get(size)?.pop()) ?? this.takeIdle(size) ?? this.make(size);
    if (capture) share(pooled, capture);
    return pooled;
  }

  /** As {@link acquire}, but a buffer that no other capture names. */
  acquireUnshared(bytes: number, capture: Set<PooledBuffer>): PooledBuffer {
    const pooled = this.acquire(bytes);
    share(pooled, capture);
    return pooled;
  }

  release(pooled: PooledBuffer): void {
    if (pooled.captures > 0) {
      add(this.setApart, pooled);
    } else if (this.idleBytes + pooled.bytes > this.cap) {
      this.dropped.push(pooled);
    } else {
      this.idleBytes += pooled.bytes;
      add(this.idle, pooled);
    }
  }

  /** Notes that a capture replays no more; what no other names is for anyone again. */
  free(capture: ReadonlySet<PooledBuffer>): void {
    for (const pooled of capture) pooled.captures--;
    for (const list of this.setApart.values()) {
      for (const pooled of list.splice(0)) this.release(pooled);
    }
  }

  private takeIdle(size: number): PooledBuffer | undefined {
    const pooled = this.idle.get(size)?.pop();
    if (pooled) this.idleBytes -= size;
    return pooled;
  }

  private make(size: number): PooledBuffer {
    this.bytes += size;
    this.peak = Math.max(this.peak, this.bytes);
    const buffer = this.device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    return { buffer, id: this.nextId++, bytes: size, captures: 0 };
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

  /** Buffers made so far. */
  get made(): number {
    return this.nextId;
  }

  destroy(): void {
    this.dropped.push(...[...this.setApart.values()].flat());
    this.setApart.clear();
    this.trim();
    this.destroyDropped();
  }
}

function share(pooled: PooledBuffer, capture: Set<PooledBuffer>): void {
  if (capture.has(pooled)) return;
  capture.add(pooled);
  pooled.captures++;
}

function add(idle: Idle, pooled: PooledBuffer): void {
  const list = idle.get(pooled.bytes);
  if (list) list.push(pooled);
  else idle.set(pooled.bytes, [pooled]);
}
