import { type ShaderName, shaderNames, shaderUrl } from '../shaders/index.ts';
import { BindGroups, boundTo } from './bind_groups.ts';
import { Capture, Recording, resolved } from './capture.ts';
import { Commands, type GpuStats, type Grid } from './commands.ts';
import type { DeviceProfile } from './device_profile.ts';
import type { FathomError } from './errors.ts';
import {
  deviceError,
  disposedError,
  lostError,
  noSubgroups,
  notCapturable,
  requireSize,
  tooLarge,
} from './gpu_errors.ts';
import {
  type Conditions,
  compileKernel,
  type Kernel,
  kernelName,
  linkShader,
  type Params,
  writeParams,
} from './kernel.ts';
import type { AdapterFacts, Family, Tile } from './planner.ts';
import { BufferPool, type PooledBuffer } from './pool.ts';
import type { Profiler } from './profiler.ts';
import { Readback } from './readback.ts';
import { type AdapterMode, currentRuntime, type OpenedAdapter, type Runtime } from './runtime/runtime.ts';
import {
  type ArrayOf,
  type DType,
  type Shape,
  Storage,
  sizeOf,
  Tensor,
  tensorsIn,
  viewAs,
} from './tensor.ts';
import { type Planned, type TileChoice, TuningStore } from './tuning.ts';

export interface GpuOptions {
  /** Which adapter to take; `auto` prefers hardware, then a system software driver, then the embedded one. */
  mode?: AdapterMode;
  /** Forces a kernel family instead of the planner's choice. */
  family?: Family;
  /** Forces tiles, shape by shape, instead of the planner's and the tuner's choice; they change no bit of a result. */
  tile?: TileChoice;
  /** Whether what `fathom tune` found for the adapter is used; by default it is. */
  tuning?: boolean;
  /** Lowers the largest binding, in bytes, below the device's own limit. */
  maxBindingBytes?: number;
  /** Is told of all that runs, and when. */
  profiler?: Profiler;
}

const WANTED_FEATURES: GPUFeatureName[] = ['timestamp-query', 'subgroups'];
const IDLE_BYTES_CAP = 512 * 1024 * 1024;
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
  private readonly bindGroups: BindGroups;
  private readonly commands: Commands;
  private readonly counts: GpuStats = {
    dispatches: 0,
    submits: 0,
    buffers: 0,
    bindGroups: 0,
    kernels: 0,
    bytesUploaded: 0,
  };
  private readonly readback: Readback;
  private readonly profile: DeviceProfile | undefined;
  private readonly scopes: Set<Tensor>[] = [];
  private readonly live = new Set<Tensor>();
  /** The capture being made. */
  private recording: Recording | undefined;
  private failure: FathomError | undefined;
  private readonly lost: Promise<never>;
  private disposed = false;
  /** @internal */
  forced: TileChoice | undefined;

  protected constructor(
    readonly runtime: Runtime,
    readonly opened: OpenedAdapter,
    readonly device: GPUDevice,
    private readonly sources: ReadonlyMap<ShaderName, string>,
    readonly options: GpuOptions,
    readonly tuning: TuningStore,
  ) {
    this.forced = options.tile;
    const limit = device.limits.maxStorageBufferBindingSize;
    this.maxBindingBytes = Math.min(limit, options.maxBindingBytes ?? limit);
    this.pool = new BufferPool(device, IDLE_BYTES_CAP);
    this.readback = new Readback(
      device,
      this.counts,
      () => this.commands.submit(),
      (work) => this.guard('read', work),
    );
    this.profile = options.profiler?.attach(device, opened.label);
    this.commands = new Commands(device, this.profile, this.counts, () => {
      if (this.pool.destroyDropped()) this.bindGroups.clear();
    });
    this.bindGroups = new BindGroups(device, this.commands.uniforms, this.counts);
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
    const sources = new Map(texts);
    const tuned = options.tuning !== false && options.family === undefined;
    const tuning = await TuningStore.open(runtime, opened.label, sources, tuned);
    return new Gpu(runtime, opened, device, sources, options, tuning);
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

  /** The tile to plan a shape with: a forced one, a tuned one, or undefined for the planner's own. */
  tileOf(shape: Planned): Tile | undefined {
    return this.forced ? this.forced(shape) : this.tuning.tileOf(shape);
  }

  /** Tensors not yet disposed. */
  get liveTensors(): number {
    return this.live.size;
  }

  /** Largest number of bytes tensors took at one time, with what is kept for reuse, since the last {@link trim}. */
  get peakBytes(): number {
    return this.pool.peakBytes;
  }

  /** What the device was asked for so far. */
  get stats(): Readonly<GpuStats> {
    return { ...this.counts, buffers: this.counts.buffers + this.pool.made };
  }

  /** Frees what is kept for reuse, and begins {@link peakBytes} anew. */
  trim(): void {
    this.pool.trim();
    this.commands.submit();
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
    return this.track(new Tensor(this, new Storage(this, this.acquire(bytes)), dtype, shape, 0));
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

  /** Overwrites a tensor's values. @throws FathomError `shape-mismatch`; `not-capturable` */
  write(tensor: Tensor, data: Float32Array | Uint32Array | Int32Array): void {
    requireSize(data, tensor.shape);
    const { recording } = this;
    if (recording && (!recording.aside || recording.buffers.has(tensor.pooled))) {
      throw notCapturable('Values were written', 'Write to a tensor from before the capture, in gpu.eachRun');
    }
    // A queue write runs before commands not yet submitted, and this buffer may have served one of them.
    this.commands.submit();
    const { buffer, byteOffset, byteLength } = data as Float32Array<ArrayBuffer>;
    this.commands.upload(tensor.pooled.buffer, tensor.offset * 4, buffer, byteOffset, byteLength);
  }

  /** Sets a tensor's values to zero. @throws FathomError `not-capturable` */
  clear(tensor: Tensor): void {
    if (this.noting) throw notCapturable('A tensor was cleared', 'Use fill, or clear it before');
    this.commands.forCopies().clearBuffer(tensor.pooled.buffer, tensor.offset * 4, tensor.bytes);
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
      this.counts.kernels++;
    }
    return kernel;
  }

  /**
   * Records one dispatch: tensors by the names of the kernel's storage buffers, uniform parameters by theirs,
   * and the number of workgroups of a grid in one dimension. A parameter that is a function is asked now and before
   * every replay of a capture.
   * @throws FathomError `tensor-too-large` when a tensor exceeds the largest binding
   */
  dispatch(
    kernel: Kernel,
    tensors: Readonly<Record<string, Tensor>>,
    params: Params,
    workgroups: number,
  ): void {
    this.throwFailure();
    const profiled = this.profile?.dispatch(kernel.name, tensors, resolved(params), workgroups);
    const bound = boundTo(kernel, tensors, this.maxBindingBytes, this.opened.label);
    const { offset, view } = this.commands.parameters(kernel);
    if (kernel.params) writeParams(kernel, params, view);
    const lines = Math.ceil(workgroups / this.device.limits.maxComputeWorkgroupsPerDimension);
    const grid: Grid = [Math.ceil(workgroups / lines), lines];
    const group = this.bindGroups.of(kernel, bound);
    this.commands.dispatch(kernel, group, kernel.params ? [offset] : [], grid, profiled);
    this.noting?.note({ kernel, bound, grid, tensors, params }, view);
  }

  /**
   * Runs `body` once and notes its dispatches, so that they can be run again. Its tensors are freed as in
   * {@link scope}, those it returns with the capture; until then their buffers serve captures alone. What changes from
   * run to run goes through functions in the parameters of a dispatch and {@link eachRun}.
   * @param constants tensors whose values do not change from run to run
   * @throws FathomError `not-capturable` where `body` writes, reads, waits or captures
   */
  capture<T>(body: () => T, constants: ReadonlySet<Tensor> = new Set()): Capture<T> {
    this.throwFailure();
    if (this.recording) throw notCapturable('Another was asked for', 'Make one after the other');
    const recording = new Recording(constants);
    const held = new Set<Tensor>();
    this.recording = recording;
    this.scopes.push(held);
    try {
      const result = this.scope(body);
      if (result instanceof Promise) throw notCapturable('The body waited', 'Wait for what it needs before');
      for (const { storage } of held) this.moveApart(storage, recording);
      return new Capture(this, recording, result, held);
    } catch (error) {
      for (const tensor of held) tensor.dispose();
      this.free(recording);
      throw error;
    } finally {
      this.scopes.pop();
      this.recording = undefined;
    }
  }

  /** Runs `body` outside of the capture being made, if one is: what has to be done once. Keep what it makes. */
  aside<T>(body: () => T): T {
    const { recording } = this;
    if (!recording || recording.aside) return body();
    recording.aside = true;
    try {
      return body();
    } finally {
      recording.aside = false;
    }
  }

  /**
   * What `make` makes of `sources` alone, in the caller's scope. A capture to which they are constant keeps it for all
   * its runs.
   * @param key tells apart what is made of the same sources
   */
  once(key: string, sources: readonly Tensor[], make: () => Tensor<'f32'>): Tensor<'f32'> {
    const { noting } = this;
    if (!noting?.mayKeep(sources)) return make();
    const places = sources.map(({ pooled, offset }) => `${pooled.id}+${offset}`);
    const known = noting.made.get(`${key} ${places}`);
    const made = known ?? this.keep(this.aside(make));
    noting.made.set(`${key} ${places}`, made);
    return made.reshape(made.shape);
  }

  /**
   * Does something on the host now and, in a capture, before the dispatches of every replay, in order with the functions
   * of parameters. It may write to tensors from before the capture.
   */
  eachRun(act: () => void): void {
    this.noting?.act(act);
    this.aside(act);
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

  /**
   * Takes a tensor out of every scope it was made in; it is disposed by its owner.
   * @throws FathomError `not-capturable` for one that a capture makes in every run
   */
  keep<D extends DType>(tensor: Tensor<D>): Tensor<D> {
    if (this.recording?.buffers.has(tensor.pooled)) {
      throw notCapturable('A tensor was to be kept', 'Make it in gpu.aside, or return it');
    }
    for (const scope of this.scopes) scope.delete(tensor);
    return tensor;
  }

  /** Waits until everything recorded has run. @throws FathomError what the device reported meanwhile */
  async finish(): Promise<void> {
    this.throwFailure();
    this.commands.submit();
    await this.guard('finish', this.device.queue.onSubmittedWorkDone());
    this.throwFailure();
  }

  /** Copies a tensor out; see {@link Tensor.read}. */
  async read<D extends DType>(tensor: Tensor<D>): Promise<ArrayOf[D]> {
    this.throwFailure();
    if (this.recording) throw notCapturable('A tensor was read', 'Return it, and read it after the run');
    if (tensor.size === 0) return viewAs(tensor.dtype, new ArrayBuffer(0));
    const { buffer } = tensor.pooled;
    const copy = await this.readback.copy(this.commands.forCopies(), buffer, tensor.offset * 4, tensor.bytes);
    this.throwFailure();
    return viewAs(tensor.dtype, copy);
  }

  /** Destroys the device; tensors die with it. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.commands.drop();
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

  /** @internal */
  replay(recording: Recording): void {
    this.throwFailure();
    if (this.recording) throw notCapturable('Another was run', 'Run it before or after');
    recording.replay(this.device, this.commands, this.counts, this.profile);
    // At once, so that the GPU works while the host gets the next run ready.
    this.commands.submit();
  }

  /** @internal */
  free(recording: Recording): void {
    if (this.disposed) return;
    recording.destroy();
    this.pool.free(recording.buffers);
  }

  /** Whether what runs now goes into a capture. */
  get isCapturing(): boolean {
    return this.noting !== undefined;
  }

  /** The capture being made, if what runs now is to be noted. */
  private get noting(): Recording | undefined {
    return this.recording?.aside ? undefined : this.recording;
  }

  private acquire(bytes: number): PooledBuffer {
    return this.pool.acquire(bytes, this.noting?.buffers);
  }

  /** Gives a result a buffer of its own where other captures use the same one in their replays. */
  private moveApart(storage: Storage, recording: Recording): void {
    const from = storage.pooled;
    if (!recording.buffers.has(from) || from.captures === 1) return;
    const to = this.pool.acquireUnshared(from.bytes, recording.buffers);
    recording.move(from, to);
    this.commands.forCopies().copyBufferToBuffer(from.buffer, 0, to.buffer, 0, to.bytes);
    storage.moveTo(to);
  }

  private destroy(): void {
    this.pool.destroy();
    this.commands.uniforms.destroy();
    this.device.destroy();
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
    if (this.disposed) throw disposedError();
    if (this.failure) {
      const failure = this.failure;
      if (failure.code !== 'device-lost') this.failure = undefined;
      throw failure;
    }
  }
}
