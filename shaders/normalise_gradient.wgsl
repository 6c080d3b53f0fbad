// Input gradient of normalise.wgsl; inverse = 1 / sqrt(variance + epsilon), xhat = (X - mean) * inverse, and `share` is
// one over the number of entries that share a mean:
//   FIXED (statistics that do not depend on X):  dX = weight * inverse * dY
//   by channel:  dX = weight * inverse * (dY - share * sum of dY - share * xhat * sum of dY * xhat)
//   GROUPS:      dX = inverse * (weight * dY - share * sum of weight * dY - share * xhat * sum of weight * dY * xhat)
// `sums` and `products` hold the two sums. One invocation owns a block of pixels of one channel (or vec4).
// Dispatch: samples * blocks * columns invocations, columns fastest.
import package::dispatch::linear_index;
import package::normalisation::{params, Value, part_at, place_of, mean_at, inverse_at};

@group(0) @binding(3) var<storage, read> gradient: array<Value>;
@group(0) @binding(4) var<storage, read> weight: array<Value>;
@group(0) @binding(5) var<storage, read_write> result: array<Value>;
@if(!FIXED) @group(0) @binding(6) var<storage, read> x: array<Value>;
@if(!FIXED && !GROUPS) @group(0) @binding(7) var<storage, read> sums: array<Value>;
@if(!FIXED && !GROUPS) @group(0) @binding(8) var<storage, read> products: array<Value>;
@if(GROUPS) @group(0) @binding(7) var<storage, read> sums: array<f32>;
@if(GROUPS) @group(0) @binding(8) var<storage, read> products: array<f32>;

@if(GROUPS && !CHANNELS_VEC4) fn sum_at(place: u32) -> Value { return sums[place]; }
@if(GROUPS && !CHANNELS_VEC4) fn product_at(place: u32) -> Value { return products[place]; }
@if(GROUPS && CHANNELS_VEC4) fn sum_at(place: vec4u) -> Value {
  return vec4f(sums[place.x], sums[place.y], sums[place.z], sums[place.w]);
}
@if(GROUPS && CHANNELS_VEC4) fn product_at(place: vec4u) -> Value {
  return vec4f(products[place.x], products[place.y], products[place.z], products[place.w]);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let part = part_at(linear_index(id, groups));
  if (part.sample >= params.samples) { return; }
  let place = place_of(part);
  let inverse = inverse_at(place);
  let scale = inverse * weight[part.column];
  @if(!FIXED) let m = mean_at(place);
  @if(!FIXED && !GROUPS) let offset = scale * params.share * sums[place];
  @if(!FIXED && !GROUPS) let slope = scale * params.share * products[place] * inverse;
  @if(GROUPS) let offset = inverse * params.share * sum_at(place);
  @if(GROUPS) let slope = inverse * params.share * product_at(place) * inverse;
  for (var at = part.start; at < part.end; at += params.columns) {
    @if(FIXED) { result[at] = scale * gradient[at]; }
    @if(!FIXED) { result[at] = (scale * gradient[at] - offset) - (x[at] - m) * slope; }
  }
}
