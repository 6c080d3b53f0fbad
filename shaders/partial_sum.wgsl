// result[i] = scale * sum over c of partial[c * size + i], c ascending; ACCUMULATE adds to what result holds.
// Dispatch: one invocation an entry of `result`.
import package::dispatch::linear_index;

struct Params {
  size: u32,
  chunks: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) { return; }
  var sum = 0.0;
  for (var c = 0u; c < params.chunks; c++) {
    sum += partial[c * params.size + i];
  }
  @if(ACCUMULATE) { result[i] = result[i] + params.scale * sum; }
  @if(!ACCUMULATE) { result[i] = params.scale * sum; }
}
