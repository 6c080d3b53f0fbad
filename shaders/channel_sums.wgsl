// Sums over a block of a sample's pixels p by channel, for statistics and gradients of normalisation:
//   VALUE:     sums[n, k, c] = sum of X[p, c]
//   DEVIATION: sums[n, k, c] = sum of (X[p, c] - mean)^2
//   GRADIENT:  sums[n, k, c] = sum of dY[p, c],    products[n, k, c] = sum of dY[p, c] * (X[p, c] - mean) * inverse
// with inverse = 1 / sqrt(variance + epsilon) by channel or GROUPS (normalisation.wgsl), or with ROWS mean and inverse
// given by pixel. One invocation owns one block of one channel (or vec4).
// Dispatch: samples * blocks * columns invocations, columns fastest.
import package::dispatch::linear_index;
import package::normalisation::{params, Value, part_at, place_of, mean_at, inverse_at};

@group(0) @binding(3) var<storage, read> x: array<Value>;
@if(GRADIENT) @group(0) @binding(4) var<storage, read> gradient: array<Value>;
@group(0) @binding(5) var<storage, read_write> sums: array<Value>;
@if(GRADIENT) @group(0) @binding(6) var<storage, read_write> products: array<Value>;
@if(ROWS) @group(0) @binding(7) var<storage, read> row_mean: array<f32>;
@if(ROWS) @group(0) @binding(8) var<storage, read> row_inverse: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let part = part_at(i);
  if (part.sample >= params.samples) { return; }
  @if(!VALUE && !ROWS) let place = place_of(part);
  @if(!VALUE && !ROWS) let m = mean_at(place);
  @if(ROWS) var row = part.start / params.columns;
  var sum = Value();
  @if(GRADIENT) var product = Value();
  for (var at = part.start; at < part.end; at += params.columns) {
    @if(VALUE) { sum += x[at]; }
    @if(DEVIATION) {
      let deviation = x[at] - m;
      sum += deviation * deviation;
    }
    @if(GRADIENT) {
      let dy = gradient[at];
      sum += dy;
      @if(!ROWS) { product += dy * (x[at] - m); }
      @if(ROWS) {
        product += dy * ((x[at] - row_mean[row]) * row_inverse[row]);
        row++;
      }
    }
  }
  sums[i] = sum;
  @if(GRADIENT && !ROWS) { products[i] = product * inverse_at(place); }
  @if(ROWS) { products[i] = product; }
}
