// Gradient of a bias that is added along the last axis, per chunk of consecutive samples:
//   plain:  G[c] = sum over n of g_n[c],    g_n[c] = sum over pixels p of n of dY[p, c]
//   FISHER: F[c] = sum over n of g_n[c]^2
// samples_per_chunk = 1 gives explicit per-sample gradients. Chunks are added by partial_sum.wgsl.
// Dispatch: chunks * channels invocations, channels fastest.
import package::dispatch::linear_index;

struct Params {
  channels: u32,
  pixels: u32,
  samples: u32,
  samples_per_chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let first = (i / params.channels) * params.samples_per_chunk;
  if (first >= params.samples) { return; }
  let last = min(first + params.samples_per_chunk, params.samples);
  var total = 0.0;
  for (var n = first; n < last; n++) {
    var sum = 0.0;
    var at = n * params.pixels * params.channels + i % params.channels;
    for (var p = 0u; p < params.pixels; p++) {
      sum += gradient[at];
      at += params.channels;
    }
    @if(FISHER) { total += sum * sum; }
    @if(!FISHER) { total += sum; }
  }
  partial[i] = total;
}
