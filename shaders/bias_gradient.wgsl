// Gradient of a bias that is added along the last axis, per lane of samples:
//   plain:  G[c] = sum over n of g_n[c],    g_n[c] = sum over pixels p of n of dY[p, c]
//   FISHER: F[c] = sum over n of g_n[c]^2
// RECTIFIED: dY passes only where the rectified output is positive.
// n = lane, lane + lanes, ...; a lane a sample gives explicit per-sample gradients. With ACCUMULATE a lane starts from
// what it holds; `first_lane` is the lane of sample 0. Lanes are added by partial_sum.wgsl.
// Dispatch: lanes * channels invocations, channels fastest; with CHANNELS_VEC4 `channels` counts vec4s.
import package::dispatch::linear_index;

struct Params {
  channels: u32,
  pixels: u32,
  samples: u32,
  first_lane: u32,
  lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

@group(0) @binding(1) var<storage, read> gradient: array<Value>;
@group(0) @binding(2) var<storage, read_write> partial: array<Value>;
@if(RECTIFIED) @group(0) @binding(3) var<storage, read> rectified: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let lane = i / params.channels;
  if (lane >= params.lanes) { return; }
  let first = lane - params.first_lane + select(0u, params.lanes, lane < params.first_lane);
  @if(ACCUMULATE) var total = partial[i];
  @if(!ACCUMULATE) var total = Value();
  for (var n = first; n < params.samples; n += params.lanes) {
    var sum = Value();
    var at = n * params.pixels * params.channels + i % params.channels;
    for (var p = 0u; p < params.pixels; p++) {
      @if(!RECTIFIED) { sum += gradient[at]; }
      @if(RECTIFIED) { sum += select(Value(), gradient[at], rectified[at] > Value()); }
      at += params.channels;
    }
    @if(FISHER) { total += sum * sum; }
    @if(!FISHER) { total += sum; }
  }
  partial[i] = total;
}
