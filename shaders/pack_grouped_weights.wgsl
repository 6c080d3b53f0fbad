// Weights W[out, in / groups, ky, kx] (PyTorch's layout) in the order in which grouped_convolution.wgsl reads them,
// columns fastest:
//   forward:                 packed[(ky, kx, s), o] = W[o, s, ky, kx]
//   FLIPPED (input gradient): packed[(ky, kx, s), i] = W[g * source_group + s, i % column_group,
//                                                       kernel_height - 1 - ky, kernel_width - 1 - kx], g = i's group
// Dispatch: one invocation a weight.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  columns: u32,
  taps: u32,
  source_group: u32,
  column_group: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let column = i % params.columns;
  let k = i / params.columns;
  let s = k % params.source_group;
  let tap = k / params.source_group;
  @if(!FLIPPED) { packed[i] = weights[(column * params.source_group + s) * params.taps + tap]; }
  @if(FLIPPED) {
    let o = (column / params.column_group) * params.source_group + s;
    let row = o * params.column_group + column % params.column_group;
    packed[i] = weights[(row + 1u) * params.taps - 1u - tap];
  }
}
