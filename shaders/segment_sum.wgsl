// partial[t] = scale * sum of the t-th run of `run` consecutive entries, in order.
// Two passes (the second with one run) reduce a tensor to a scalar in a fixed order.
// Dispatch: one invocation a run.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  run: u32,
  runs: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = linear_index(id, groups);
  if (t >= params.runs) { return; }
  let last = min((t + 1u) * params.run, params.count);
  var sum = 0.0;
  for (var i = t * params.run; i < last; i++) {
    sum += source[i];
  }
  partial[t] = params.scale * sum;
}
