// Packed weight gradients (weight_gradient.wgsl) in PyTorch's layout, each result the sum of `chunks` lanes in order:
//   result[r, o, i, tap] = sum over c of packed[r * chunks + c, k = (tap, i), o]
// Dispatch: one invocation a vec4 of output channels of each (r, k).
import package::dispatch::linear_index;

struct Params {
  count: u32,
  chunks: u32,
  rows: u32,
  in_channels: u32,
  out_channels: u32,
  taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> packed: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = linear_index(id, groups);
  if (index >= params.count) { return; }
  let columns4 = (params.out_channels + 3u) / 4u;
  let column4 = index % columns4;
  let depth = params.taps * params.in_channels;
  let k = (index / columns4) % depth;
  let r = index / (columns4 * depth);
  var at = (r * params.chunks * params.rows + k) * columns4 + column4;
  var sum = vec4f();
  for (var c = 0u; c < params.chunks; c++) {
    sum += packed[at];
    at += params.rows * columns4;
  }
  let o = 4u * column4;
  let to = ((r * params.out_channels + o) * params.in_channels + k % params.in_channels) * params.taps
    + k / params.in_channels;
  result[to] = sum.x;
  if (o + 1u < params.out_channels) { result[to + depth] = sum.y; }
  if (o + 2u < params.out_channels) { result[to + 2u * depth] = sum.z; }
  if (o + 3u < params.out_channels) { result[to + 3u * depth] = sum.w; }
}
