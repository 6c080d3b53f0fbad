// Input gradient of layer_norm.wgsl, with xhat = (X - mean) * inverse and share = 1 / channels:
//   dX = inverse * (weight * dY - share * sum of weight * dY - share * xhat * sum of weight * dY * xhat), sums over the row.
// One invocation owns a row. With CHANNELS_VEC4 `columns` counts vec4s.
// Dispatch: one invocation a row.
import package::dispatch::linear_index;
import package::normalisation::{Value, total};

struct Params {
  rows: u32,
  columns: u32,
  share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> weight: array<Value>;
@group(0) @binding(3) var<storage, read> gradient: array<Value>;
@group(0) @binding(4) var<storage, read_write> result: array<Value>;
@group(0) @binding(5) var<storage, read> row_mean: array<f32>;
@group(0) @binding(6) var<storage, read> row_inverse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = linear_index(id, groups);
  if (row >= params.rows) { return; }
  let base = row * params.columns;
  let mean = row_mean[row];
  let inverse = row_inverse[row];
  var sum = Value();
  var product = Value();
  for (var c = 0u; c < params.columns; c++) {
    let g = weight[c] * gradient[base + c];
    sum += g;
    product += g * (x[base + c] - mean);
  }
  let offset = inverse * params.share * total(sum);
  let slope = inverse * params.share * total(product) * inverse * inverse;
  for (var c = 0u; c < params.columns; c++) {
    let g = inverse * weight[c] * gradient[base + c];
    result[base + c] = (g - offset) - (x[base + c] - mean) * slope;
  }
}
