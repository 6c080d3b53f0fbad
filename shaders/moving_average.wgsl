// running[i] = (1 - momentum) * running[i] + momentum * batch[i], in place.
// Dispatch: one invocation an entry.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  momentum: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> batch: array<f32>;
@group(0) @binding(2) var<storage, read_write> running: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  running[i] = (1.0 - params.momentum) * running[i] + params.momentum * batch[i];
}
