// Y[p, c] = (X[p, c] - mean) / sqrt(variance + epsilon) * weight[c] + bias[c], statistics by channel or, with GROUPS, by
// sample and group (normalisation.wgsl). One invocation owns a block of pixels of one channel (or vec4).
// Dispatch: samples * blocks * columns invocations, columns fastest.
import package::dispatch::linear_index;
import package::normalisation::{params, Value, part_at, place_of, mean_at, inverse_at};

@group(0) @binding(3) var<storage, read> x: array<Value>;
@group(0) @binding(4) var<storage, read> weight: array<Value>;
@group(0) @binding(5) var<storage, read> bias: array<Value>;
@group(0) @binding(6) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let part = part_at(linear_index(id, groups));
  if (part.sample >= params.samples) { return; }
  let place = place_of(part);
  let m = mean_at(place);
  let scale = inverse_at(place) * weight[part.column];
  let offset = bias[part.column];
  for (var at = part.start; at < part.end; at += params.columns) {
    result[at] = (x[at] - m) * scale + offset;
  }
}
