import { type Bound, bind, bindingKey } from './bind_groups.ts';
import { type Commands, type GpuStats, type Grid, UNIFORM_STRIDE } from './commands.ts';
import type { DeviceProfile } from './device_profile.ts';
import type { Gpu } from './gpu.ts';
import { type Kernel, type Params, paramValue, writeParam } from './kernel.ts';
import type { PooledBuffer } from './pool.ts';
import type { Tensor } from './tensor.ts';

/** A dispatch as it was made: shapes and parameters as given are for profiles. */
interface Step {
  kernel: Kernel;
  bound: readonly Bound[];
  grid: Grid;
  tensors: Readonly<Record<string, Tensor>>;
  params: Params;
  /** Its parameters' bytes. */
  view: DataView;
}

/** What {@link Commands.dispatch} takes of a step. */
interface Encoded {
  kernel: Kernel;
  group: GPUBindGroup;
  offsets: readonly number[];
  grid: Grid;
}

/** What is made of a larger tensor is made anew in every replay: its time is small beside that of using it. */
const MOST_KEPT_BYTES = 2 ** 18;

/** The dispatches of a captured body, in order, with what the host does in between. */
export class Recording {
  /** Buffers made or taken over for it: nobody but captures may use them. */
  readonly buffers = new Set<PooledBuffer>();
  /** Set while something runs that is not to be noted. */
  aside = false;
  /** What was made once for all replays, by what it was made of. */
  readonly made = new Map<string, Tensor<'f32'>>();
  private readonly steps: Step[] = [];
  private readonly acts: (() => void)[] = [];
  private readonly moves: { from: PooledBuffer; to: PooledBuffer }[] = [];
  /** Steps whose parameters vary. */
  private readonly varying = new Set<number>();
  private uniforms: { buffer: GPUBuffer; bytes: ArrayBuffer } | undefined;
  private encoded: Encoded[] | undefined;

  /** @param constants what has the same values in every replay */
  constructor(private readonly constants: ReadonlySet<Tensor>) {}

  /** Whether what is made of these may be kept from replay to replay; without any constants nothing is. */
  mayKeep(sources: readonly Tensor[]): boolean {
    const small = ({ bytes }: Tensor) => bytes <= MOST_KEPT_BYTES;
    return this.constants.size > 0 && sources.every((tensor) => this.constants.has(tensor) && small(tensor));
  }

  /** Notes a dispatch. `written` holds its parameters, and is copied. */
  note(step: Omit<Step, 'view'>, written: DataView): void {
    const { buffer, byteOffset, byteLength } = written;
    const noted = { ...step, view: new DataView(buffer.slice(byteOffset, byteOffset + byteLength)) };
    const index = this.steps.push(noted) - 1;
    for (const field of step.kernel.params?.fields ?? []) {
      const param = step.params[field.name];
      if (typeof param !== 'function') continue;
      this.varying.add(index);
      this.acts.push(() => writeParam(noted.view, field, param()));
    }
  }

  /** Notes what the host is to do before the dispatches of every replay, in order with the functions of parameters. */
  act(act: () => void): void {
    this.acts.push(act);
  }

  /** Notes a copy to be made at the end of every replay. */
  move(from: PooledBuffer, to: PooledBuffer): void {
    this.buffers.add(to);
    this.moves.push({ from, to });
  }

  /** Encodes everything again. */
  replay(device: GPUDevice, commands: Commands, stats: GpuStats, profile: DeviceProfile | undefined): void {
    for (const act of this.acts) act();
    this.encoded ??= this.prepare(device, commands, stats);
    if (this.varying.size > 0) {
      const indices = [...this.varying];
      this.send(commands, indices[0]!, indices.at(-1)!);
    }
    for (const [i, { kernel, group, offsets, grid }] of this.encoded.entries()) {
      commands.dispatch(kernel, group, offsets, grid, profile && this.profiled(profile, i));
    }
    for (const { from, to } of this.moves) {
      commands.forCopies().copyBufferToBuffer(from.buffer, 0, to.buffer, 0, to.bytes);
    }
  }

  destroy(): void {
    for (const tensor of this.made.values()) tensor.dispose();
    this.uniforms?.buffer.destroy();
  }

  /** Makes what the first replay needs: a body that is run but once costs none of it. */
  private prepare(device: GPUDevice, commands: Commands, stats: GpuStats): Encoded[] {
    if (this.steps.length === 0) return [];
    const size = UNIFORM_STRIDE * this.steps.length;
    const bytes = new ArrayBuffer(size);
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ label: 'capture', size, usage });
    stats.buffers++;
    this.uniforms = { buffer, bytes };
    const groups = new Map<string, GPUBindGroup>();
    const encoded = this.steps.map((step, i) => {
      const { kernel, bound, grid, view } = step;
      const offset = UNIFORM_STRIDE * i;
      new Uint8Array(bytes, offset).set(new Uint8Array(view.buffer));
      step.view = new DataView(bytes, offset, view.byteLength);
      const key = bindingKey(kernel, bound);
      const group = groups.get(key) ?? bind(device, kernel, bound, buffer, stats);
      groups.set(key, group);
      return { kernel, group, grid, offsets: kernel.params ? [offset] : [] };
    });
    this.send(commands, 0, this.steps.length - 1);
    return encoded;
  }

  /** Sends the parameters of some steps. What is encoded and not yet submitted takes none of them. */
  private send(commands: Commands, first: number, last: number): void {
    const { buffer, bytes } = this.uniforms!;
    const from = UNIFORM_STRIDE * first;
    commands.upload(buffer, from, bytes, from, UNIFORM_STRIDE * (last + 1) - from);
  }

  private profiled(profile: DeviceProfile, i: number) {
    const { kernel, tensors, params, grid } = this.steps[i]!;
    return profile.dispatch(kernel.name, tensors, resolved(params), grid[0] * grid[1]);
  }
}

/** Parameters with their values of the moment. */
export function resolved(params: Params): Record<string, number> {
  return Object.fromEntries(Object.entries(params).map(([name, param]) => [name, paramValue(param)]));
}

/**
 * A body's dispatches, to be run again without the body: no tensor, buffer or bind group is made. Everything lies where
 * it lay when the body ran, so what it took from outside must still be there; made by {@link Gpu.capture}.
 */
export class Capture<T> implements Disposable {
  private disposed = false;

  /** Made by {@link Gpu} only. */
  constructor(
    private readonly gpu: Gpu,
    private readonly recording: Recording,
    /** What the body returned. Its tensors hold the values of the last run. */
    readonly result: T,
    private readonly held: ReadonlySet<Tensor>,
  ) {}

  /** Runs the body's dispatches once more, with one submit. @throws FathomError what the device reported before */
  run(): void {
    if (this.disposed) throw new Error('a capture was run after it was disposed');
    this.gpu.replay(this.recording);
  }

  /** Frees the result and what the replays needed. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    for (const tensor of this.held) tensor.dispose();
    this.gpu.free(this.recording);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A body that is captured once for each key it is run with, such as a batch size, and replayed where that comes again. */
export class CapturedLoop<K, T> implements Disposable {
  private readonly captures = new Map<K, Capture<T>>();
  private readonly constants: ReadonlySet<Tensor>;

  /** @param constants tensors whose values do not change between the runs */
  constructor(
    private readonly gpu: Gpu,
    constants: Iterable<Tensor> = [],
  ) {
    this.constants = new Set(constants);
  }

  /** Runs `body`, which must be the same for the same key. Its result is good until the next run with that key. */
  run(key: K, body: () => T): T {
    const known = this.captures.get(key);
    if (known) known.run();
    const capture = known ?? this.gpu.capture(body, this.constants);
    this.captures.set(key, capture);
    return capture.result;
  }

  [Symbol.dispose](): void {
    for (const capture of this.captures.values()) capture.dispose();
    this.captures.clear();
  }
}
