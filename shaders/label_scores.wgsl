// scores[n, k] = sqrt(p[c]) * (p[k] - [k == c]) for one class c, `label`: p = softmax(Z[n]) with the row continued by
// `zero_logits` zeros as in softmax_cross_entropy.wgsl.
// Dispatch: one invocation a sample.
import package::dispatch::linear_index;
import package::accurate_exp::exp_nonpositive;

struct Params {
  samples: u32,
  classes: u32,
  zero_logits: u32,
  label: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = linear_index(id, groups);
  if (n >= params.samples) { return; }
  let base = n * params.classes;
  let label = params.label;
  var largest = select(logits[base], max(logits[base], 0.0), params.zero_logits > 0u);
  for (var c = 1u; c < params.classes; c++) {
    largest = max(largest, logits[base + c]);
  }
  // For the label's own entry p - 1 is taken as minus the sum of the others: exact when p is near 1.
  let own = select(0.0, logits[base + min(label, params.classes - 1u)], label < params.classes);
  let zeros = f32(params.zero_logits) - select(1.0, 0.0, label < params.classes);
  var others = zeros * exp_nonpositive(-max(largest, 0.0));
  for (var c = 0u; c < params.classes; c++) {
    others += select(exp_nonpositive(logits[base + c] - largest), 0.0, c == label);
  }
  let total = others + exp_nonpositive(own - largest);
  // The root of p by half the exponent: p itself may be too small a number.
  let scale = exp_nonpositive(0.5 * (own - largest)) / (sqrt(total) * total);
  for (var c = 0u; c < params.classes; c++) {
    scores[base + c] = scale * select(exp_nonpositive(logits[base + c] - largest), -others, c == label);
  }
}
