// Words 2j and 2j + 1 of a random stream: the Threefry block of counter (start + j, 0) under key (seed, stream).
// Dispatch: one invocation a pair of words.
import package::dispatch::linear_index;
import package::threefry::threefry;

struct Params {
  pairs: u32,
  seed: u32,
  stream: u32,
  start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec2u>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let j = linear_index(id, groups);
  if (j >= params.pairs) { return; }
  result[j] = threefry(params.seed, params.stream, params.start + j);
}
