import type { Tensor } from './tensor.ts';

/** What a profile tells of one dispatch. */
export interface ProfiledDispatch {
  /** The kernel's. */
  name: string;
  args: {
    /** Counts the dispatches of a device, from 0. */
    dispatch: number;
    workgroups: number;
    /** Shapes by the names of the kernel's storage buffers, such as `64x28x28x1`. */
    tensors: Record<string, string>;
    params: Readonly<Record<string, number>>;
  };
  /** On the GPU's clock, in microseconds since its first timestamp; undefined until they have been read back. */
  gpu: { begin: number; end: number } | undefined;
  /** To be called once it is recorded. */
  recorded: () => void;
}

/** Pairs of timestamps in one query set: the most that WebGPU allows. */
const PAIRS = 2048;
const PAIR_BYTES = 16;

interface Batch {
  queries: GPUQuerySet;
  resolved: GPUBuffer;
  staging: GPUBuffer;
  dispatches: ProfiledDispatch[];
}

/**
 * The GPU's side of a profile: when each dispatch of a device began and ended. Every dispatch is given a compute
 * pass of its own that writes two timestamps; they are resolved at the submit and read back behind it.
 *
 * The clocks of GPU and host are aligned by what is certain: nothing begins before the host submits it. `offset` is
 * the least that fulfils this for every submit, so a submit that finds the GPU idle seems to start at once. Both
 * clocks are taken to run at the same rate.
 */
export class DeviceProfile {
  readonly dispatches: ProfiledDispatch[] = [];
  /** Host microseconds (of `performance.now()`) at which the GPU's clock was 0. */
  offset = Number.NEGATIVE_INFINITY;
  /** Whether the device has timestamps; without them dispatches have no GPU times. */
  readonly timed: boolean;
  private count = 0;
  private zero: bigint | undefined;
  private open: Batch | undefined;
  private readonly filled: Batch[] = [];
  private readonly idle: Batch[] = [];
  private readonly pending = new Set<Promise<void>>();

  /** Keeps what it is told of the first `limit` dispatches, and tells `profiler` of all. */
  constructor(
    private readonly device: GPUDevice,
    readonly label: string,
    private readonly limit: number,
    private readonly profiler: {
      begin(name: string, category: 'record' | 'submit', args?: object): () => void;
      timed(dispatch: ProfiledDispatch): void;
    },
  ) {
    this.timed = device.features.has('timestamp-query');
  }

  /** Dispatches so far, whether kept or not. */
  get dispatched(): number {
    return this.count;
  }

  /** Notes a dispatch about to be recorded. */
  dispatch(
    name: string,
    tensors: Readonly<Record<string, Tensor>>,
    params: Readonly<Record<string, number>>,
    workgroups: number,
  ): ProfiledDispatch {
    const shapes = Object.fromEntries(
      Object.entries(tensors).map(([key, { shape }]) => [key, shape.join('x')]),
    );
    const args = { dispatch: this.count++, workgroups, tensors: shapes, params };
    const recorded = this.profiler.begin(name, 'record', { dispatch: args.dispatch });
    const noted: ProfiledDispatch = { name, args, gpu: undefined, recorded };
    if (this.dispatches.length < this.limit) this.dispatches.push(noted);
    return noted;
  }

  /** How the compute pass of a dispatch begins; it must hold that dispatch alone. No pass may be open in `encoder`. */
  pass(encoder: GPUCommandEncoder, dispatch: ProfiledDispatch): GPUComputePassDescriptor | undefined {
    if (!this.timed) return undefined;
    if (this.open?.dispatches.length === PAIRS) this.resolve(encoder);
    this.open ??= this.idle.pop() ?? this.makeBatch();
    const { queries, dispatches } = this.open;
    const index = 2 * dispatches.length;
    dispatches.push(dispatch);
    return {
      timestampWrites: {
        querySet: queries,
        beginningOfPassWriteIndex: index,
        endOfPassWriteIndex: index + 1,
      },
    };
  }

  /** Ends what is recorded in `encoder`; the function given back is called once that is submitted. */
  submitting(encoder: GPUCommandEncoder): () => void {
    this.resolve(encoder);
    const done = this.profiler.begin('submit', 'submit');
    const submitted = 1000 * performance.now();
    return () => {
      done();
      for (const batch of this.filled.splice(0)) {
        const reading = this.readBack(batch, submitted).finally(() => this.pending.delete(reading));
        this.pending.add(reading);
      }
    };
  }

  /** Waits for the timestamps of what was submitted. */
  async settle(): Promise<void> {
    await Promise.all(this.pending);
  }

  private makeBatch(): Batch {
    const size = PAIRS * PAIR_BYTES;
    return {
      queries: this.device.createQuerySet({ type: 'timestamp', count: 2 * PAIRS }),
      resolved: this.device.createBuffer({
        size,
        usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
      }),
      staging: this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST }),
      dispatches: [],
    };
  }

  private resolve(encoder: GPUCommandEncoder): void {
    if (!this.open) return;
    const { queries, resolved, staging, dispatches } = this.open;
    encoder.resolveQuerySet(queries, 0, 2 * dispatches.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, dispatches.length * PAIR_BYTES);
    this.filled.push(this.open);
    this.open = undefined;
  }

  /** A lost device gives no times. */
  private async readBack(batch: Batch, submitted: number): Promise<void> {
    const { staging } = batch;
    const dispatches = batch.dispatches.splice(0);
    const bytes = dispatches.length * PAIR_BYTES;
    try {
      await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    } catch {
      return;
    }
    const times = new BigUint64Array(staging.getMappedRange(0, bytes).slice(0));
    staging.unmap();
    this.idle.push(batch);
    this.zero ??= times[0]!;
    const microseconds = (time: bigint) => Number(time - this.zero!) / 1000;
    this.offset = Math.max(this.offset, submitted - microseconds(times[0]!));
    for (const [i, dispatch] of dispatches.entries()) {
      const begin = microseconds(times[2 * i]!);
      dispatch.gpu = { begin, end: Math.max(begin, microseconds(times[2 * i + 1]!)) };
      this.profiler.timed(dispatch);
    }
  }
}
