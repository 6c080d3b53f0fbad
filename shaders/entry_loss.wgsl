// partial[first * runs + t] = scale * sum over the t-th run of up to `run` entries of a sample of loss(X, T), in order:
//   SQUARED   (X - T)^2                  ABSOLUTE  |X - T|
//   LOGISTIC  -T log(s) - (1 - T) log(1 - s) of s = 1 / (1 + exp(-X))
// Runs do not cross from one sample, of `size` entries, to the next. Without SCALAR `size` and `run` count vec4s.
// Dispatch: one invocation a run, `runs` of them a sample.
import package::dispatch::linear_index;
import package::accurate_exp::{Real, exp_nonpositive};
import package::accurate_log::log1p;

struct Params {
  count: u32,
  size: u32,
  run: u32,
  runs: u32,
  first: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> predictions: array<Real>;
@group(0) @binding(2) var<storage, read> targets: array<Real>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = linear_index(id, groups);
  if (t >= params.count) { return; }
  let n = t / params.runs;
  let start = n * params.size + (t - n * params.runs) * params.run;
  let end = min(start + params.run, (n + 1u) * params.size);
  var sum = Real();
  for (var i = start; i < end; i++) {
    let x = predictions[i];
    let target_value = targets[i];
    @if(SQUARED) {
      let d = x - target_value;
      sum += d * d;
    }
    @if(ABSOLUTE) { sum += abs(x - target_value); }
    @if(LOGISTIC) {
      // log(1 + exp(-|x|)), and what is left of the larger of 0 and x: no difference of large numbers.
      let e = exp_nonpositive(-abs(x));
      sum += select(-x * target_value, x * (1.0 - target_value), x >= Real());
      @if(SCALAR) { sum += log1p(e); }
      @if(!SCALAR) { sum += vec4f(log1p(e.x), log1p(e.y), log1p(e.z), log1p(e.w)); }
    }
  }
  @if(SCALAR) let total = sum;
  @if(!SCALAR) let total = (sum.x + sum.y) + (sum.z + sum.w);
  partial[params.first * params.runs + t] = params.scale * total;
}
