// labels[n] = the smallest c whose p[0] + ... + p[c] exceeds uniforms[n], p = softmax(Z[n]) with the row continued by
// `zero_logits` zeros as in softmax_cross_entropy.wgsl; the last class where rounding leaves none.
// Dispatch: one invocation a sample.
import package::dispatch::linear_index;
import package::accurate_exp::exp_nonpositive;

struct Params {
  samples: u32,
  classes: u32,
  zero_logits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> uniforms: array<f32>;
@group(0) @binding(3) var<storage, read_write> labels: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = linear_index(id, groups);
  if (n >= params.samples) { return; }
  let base = n * params.classes;
  var largest = select(logits[base], max(logits[base], 0.0), params.zero_logits > 0u);
  for (var c = 1u; c < params.classes; c++) {
    largest = max(largest, logits[base + c]);
  }
  let zero_power = exp_nonpositive(-max(largest, 0.0));
  var total = f32(params.zero_logits) * zero_power;
  for (var c = 0u; c < params.classes; c++) {
    total += exp_nonpositive(logits[base + c] - largest);
  }
  let goal = uniforms[n] * total;
  // Counts the classes at which the cumulative sum has not yet passed the goal.
  var label = 0u;
  var cumulative = 0.0;
  for (var c = 0u; c < params.classes; c++) {
    cumulative += exp_nonpositive(logits[base + c] - largest);
    label += select(1u, 0u, cumulative > goal);
  }
  for (var c = 0u; c < params.zero_logits; c++) {
    cumulative += zero_power;
    label += select(1u, 0u, cumulative > goal);
  }
  labels[n] = min(label, params.classes + params.zero_logits - 1u);
}
