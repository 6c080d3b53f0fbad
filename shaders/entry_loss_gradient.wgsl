// dX[i] = scale * upstream[sample of i] * d loss(X, T) / dX, for the losses of entry_loss.wgsl:
//   SQUARED   2 (X - T)      ABSOLUTE  sign(X - T), 0 at 0      LOGISTIC  1 / (1 + exp(-X)) - T
// Samples are counted from `first`; without SCALAR `size` counts vec4s.
// Dispatch: one invocation an entry (or vec4).
import package::dispatch::linear_index;
import package::accurate_exp::Real;
import package::activation::sigmoid;

struct Params {
  count: u32,
  size: u32,
  first: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> predictions: array<Real>;
@group(0) @binding(2) var<storage, read> targets: array<Real>;
@group(0) @binding(3) var<storage, read> upstream: array<f32>;
@group(0) @binding(4) var<storage, read_write> result: array<Real>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let factor = params.scale * upstream[params.first + i / params.size];
  let x = predictions[i];
  let target_value = targets[i];
  @if(SQUARED) { result[i] = factor * (2.0 * (x - target_value)); }
  @if(ABSOLUTE) {
    let d = x - target_value;
    result[i] = factor * (select(Real(), Real(1.0), d > Real()) - select(Real(), Real(1.0), d < Real()));
  }
  @if(LOGISTIC) {
    // s - T, with the digits of a saturated s kept.
    result[i] = factor * ((1.0 - target_value) * sigmoid(x) - target_value * sigmoid(-x));
  }
}
