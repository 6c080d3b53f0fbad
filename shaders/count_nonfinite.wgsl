// counts[t] = how many of the t-th run of `run` entries are NaN or infinite, by their bits: comparisons with NaN
// are folded away or wrong on some adapters.
// Dispatch: one invocation a run.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  run: u32,
  runs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = linear_index(id, groups);
  if (t >= params.runs) { return; }
  let last = min((t + 1u) * params.run, params.count);
  var found = 0u;
  for (var i = t * params.run; i < last; i++) {
    found += select(0u, 1u, (source[i] & 0x7f800000u) == 0x7f800000u);
  }
  counts[t] = found;
}
