// result[i] = scale * source[i / repeat]: the gradient of a sum, spread back over what was summed.
// Dispatch: one invocation an entry of `result`.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  repeat: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  result[i] = params.scale * source[i / params.repeat];
}
