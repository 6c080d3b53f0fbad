// dZ[n, c] = upstream[n] * (softmax(Z[n])[c] - [c == labels[n]]), the row continued by `zero_logits` zeros as in
// softmax_cross_entropy.wgsl. GENERAL, with its smoothed labels and class weights and W their sum:
//   dZ[n, c] = upstream[n] * ((1 - s) w[labels[n]] (p[c] - [c == labels[n]]) + smoothing * (W p[c] - w[c]))
// Dispatch: one invocation a sample.
import package::dispatch::linear_index;

struct Params {
  samples: u32,
  classes: u32,
  zero_logits: u32,
  @if(GENERAL) own_share: f32,
  @if(GENERAL) smoothing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<f32>;
@if(GENERAL) @group(0) @binding(5) var<storage, read> weights: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = linear_index(id, groups);
  if (n >= params.samples) { return; }
  let base = n * params.classes;
  let label = labels[n];
  var largest = select(logits[base], max(logits[base], 0.0), params.zero_logits > 0u);
  for (var c = 1u; c < params.classes; c++) {
    largest = max(largest, logits[base + c]);
  }
  // For the label's own entry p - 1 is taken as minus the sum of the others: exact when p is near 1.
  let own = select(0.0, logits[base + min(label, params.classes - 1u)], label < params.classes);
  let zeros = f32(params.zero_logits) - select(1.0, 0.0, label < params.classes);
  var others = zeros * exp(-largest);
  for (var c = 0u; c < params.classes; c++) {
    others += select(exp(logits[base + c] - largest), 0.0, c == label);
  }
  let scale = upstream[n] / (others + exp(own - largest));
  @if(GENERAL) let own_scale = scale * params.own_share * weights[label];
  @if(GENERAL) var all_weights = 0.0;
  @if(GENERAL) {
    for (var c = 0u; c < params.classes + params.zero_logits; c++) { all_weights += weights[c]; }
  }
  for (var c = 0u; c < params.classes; c++) {
    @if(!GENERAL) { result[base + c] = scale * select(exp(logits[base + c] - largest), -others, c == label); }
    @if(GENERAL) {
      let power = exp(logits[base + c] - largest);
      let smooth_part = scale * all_weights * power - upstream[n] * weights[c];
      result[base + c] = own_scale * select(power, -others, c == label) + params.smoothing * smooth_part;
    }
  }
}
