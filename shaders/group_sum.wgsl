// result[n, g] = scale * sum over blocks k and channels c of group g of partial[n, k, c], times weight[c] with WEIGHTED;
// in the order of k, then c.
// Dispatch: one invocation an entry of `result`.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  groups: u32,
  group_channels: u32,
  blocks: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;
@if(WEIGHTED) @group(0) @binding(3) var<storage, read> weight: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let channel = (i % params.groups) * params.group_channels;
  let channels = params.groups * params.group_channels;
  var base = (i / params.groups) * params.blocks * channels + channel;
  var c = 0u;
  var sum = 0.0;
  for (var left = params.blocks * params.group_channels; left > 0u; left--) {
    @if(WEIGHTED) { sum += weight[channel + c] * partial[base + c]; }
    @if(!WEIGHTED) { sum += partial[base + c]; }
    let wraps = c + 1u == params.group_channels;
    c = select(c + 1u, 0u, wraps);
    base += select(0u, channels, wraps);
  }
  result[i] = params.scale * sum;
}
