// result[p, to + c] = source[p, from + c] for the first `copied` channels c of every pixel p: concatenation along the
// channels, an input a dispatch, and its gradients. With CHANNELS_VEC4 all counts and offsets are in vec4s.
// Dispatch: one invocation an element (or vec4) that is copied.
import package::dispatch::linear_index;

@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

struct Params {
  count: u32,
  copied: u32,
  source_channels: u32,
  source_offset: u32,
  result_channels: u32,
  result_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<Value>;
@group(0) @binding(2) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let pixel = i / params.copied;
  let channel = i - pixel * params.copied;
  let value = source[pixel * params.source_channels + params.source_offset + channel];
  result[pixel * params.result_channels + params.result_offset + channel] = value;
}
