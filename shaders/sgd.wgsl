// SGD with momentum, PyTorch's form:  v = momentum * v + g;  w = w - rate * v
// Dispatch: one invocation a vec4.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  rate: f32,
  momentum: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let v = params.momentum * velocity[i] + gradient[i];
  velocity[i] = v;
  weights[i] = weights[i] - params.rate * v;
}
