// Y[r, c] = (X[r, c] - mean[r]) * inverse[r] * weight[c] + bias[c], mean over the row's channels,
// inverse = 1 / sqrt(mean of (X - mean)^2 + epsilon); both are kept for the gradient. One invocation owns a row: three
// loops over it, of which the first brings it into the cache. With CHANNELS_VEC4 `columns` counts vec4s.
// Dispatch: one invocation a row.
import package::dispatch::linear_index;
import package::normalisation::{Value, total};

struct Params {
  rows: u32,
  columns: u32,
  share: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Value>;
@group(0) @binding(2) var<storage, read> weight: array<Value>;
@group(0) @binding(3) var<storage, read> bias: array<Value>;
@group(0) @binding(4) var<storage, read_write> result: array<Value>;
@group(0) @binding(5) var<storage, read_write> row_mean: array<f32>;
@group(0) @binding(6) var<storage, read_write> row_inverse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = linear_index(id, groups);
  if (row >= params.rows) { return; }
  let base = row * params.columns;
  var sum = Value();
  for (var c = 0u; c < params.columns; c++) {
    sum += x[base + c];
  }
  let mean = params.share * total(sum);
  var squares = Value();
  for (var c = 0u; c < params.columns; c++) {
    let deviation = x[base + c] - mean;
    squares += deviation * deviation;
  }
  let inverse = 1.0 / sqrt(params.share * total(squares) + params.epsilon);
  for (var c = 0u; c < params.columns; c++) {
    result[base + c] = (x[base + c] - mean) * inverse * weight[c] + bias[c];
  }
  row_mean[row] = mean;
  row_inverse[row] = inverse;
}
