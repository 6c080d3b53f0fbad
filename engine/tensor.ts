import { FathomError } from './errors.ts';
import type { Gpu } from './gpu.ts';
import type { PooledBuffer } from './pool.ts';

export type DType = 'f32' | 'u32' | 'i32';
export type Shape = readonly number[];

export interface ArrayOf {
  f32: Float32Array<ArrayBuffer>;
  u32: Uint32Array<ArrayBuffer>;
  i32: Int32Array<ArrayBuffer>;
}

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** A buffer shared by a tensor and its views, given back to the pool when the last of them is disposed. */
export class Storage {
  private users = 1;

  constructor(
    private readonly gpu: Gpu,
    private buffer: PooledBuffer,
  ) {}

  get pooled(): PooledBuffer {
    return this.buffer;
  }

  /** Goes on in another buffer; the one before is given back. */
  moveTo(buffer: PooledBuffer): void {
    this.gpu.releaseBuffer(this.buffer);
    this.buffer = buffer;
  }

  retain(): this {
    this.users++;
    return this;
  }

  release(): void {
    if (--this.users === 0) this.gpu.releaseBuffer(this.buffer);
  }
}

/**
 * A dense array on the GPU, last axis fastest; images are NHWC. It owns its buffer until `dispose()`, the end of a
 * `using` block or of the {@link Gpu.scope} that made it.
 */
export class Tensor<D extends DType = DType> implements Disposable {
  private disposed = false;
  readonly size: number;

  /** Made by {@link Gpu} only. `offset` is in elements. */
  constructor(
    readonly gpu: Gpu,
    /** @internal */
    readonly storage: Storage,
    readonly dtype: D,
    readonly shape: Shape,
    readonly offset: number,
  ) {
    this.size = sizeOf(shape);
  }

  get bytes(): number {
    return this.size * 4;
  }

  /** The buffer behind this tensor. @throws FathomError `tensor-disposed` */
  get pooled(): PooledBuffer {
    if (this.disposed) {
      throw new FathomError({
        code: 'tensor-disposed',
        message: `A tensor of shape [${this.shape}] was used after it was disposed`,
        fix: 'Return it from the scope that made it, or dispose it later',
      });
    }
    return this.storage.pooled;
  }

  /** The same values under another shape of equal size; shares the buffer. */
  reshape(shape: Shape): Tensor<D> {
    if (sizeOf(shape) !== this.size) {
      throw new FathomError({
        code: 'shape-mismatch',
        message: `A tensor of shape [${this.shape}] cannot be reshaped to [${shape}]`,
        fix: 'Give a shape of the same size',
      });
    }
    return this.view(shape, this.offset);
  }

  /** `count` entries of the first axis from `start`; shares the buffer. */
  slice(start: number, count: number): Tensor<D> {
    const stride = this.size / (this.shape[0] ?? 1);
    return this.view([count, ...this.shape.slice(1)], this.offset + start * stride);
  }

  private view(shape: Shape, offset: number): Tensor<D> {
    void this.pooled;
    return this.gpu.track(new Tensor(this.gpu, this.storage.retain(), this.dtype, shape, offset));
  }

  /** The values. Reads asked for in one turn of the event loop share one transfer. */
  read(): Promise<ArrayOf[D]> {
    return this.gpu.read(this);
  }

  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.gpu.untrack(this);
    this.storage.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** An array of a tensor's type over bytes of it. */
export function viewAs<D extends DType>(dtype: D, buffer: ArrayBuffer): ArrayOf[D] {
  const make = { f32: Float32Array, u32: Uint32Array, i32: Int32Array }[dtype];
  return new make(buffer) as ArrayOf[D];
}

/** The tensors in a value: alone, or within arrays, maps and plain objects. */
export function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (value instanceof Map) for (const item of value.values()) yield* tensorsIn(item);
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (value && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}
