import { type ShaderName, shaderNames, shaderUrl } from '../shaders/index.ts';
import type { DeviceProfile, ProfiledDispatch } from './device_profile.ts';
import { FathomError } from './errors.ts';
import {
  type Conditions,
  compileKernel,
  type Kernel,
  kernelName,
  linkShader,
  writeParams,
} from './kernel.ts';
import type { AdapterFacts, Family } from './planner.ts';
import { BufferPool, type PooledBuffer } from './pool.ts';
import type { Profiler } from './profiler.ts';
import { Readback } from './readback.ts';
import { type AdapterMode, currentRuntime, type OpenedAdapter, type Runtime } from './runtime/runtime.ts';
import { type ArrayOf, type DType, type Shape, Storage, sizeOf, Tensor } from './tensor.ts';

export interface GpuOptions {
  /** Which adapter to take; `auto` prefers hardware, then a system software driver, then the embedded one. */
  mode?: AdapterMode;
  /** Forces a kernel family instead of the planner's choice. */
  family?: Family;
  /** Lowers the largest binding, in bytes, below the device's own limit. */
  maxBindingBytes?: number;
  /** Is told of all that runs, and when. */
  profiler?: Profiler;
}

/** Dispatches after which queued commands are submitted without waiting for a read. */
export const SUBMIT_AFTER = 128;
/** Dynamic uniform offsets are multiples of this under WebGPU's default limits. */
const UNIFORM_STRIDE = 256;
const WANTED_FEATURES: GPUFeatureName[] = ['timestamp-query', 'subgroups'];
const IDLE_BYTES_CAP = 512 * 1024 * 1024;
const BIND_GROUP_CAP = 4096;
/** How long after a rejection the report of a lost device is waited for. */
const LOSS_REPORT_MS = 100;

/**
 * The one GPU device of a process: adapter, queue, kernels and memory. Commands are recorded at once and run in
 * order; only reads wait. Errors the device reports in between are thrown by the next read or {@link finish}.
 */
export class Gpu {
  readonly maxBindingBytes: number;
  protected readonly pool: BufferPool;
  private readonly kernels = new Map<string, Kernel>();
  private readonly bindGroups = new Map<string, GPUBindGroup>();
  private readonly uniforms: GPUBuffer;
  private readonly uniformBytes = new DataView(new ArrayBuffer(UNIFORM_STRIDE * SUBMIT_AFTER));
  private encoder: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private recorded = 0;
  private readonly readback: Readback;
  private readonly profile: DeviceProfile | undefined;
  private readonly scopes: Set<Tensor>[] = [];
  private readonly live = new Set<Tensor>();
  private failure: FathomError | undefined;
  private readonly lost: Promise<never>;
  private disposed = false;

  protected constructor(
    readonly runtime: Runtime,
    readonly opened: OpenedAdapter,
    readonly device: GPUDevice,
    private readonly sources: ReadonlyMap<ShaderName, string>,
    readonly options: GpuOptions,
  ) {
    const limit = device.limits.maxStorageBufferBindingSize;
    this.maxBindingBytes = Math.min(limit, options.maxBindingBytes ?? limit);
    this.pool = new BufferPool(device, IDLE_BYTES_CAP);
    this.readback = new Readback(
      device,
      () => this.submit(),
      (work) => this.guard('read', work),
    );
    this.profile = options.profiler?.attach(device, opened.label);
    this.uniforms = device.createBuffer({
      size: this.uniformBytes.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.failure ??= deviceError((event as GPUUncapturedErrorEvent).error);
    });
    this.lost = device.lost.then((info) => {
      this.failure = lostError(info);
      throw this.failure;
    });
    this.lost.catch(() => undefined);
  }

  /**
   * Opens an adapter and its device with the adapter's own limits, and reads the shader sources.
   * @throws FathomError `no-adapter`; `no-subgroups` where the family `quad` is forced on an adapter without them
   */
  static async create(options: GpuOptions = {}): Promise<Gpu> {
    const runtime = await currentRuntime();
    const opened = await runtime.openAdapter(options.mode ?? 'auto', {
      exactTimestamps: options.profiler !== undefined,
    });
    const { limits, features } = opened.adapter;
    const device = await opened.adapter.requestDevice({
      label: 'fathom',
      requiredFeatures: WANTED_FEATURES.filter((feature) => features.has(feature)),
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      },
    });
    if (options.family === 'quad' && !device.features.has('subgroups')) throw noSubgroups(opened.label);
    const texts = await Promise.all(
      shaderNames.map(async (name) => [name, await runtime.readText(shaderUrl(name))] as const),
    );
    return new Gpu(runtime, opened, device, new Map(texts), options);
  }

  /** Whether kernels run on the CPU, where workgroup memory and barriers cost more than they bring. */
  get software(): boolean {
    return this.opened.kind === 'software';
  }

  /** What the planner goes by. */
  get facts(): AdapterFacts {
    const { info } = this.opened.adapter;
    const subgroupSize = this.device.features.has('subgroups') ? info.subgroupMinSize : 0;
    return { software: this.software, subgroupSize, family: this.options.family };
  }

  /** Tensors not yet disposed. */
  get liveTensors(): number {
    return this.live.size;
  }

  /** Largest number of bytes tensors took at one time, with what is kept for reuse, since the last {@link trim}. */
  get peakBytes(): number {
    return this.pool.peakBytes;
  }

  /** Frees what is kept for reuse, and begins {@link peakBytes} anew. */
  trim(): void {
    this.pool.trim();
    this.submit();
  }

  /**
   * An uninitialised tensor.
   * @throws FathomError `tensor-too-large` beyond the device's largest buffer
   */
  empty<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
    const bytes = Math.max(16, Math.ceil(sizeOf(shape) / 4) * 16);
    if (bytes > this.device.limits.maxBufferSize) {
      throw tooLarge(shape, bytes, this.device.limits.maxBufferSize, this.opened.label);
    }
    this.throwFailure();
    return this.track(new Tensor(this, new Storage(this, this.pool.acquire(bytes)), dtype, shape, 0));
  }

  /** A tensor holding a copy of `data`, whose length must be the shape's size. */
  tensor(data: Float32Array, shape: Shape): Tensor<'f32'>;
  tensor(data: Uint32Array, shape: Shape): Tensor<'u32'>;
  tensor(data: Int32Array, shape: Shape): Tensor<'i32'>;
  tensor(data: Float32Array | Uint32Array | Int32Array, shape: Shape): Tensor {
    requireSize(data, shape);
    const dtype = data instanceof Float32Array ? 'f32' : data instanceof Uint32Array ? 'u32' : 'i32';
    const tensor = this.empty(shape, dtype);
    this.write(tensor, data);
    return tensor;
  }

  /** Overwrites a tensor's values. @throws FathomError `shape-mismatch` */
  write(tensor: Tensor, data: Float32Array | Uint32Array | Int32Array): void {
    requireSize(data, tensor.shape);
    // A queue write runs before commands not yet submitted, and this buffer may have served one of them.
    this.submit();
    const bytes = data as Float32Array<ArrayBuffer>;
    this.device.queue.writeBuffer(tensor.pooled.buffer, tensor.offset * 4, bytes, 0, tensor.size);
  }

  /** The kernel of a shader module under conditions, compiled on first use. */
  kernel(module: ShaderName, conditions: Conditions = {}): Kernel {
    const name = kernelName(module, conditions);
    let kernel = this.kernels.get(name);
    if (!kernel) {
      const compile = () => compileKernel(this.device, name, linkShader(this.sources, module, conditions));
      const { profiler } = this.options;
      kernel = profiler ? profiler.span(name, compile, 'compile') : compile();
      this.kernels.set(name, kernel);
    }
    return kernel;
  }

  /**
   * Records one dispatch: tensors by the names of the kernel's storage buffers, uniform parameters by theirs,
   * and the number of workgroups of a grid in one dimension.
   * @throws FathomError `tensor-too-large` when a tensor exceeds the largest binding
   */
  dispatch(
    kernel: Kernel,
    tensors: Readonly<Record<string, Tensor>>,
    params: Readonly<Record<string, number>>,
    workgroups: number,
  ): void {
    this.throwFailure();
    const profiled = this.profile?.dispatch(kernel.name, tensors, params, workgroups);
    const bound = kernel.bindings.map((binding) => {
      const tensor = tensors[binding.name];
      if (!tensor) throw new Error(`${kernel.name} needs the tensor ${binding.name}`);
      const size = Math.max(16, Math.ceil(tensor.size / 4) * 16);
      if (size > this.maxBindingBytes) {
        throw tooLarge(tensor.shape, size, this.maxBindingBytes, this.opened.label);
      }
      return { binding: binding.index, pooled: tensor.pooled, offset: tensor.offset * 4, size };
    });
    if (this.recorded === SUBMIT_AFTER) this.submit();
    const uniformOffset = this.recorded * UNIFORM_STRIDE;
    if (kernel.params) {
      writeParams(kernel, params, new DataView(this.uniformBytes.buffer, uniformOffset, kernel.params.bytes));
    }

    const key = `${kernel.name}|${bound.map((b) => `${b.pooled.id}:${b.offset}:${b.size}`).join('|')}`;
    let group = this.bindGroups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = bound.map(({ binding, pooled, offset, size }) => ({
        binding,
        resource: { buffer: pooled.buffer, offset, size },
      }));
      if (kernel.params) {
        entries.push({
          binding: kernel.params.index,
          resource: { buffer: this.uniforms, size: kernel.params.bytes },
        });
      }
      group = this.device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries });
      if (this.bindGroups.size >= BIND_GROUP_CAP) this.bindGroups.clear();
      this.bindGroups.set(key, group);
    }

    const pass = this.openPass(profiled);
    pass.setPipeline(kernel.pipeline);
    pass.setBindGroup(0, group, kernel.params ? [uniformOffset] : []);
    const widest = this.device.limits.maxComputeWorkgroupsPerDimension;
    const lines = Math.ceil(workgroups / widest);
    pass.dispatchWorkgroups(Math.ceil(workgroups / lines), lines);
    this.recorded++;
    profiled?.recorded();
  }

  /** Runs `body`; a profile, if one is taken, shows it as a span of that name. A promise is part of the span. */
  span<T>(name: string, body: () => T): T {
    return this.options.profiler ? this.options.profiler.span(name, body) : body();
  }

  /** Frees every tensor made inside `body` but those it returns (alone, or within arrays and plain objects). */
  scope<T>(body: () => T): T {
    const made = new Set<Tensor>();
    this.scopes.push(made);
    let result: T;
    try {
      result = body();
    } catch (error) {
      this.scopes.pop();
      for (const tensor of made) tensor.dispose();
      throw error;
    }
    this.scopes.pop();
    const kept = new Set(tensorsIn(result));
    for (const tensor of made) {
      if (kept.has(tensor)) this.scopes.at(-1)?.add(tensor);
      else tensor.dispose();
    }
    return result;
  }

  /** Takes a tensor out of every scope it was made in; it is disposed by its owner. */
  keep<D extends DType>(tensor: Tensor<D>): Tensor<D> {
    for (const scope of this.scopes) scope.delete(tensor);
    return tensor;
  }

  /** Waits until everything recorded has run. @throws FathomError what the device reported meanwhile */
  async finish(): Promise<void> {
    this.throwFailure();
    this.submit();
    await this.guard('finish', this.device.queue.onSubmittedWorkDone());
    this.throwFailure();
  }

  /** Copies a tensor out; see {@link Tensor.read}. */
  async read<D extends DType>(tensor: Tensor<D>): Promise<ArrayOf[D]> {
    this.throwFailure();
    if (tensor.size === 0) return view(tensor.dtype, new ArrayBuffer(0));
    const { buffer } = tensor.pooled;
    this.closePass();
    const copy = await this.readback.copy(this.openEncoder(), buffer, tensor.offset * 4, tensor.bytes);
    this.throwFailure();
    return view(tensor.dtype, copy);
  }

  /** Destroys the device; tensors die with it. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.closePass();
    this.encoder = undefined;
    if (this.profile) void this.profile.settle().then(() => this.destroy());
    else this.destroy();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  track<D extends DType>(tensor: Tensor<D>): Tensor<D> {
    this.live.add(tensor);
    this.scopes.at(-1)?.add(tensor);
    return tensor;
  }

  /** @internal */
  untrack(tensor: Tensor): void {
    this.live.delete(tensor);
    for (const scope of this.scopes) scope.delete(tensor);
  }

  /** @internal */
  releaseBuffer(pooled: PooledBuffer): void {
    if (!this.disposed) this.pool.release(pooled);
  }

  private destroy(): void {
    this.pool.destroy();
    this.uniforms.destroy();
    this.device.destroy();
  }

  private openEncoder(): GPUCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder();
    return this.encoder;
  }

  /** The pass of the next dispatch: one of its own where that is profiled. */
  private openPass(profiled: ProfiledDispatch | undefined): GPUComputePassEncoder {
    if (profiled) this.closePass();
    if (!this.pass) {
      const encoder = this.openEncoder();
      this.pass = encoder.beginComputePass(profiled && this.profile!.pass(encoder, profiled));
    }
    return this.pass;
  }

  private closePass(): void {
    this.pass?.end();
    this.pass = undefined;
  }

  private submit(): void {
    this.closePass();
    if (!this.encoder) {
      if (this.pool.destroyDropped()) this.bindGroups.clear();
      return;
    }
    const { queue } = this.device;
    const submitted = this.profile?.submitting(this.encoder);
    if (this.recorded > 0) {
      queue.writeBuffer(this.uniforms, 0, this.uniformBytes.buffer, 0, this.recorded * UNIFORM_STRIDE);
    }
    queue.submit([this.encoder.finish()]);
    submitted?.();
    this.encoder = undefined;
    this.recorded = 0;
    if (this.pool.destroyDropped()) this.bindGroups.clear();
  }

  private async guard<T>(what: string, work: Promise<T>): Promise<T> {
    const done = this.options.profiler?.begin(what, 'wait');
    try {
      return await Promise.race([work, this.lost]);
    } catch (cause) {
      // wgpu rejects the work of a lost device some milliseconds before it reports the loss.
      const pause = new Promise((resolve) => setTimeout(resolve, LOSS_REPORT_MS));
      if (!this.failure) await Promise.race([pause, this.lost.catch(() => undefined)]);
      this.throwFailure();
      throw deviceError(cause as Error);
    } finally {
      done?.();
    }
  }

  private throwFailure(): void {
    if (this.disposed) {
      throw new FathomError({
        code: 'device-disposed',
        message: 'The GPU was used after it was disposed',
        fix: 'Dispose it last, or create another',
      });
    }
    if (this.failure) {
      const failure = this.failure;
      if (failure.code !== 'device-lost') this.failure = undefined;
      throw failure;
    }
  }
}

function requireSize(data: { length: number }, shape: Shape): void {
  if (data.length === sizeOf(shape)) return;
  throw new FathomError({
    code: 'shape-mismatch',
    message: `${data.length} values cannot fill a tensor of shape [${shape}]`,
    fix: `Give ${sizeOf(shape)} values`,
  });
}

function view<D extends DType>(dtype: D, buffer: ArrayBuffer): ArrayOf[D] {
  const make = { f32: Float32Array, u32: Uint32Array, i32: Int32Array }[dtype];
  return new make(buffer) as ArrayOf[D];
}

function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (value instanceof Map) for (const item of value.values()) yield* tensorsIn(item);
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (value && Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) yield* tensorsIn(item);
  }
}

function tooLarge(shape: Shape, bytes: number, limit: number, adapter: string): FathomError {
  return new FathomError({
    code: 'tensor-too-large',
    message: `A tensor of shape [${shape}] takes ${bytes} bytes; ${adapter} allows ${limit} in one binding`,
    fix: 'Use a smaller batch or smaller images',
  });
}

function noSubgroups(adapter: string): FathomError {
  return new FathomError({
    code: 'no-subgroups',
    message: `The kernel family quad needs subgroup operations, which ${adapter} does not offer here`,
    fix: 'Leave the family to the planner',
  });
}

function deviceError(cause: { message: string }): FathomError {
  return new FathomError({
    code: 'device-error',
    message: `The GPU reported: ${cause.message.replaceAll('\n', ' ')}`,
    fix: 'Run `fathom doctor`; if it passes, report this',
    cause,
  });
}

function lostError(info: GPUDeviceLostInfo): FathomError {
  return new FathomError({
    code: 'device-lost',
    message: `The GPU device was lost (${info.reason}): ${info.message.replaceAll('\n', ' ')}`,
    fix: 'Start again; if it happens again, use a smaller batch or update the driver',
  });
}
