// mask[i] = scale where word i of a random stream (see random_bits.wgsl) is at least `threshold`, else 0.
// Dispatch: one invocation a vec4, of two blocks of the stream.
import package::dispatch::linear_index;
import package::threefry::threefry;

struct Params {
  count: u32,
  seed: u32,
  stream: u32,
  start: u32,
  threshold: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> mask: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let block = params.start + 2u * i;
  let low = threefry(params.seed, params.stream, block);
  let high = threefry(params.seed, params.stream, block + 1u);
  let kept = vec4u(low, high) >= vec4u(params.threshold);
  mask[i] = select(vec4f(), vec4f(params.scale), kept);
}
