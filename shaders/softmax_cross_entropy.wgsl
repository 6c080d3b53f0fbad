// losses[n] = log(sum over c of exp(Z[n, c])) - Z[n, labels[n]], shifted by the row's maximum. The row is thought to go
// on with `zero_logits` zeros: the padding of a head that has fewer outputs than the label space.
// GENERAL takes labels smoothed by s and class weights w over all C classes, those zeros among them:
//   losses[n] = (1 - s) w[labels[n]] nll[n, labels[n]] + smoothing * sum over c of w[c] nll[n, c],  smoothing = s / C,
// where nll[n, c] is the plain loss with label c.
// A NaN or infinite logit gives a NaN loss (by bit test: builtins lose NaNs on some adapters).
// Dispatch: one invocation a sample.
import package::dispatch::linear_index;
import package::accurate_log::log1p;

struct Params {
  samples: u32,
  classes: u32,
  zero_logits: u32,
  nan_bits: u32,
  @if(GENERAL) own_share: f32,
  @if(GENERAL) smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@if(GENERAL) @group(0) @binding(4) var<storage, read> weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = linear_index(id, groups);
  if (n >= params.samples) { return; }
  let base = n * params.classes;
  var largest = logits[base];
  var at = 0u;
  var finite = true;
  for (var c = 0u; c < params.classes; c++) {
    let z = logits[base + c];
    finite = finite & ((bitcast<u32>(z) & 0x7f800000u) != 0x7f800000u);
    let better = z > largest;
    largest = select(largest, z, better);
    at = select(at, c, better);
  }
  let padded = (params.zero_logits > 0u) & (largest < 0.0);
  largest = select(largest, 0.0, padded);
  at = select(at, params.classes, padded);
  var rest = (f32(params.zero_logits) - select(0.0, 1.0, padded)) * exp(-largest);
  for (var c = 0u; c < params.classes; c++) {
    rest += select(exp(logits[base + c] - largest), 0.0, c == at);
  }
  let label = labels[n];
  let own = select(0.0, logits[base + min(label, params.classes - 1u)], label < params.classes);
  @if(!GENERAL) let loss = log1p(rest) + (largest - own);
  @if(GENERAL) var loss = params.own_share * weights[label] * (log1p(rest) + (largest - own));
  @if(GENERAL) {
    var weighted = 0.0;
    for (var c = 0u; c < params.classes + params.zero_logits; c++) {
      let z = select(0.0, logits[base + min(c, params.classes - 1u)], c < params.classes);
      weighted += weights[c] * (log1p(rest) + (largest - z));
    }
    loss += params.smoothing * weighted;
  }
  losses[n] = select(bitcast<f32>(params.nan_bits), loss, finite);
}
