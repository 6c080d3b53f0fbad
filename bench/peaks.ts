import type { Gpu } from '../engine/index.ts';

/** What the adapter can do at most, as measured by kernels that do nothing else. */
export interface Peaks {
  /** GFLOP/s of independent multiply-adds in registers. */
  gflops: number;
  /** GB/s of a copy, what is read and written together. */
  gbps: number;
}

export interface PeakOptions {
  /** How long each kernel is tried. */
  milliseconds: number;
}

/** vec4 accumulators of an invocation: too few wait for each other, too many do not fit the registers. */
const ACCUMULATORS = [4, 8, 10, 12];
const WORKGROUP = 64;
const WORKGROUPS = 64;
/** Times the loop body runs; each does so many rounds over the accumulators. */
const LOOPS = 256;
const UNROLLED = 8;
const COPY_BYTES = 64 * 1024 * 1024;
/** vec4s an invocation copies. */
const COPIES = 4;
const COPY_WORKGROUPS = COPY_BYTES / 16 / WORKGROUP / COPIES;

/** Measures both peaks on the device, in the same run as what is to be held against them. */
export async function measurePeaks({ device }: Gpu, { milliseconds }: PeakOptions): Promise<Peaks> {
  let gflops = 0;
  for (const accumulators of ACCUMULATORS) {
    const flop = 8 * accumulators * UNROLLED * LOOPS * WORKGROUP * WORKGROUPS;
    const ms = await best(device, multiplyAdds(accumulators), 16, WORKGROUPS, milliseconds);
    gflops = Math.max(gflops, flop / ms / 1e6);
  }
  let gbps = 0;
  for (const neighbours of [true, false]) {
    const ms = await best(device, copy(neighbours), COPY_BYTES, COPY_WORKGROUPS, milliseconds);
    gbps = Math.max(gbps, (2 * COPY_BYTES) / ms / 1e6);
  }
  return { gflops, gbps };
}

/** By `fma`: drivers that do not contract a product and a sum reach about half with those. */
function multiplyAdds(accumulators: number): string {
  const all = Array.from({ length: accumulators }, (_, i) => `a${i}`);
  const round = all.map((a) => `    ${a} = fma(${a}, x, y);`).join('\n');
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let x = input[0];
  let y = x * 0.5;
${all.map((a, i) => `  var ${a} = x + ${i}.0 + f32(id.x);`).join('\n')}
  for (var i = 0u; i < ${LOOPS}u; i++) {
${Array(UNROLLED).fill(round).join('\n')}
  }
  let sum = ${all.join(' + ')};
  // Never so, but the compiler cannot know.
  if (sum.x == 12345.678) { output[0] = sum; }
}`;
}

/** Copies an invocation's vec4s that are neighbours, or those of all invocations beside each other. */
function copy(neighbours: boolean): string {
  const lines = Array.from({ length: COPIES }, (_, i) => {
    const at = neighbours ? `${COPIES}u * id.x + ${i}u` : `id.x + ${i * COPY_WORKGROUPS * WORKGROUP}u`;
    return `  output[${at}] = input[${at}];`;
  });
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read> input: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
${lines.join('\n')}
}`;
}

/** Least milliseconds of one dispatch, waited for. */
async function best(
  device: GPUDevice,
  code: string,
  bytes: number,
  workgroups: number,
  milliseconds: number,
): Promise<number> {
  const pipeline = await device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module: device.createShaderModule({ code }), entryPoint: 'main' },
  });
  const [input, output] = [0, 1].map(() => {
    return device.createBuffer({ size: bytes, usage: GPUBufferUsage.STORAGE });
  }) as [GPUBuffer, GPUBuffer];
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [input, output].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  let least = Number.POSITIVE_INFINITY;
  // The first, with compilation, does not count.
  for (let spent = 0, runs = -1; runs < 2 || spent < milliseconds; runs++) {
    const begin = performance.now();
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(workgroups);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    if (runs < 0) continue;
    const took = performance.now() - begin;
    spent += took;
    least = Math.min(least, took);
  }
  input.destroy();
  output.destroy();
  return least;
}
