// result[i] = scale * sum over c of partial[c * size + i], c ascending; ACCUMULATE adds to what result holds.
// BIAS, RECTIFY and MASKED as in result_store.wgsl.
// Dispatch: one invocation an entry of `result`.
import package::dispatch::linear_index;

struct Params {
  size: u32,
  chunks: u32,
  scale: f32,
  @if(BIAS) columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@if(BIAS) @group(0) @binding(3) var<storage, read> bias: array<f32>;
@if(MASKED) @group(0) @binding(4) var<storage, read> mask: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.size) { return; }
  var sum = 0.0;
  for (var c = 0u; c < params.chunks; c++) {
    sum += partial[c * params.size + i];
  }
  sum *= params.scale;
  @if(BIAS) { sum += bias[i % params.columns]; }
  @if(RECTIFY) { sum = select(sum, 0.0, sum < 0.0); }
  @if(MASKED) { sum = select(0.0, sum, mask[i] > 0.0); }
  @if(ACCUMULATE) { result[i] = result[i] + sum; }
  @if(!ACCUMULATE) { result[i] = sum; }
}
