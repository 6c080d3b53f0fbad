import { DeviceProfile, type ProfiledDispatch } from './device_profile.ts';

/** GPU time of the dispatches of one kernel. */
export interface KernelTime {
  name: string;
  calls: number;
  milliseconds: number;
  /** Of the GPU time of all kernels. */
  share: number;
}

/** An event of the Chrome trace format: a span (`X`), or the name of a process or thread (`M`). Microseconds. */
export interface TraceEvent {
  name: string;
  ph: 'X' | 'M';
  pid: number;
  tid: number;
  cat?: string;
  ts?: number;
  dur?: number;
  args?: object;
}

/** A trace as `chrome://tracing` and ui.perfetto.dev open it. */
export interface Trace {
  traceEvents: TraceEvent[];
  displayTimeUnit: 'ms';
  otherData: {
    /** One a device: its adapter, and how many of its dispatches are in the trace and have GPU times. */
    devices: { adapter: string; dispatches: number; kept: number; timed: number; note?: string }[];
    /** Spans of the host that did not fit. */
    spansLeftOut: number;
  };
}

interface Span {
  name: string;
  category: SpanCategory;
  begin: number;
  end: number;
  args: object | undefined;
}

/** `span` are those named by a caller; `wait` is time until the GPU has done something. */
export type SpanCategory = 'span' | 'record' | 'compile' | 'submit' | 'wait';

/** Spans, and dispatches of a device, that are kept one by one; totals go on beyond. */
const EVENT_LIMIT = 500_000;
const HOST = 1;

/**
 * Collects what host and GPU did when, as a trace for Perfetto. Given to `Gpu.create`, it sees every dispatch, with
 * its time on the GPU where the adapter has the feature `timestamp-query`; results keep their bits. Each dispatch
 * is then a compute pass of its own, so that the whole takes somewhat longer.
 */
export class Profiler {
  private readonly start = 1000 * performance.now();
  private readonly spans: Span[] = [];
  private spansLeftOut = 0;
  private readonly devices: DeviceProfile[] = [];
  private readonly totals = new Map<string, { calls: number; microseconds: number }>();

  /** Runs `body` as a span of the host's lane; where it gives a promise, until that is settled. */
  span<T>(name: string, body: () => T, category: SpanCategory = 'span'): T {
    const end = this.begin(name, category);
    let result: T;
    try {
      result = body();
    } catch (error) {
      end();
      throw error;
    }
    if (result instanceof Promise) return result.finally(end) as T;
    end();
    return result;
  }

  /** Begins a span, which ends with a call of the function given back. */
  begin(name: string, category: SpanCategory, args?: object): () => void {
    const begin = 1000 * performance.now();
    return () => {
      const end = 1000 * performance.now();
      if (this.spans.length < EVENT_LIMIT) this.spans.push({ name, category, begin, end, args });
      else this.spansLeftOut++;
    };
  }

  /** @internal */
  attach(device: GPUDevice, label: string): DeviceProfile {
    const profile = new DeviceProfile(device, label, EVENT_LIMIT, {
      begin: this.begin.bind(this),
      timed: this.add.bind(this),
    });
    this.devices.push(profile);
    return profile;
  }

  /** GPU time by kernel, the longest first, once all that was submitted has run; empty without timestamps. */
  async kernels(): Promise<KernelTime[]> {
    await this.settle();
    const all = [...this.totals.values()].reduce((sum, { microseconds }) => sum + microseconds, 0);
    return [...this.totals]
      .map(([name, { calls, microseconds }]) => ({
        name,
        calls,
        milliseconds: microseconds / 1000,
        share: all > 0 ? microseconds / all : 0,
      }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** The trace of what was submitted so far, once that has run. Its time 0 is when this profiler was made. */
  async trace(): Promise<Trace> {
    await this.settle();
    const traceEvents: TraceEvent[] = [named('process_name', HOST, 0, 'host')];
    const lane = (of: (category: SpanCategory) => boolean) =>
      this.spans.filter(({ category }) => of(category));
    const host = [
      ...lanes(
        'host',
        lane((category) => category !== 'wait'),
      ),
      ...lanes(
        'waits',
        lane((category) => category === 'wait'),
      ),
    ];
    traceEvents.push(...this.events(HOST, host));
    for (const [i, device] of this.devices.entries()) {
      const pid = HOST + 1 + i;
      traceEvents.push(
        named('process_name', pid, 0, `GPU: ${device.label}${device.timed ? '' : `, ${UNTIMED}`}`),
      );
      const timed = device.dispatches.flatMap(({ name, args, gpu }): Span[] => {
        if (!gpu) return [];
        const [begin, end] = [device.offset + gpu.begin, device.offset + gpu.end];
        return [{ name, category: 'span', begin, end, args }];
      });
      traceEvents.push(...this.events(pid, lanes('queue', timed), 'kernel'));
    }
    return {
      traceEvents,
      displayTimeUnit: 'ms',
      otherData: {
        devices: this.devices.map(({ label, dispatches, dispatched, timed }) => ({
          adapter: label,
          dispatches: dispatched,
          kept: dispatches.length,
          timed: dispatches.filter(({ gpu }) => gpu).length,
          ...(!timed && { note: UNTIMED }),
        })),
        spansLeftOut: this.spansLeftOut,
      },
    };
  }

  private async settle(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.settle()));
  }

  private add({ name, gpu }: ProfiledDispatch): void {
    const total = this.totals.get(name) ?? { calls: 0, microseconds: 0 };
    this.totals.set(name, total);
    total.calls++;
    total.microseconds += gpu!.end - gpu!.begin;
  }

  private events(pid: number, lanes: readonly Lane[], category?: string): TraceEvent[] {
    return lanes.flatMap(({ name, spans }, tid) => [
      named('thread_name', pid, tid, name),
      ...spans.map(
        (span): TraceEvent => ({
          name: span.name,
          ph: 'X',
          pid,
          tid,
          cat: category ?? span.category,
          ts: nanosecond(span.begin - this.start),
          dur: nanosecond(nanosecond(span.end - this.start) - nanosecond(span.begin - this.start)),
          args: span.args,
        }),
      ),
    ]);
  }
}

const UNTIMED = 'no GPU times: it lacks the feature timestamp-query';

interface Lane {
  name: string;
  spans: Span[];
}

/** Spreads spans over as few lanes as let those of each nest, which is all that viewers can draw. */
function lanes(name: string, spans: readonly Span[]): Lane[] {
  const made: { spans: Span[]; open: Span[] }[] = [];
  for (const span of spans.toSorted((a, b) => a.begin - b.begin || b.end - a.end)) {
    let lane = made.find(({ open }) => {
      while (open.length > 0 && open.at(-1)!.end <= span.begin) open.pop();
      return open.length === 0 || span.end <= open.at(-1)!.end;
    });
    if (!lane) {
      lane = { spans: [], open: [] };
      made.push(lane);
    }
    lane.spans.push(span);
    lane.open.push(span);
  }
  return made.map((lane, i) => ({ name: i === 0 ? name : `${name} ${i + 1}`, spans: lane.spans }));
}

function named(what: string, pid: number, tid: number, name: string): TraceEvent {
  return { name: what, ph: 'M', pid, tid, args: { name } };
}

/** Rounds microseconds to a nanosecond: finer is not measured, and would only fill the file. */
function nanosecond(microseconds: number): number {
  return Math.round(1000 * microseconds) / 1000;
}
