// Y[n, j, i] = X[n, i, j] for every sample n: NHWC to NCHW with rows = pixels and columns = channels, and back.
// Dispatch: one invocation an element.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  rows: u32,
  columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let size = params.rows * params.columns;
  let within = i % size;
  let row = within % params.rows;
  result[i] = source[i - within + row * params.columns + within / params.rows];
}
