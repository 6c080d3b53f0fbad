import type { DeviceProfile, ProfiledDispatch } from './device_profile.ts';
import type { Kernel } from './kernel.ts';

/** What a device was asked for since it was opened. */
export interface GpuStats {
  dispatches: number;
  submits: number;
  /** Buffers made, also those for parameters and reads. */
  buffers: number;
  bindGroups: number;
  kernels: number;
  /** Bytes sent to the device, parameters among them. */
  bytesUploaded: number;
}

/** Dispatches after which queued commands are submitted without waiting for a read. */
export const SUBMIT_AFTER = 128;
/** Dynamic uniform offsets are multiples of this under WebGPU's default limits. */
export const UNIFORM_STRIDE = 256;

/** Workgroups of a dispatch in two dimensions. */
export type Grid = readonly [x: number, y: number];

/** The commands of a device that are encoded and not yet submitted, with the parameters they take. */
export class Commands {
  /** Parameters of what is encoded one by one; a dispatch takes those at its offset. */
  readonly uniforms: GPUBuffer;
  private readonly bytes = new DataView(new ArrayBuffer(UNIFORM_STRIDE * SUBMIT_AFTER));
  private slots = 0;
  private open: GPUCommandEncoder | undefined;
  private pass: GPUComputePassEncoder | undefined;
  private pipeline: GPUComputePipeline | undefined;

  /** `submitted` is called after every submit, also where there was nothing to be submitted. */
  constructor(
    private readonly device: GPUDevice,
    private readonly profile: DeviceProfile | undefined,
    private readonly stats: GpuStats,
    private readonly submitted: () => void,
  ) {
    this.uniforms = device.createBuffer({
      size: this.bytes.byteLength,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    stats.buffers++;
  }

  /** Room for the parameters of the next dispatch: the offset to give it, and where to write them. */
  parameters(kernel: Kernel): { offset: number; view: DataView } {
    if (this.slots === SUBMIT_AFTER) this.submit();
    const offset = UNIFORM_STRIDE * this.slots++;
    return { offset, view: new DataView(this.bytes.buffer, offset, kernel.params?.bytes ?? 0) };
  }

  /** Encodes one dispatch. `offsets` is where its parameters lie in what `group` binds, if it has any. */
  dispatch(
    { pipeline }: Kernel,
    group: GPUBindGroup,
    offsets: readonly number[],
    [x, y]: Grid,
    profiled: ProfiledDispatch | undefined,
  ): void {
    if (profiled) this.endPass();
    if (!this.pass) {
      const encoder = this.encoder();
      this.pass = encoder.beginComputePass(profiled && this.profile!.pass(encoder, profiled));
    }
    if (pipeline !== this.pipeline) {
      this.pass.setPipeline(pipeline);
      this.pipeline = pipeline;
    }
    this.pass.setBindGroup(0, group, offsets);
    this.pass.dispatchWorkgroups(x, y);
    this.stats.dispatches++;
    profiled?.recorded();
  }

  /** The encoder, outside of any pass, for copies. */
  forCopies(): GPUCommandEncoder {
    this.endPass();
    return this.encoder();
  }

  submit(): void {
    this.endPass();
    if (this.open) {
      const { queue } = this.device;
      const submitted = this.profile?.submitting(this.open);
      if (this.slots > 0) this.upload(this.uniforms, 0, this.bytes.buffer, 0, this.slots * UNIFORM_STRIDE);
      queue.submit([this.open.finish()]);
      this.stats.submits++;
      submitted?.();
      this.open = undefined;
      this.slots = 0;
    }
    this.submitted();
  }

  /** Sends bytes to a buffer, before all that is not yet submitted. */
  upload(buffer: GPUBuffer, at: number, bytes: ArrayBuffer, from: number, count: number): void {
    this.device.queue.writeBuffer(buffer, at, bytes, from, count);
    this.stats.bytesUploaded += count;
  }

  /** Forgets what is not yet submitted. */
  drop(): void {
    this.endPass();
    this.open = undefined;
  }

  private encoder(): GPUCommandEncoder {
    this.open ??= this.device.createCommandEncoder();
    return this.open;
  }

  private endPass(): void {
    this.pass?.end();
    this.pass = undefined;
    this.pipeline = undefined;
  }
}
