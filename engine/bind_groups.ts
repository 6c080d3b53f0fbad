import type { GpuStats } from './commands.ts';
import { tooLarge } from './gpu_errors.ts';
import type { Kernel } from './kernel.ts';
import type { PooledBuffer } from './pool.ts';
import type { Tensor } from './tensor.ts';

/** What a kernel's storage buffer is bound to; offset and size in bytes. */
export interface Bound {
  binding: number;
  pooled: PooledBuffer;
  offset: number;
  size: number;
}

const CAP = 4096;

/**
 * What a kernel's storage buffers are bound to, of tensors by their names.
 * @param limit bytes that `adapter` allows in one binding
 * @throws FathomError `tensor-too-large`
 */
export function boundTo(
  kernel: Kernel,
  tensors: Readonly<Record<string, Tensor>>,
  limit: number,
  adapter: string,
): Bound[] {
  return kernel.bindings.map(({ name, index }) => {
    const tensor = tensors[name];
    if (!tensor) throw new Error(`${kernel.name} needs the tensor ${name}`);
    const size = Math.max(16, Math.ceil(tensor.size / 4) * 16);
    if (size > limit) throw tooLarge(tensor.shape, size, limit, adapter);
    return { binding: index, pooled: tensor.pooled, offset: tensor.offset * 4, size };
  });
}

/** Binds a kernel's buffers, and its parameters to `uniforms` at dynamic offsets. */
export function bind(
  device: GPUDevice,
  kernel: Kernel,
  bound: readonly Bound[],
  uniforms: GPUBuffer,
  stats: GpuStats,
): GPUBindGroup {
  const entries: GPUBindGroupEntry[] = bound.map(({ binding, pooled, offset, size }) => ({
    binding,
    resource: { buffer: pooled.buffer, offset, size },
  }));
  if (kernel.params) {
    entries.push({ binding: kernel.params.index, resource: { buffer: uniforms, size: kernel.params.bytes } });
  }
  stats.bindGroups++;
  return device.createBindGroup({ label: kernel.name, layout: kernel.layout, entries });
}

/** Bind groups kept for the next dispatch of a kernel on the same buffers. */
export class BindGroups {
  private readonly known = new Map<string, GPUBindGroup>();

  constructor(
    private readonly device: GPUDevice,
    private readonly uniforms: GPUBuffer,
    private readonly stats: GpuStats,
  ) {}

  of(kernel: Kernel, bound: readonly Bound[]): GPUBindGroup {
    const key = bindingKey(kernel, bound);
    let group = this.known.get(key);
    if (!group) {
      group = bind(this.device, kernel, bound, this.uniforms, this.stats);
      if (this.known.size >= CAP) this.known.clear();
      this.known.set(key, group);
    }
    return group;
  }

  clear(): void {
    this.known.clear();
  }
}

/** The same for bindings of the same kernel to the same buffers. */
export function bindingKey(kernel: Kernel, bound: readonly Bound[]): string {
  return `${kernel.name}|${bound.map((b) => `${b.pooled.id}:${b.offset}:${b.size}`).join('|')}`;
}
