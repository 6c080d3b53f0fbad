// Threefry-2x32, 20 rounds (Salmon et al. 2011): words 2j and 2j + 1 are the block of counter (start + j, 0) under
// key (seed, stream). Integers only, so the bits equal those of engine/random.ts on every adapter.
// Dispatch: one invocation a pair of words.
import package::dispatch::linear_index;

struct Params {
  pairs: u32,
  seed: u32,
  stream: u32,
  start: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec2u>;

fn rotate(x: u32, bits: u32) -> u32 {
  return (x << bits) | (x >> (32u - bits));
}

fn mix(v: vec2u, bits: u32) -> vec2u {
  let sum = v.x + v.y;
  return vec2u(sum, rotate(v.y, bits) ^ sum);
}

fn even_rounds(v: vec2u) -> vec2u {
  return mix(mix(mix(mix(v, 13u), 15u), 26u), 6u);
}

fn odd_rounds(v: vec2u) -> vec2u {
  return mix(mix(mix(mix(v, 17u), 29u), 16u), 24u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let j = linear_index(id, groups);
  if (j >= params.pairs) { return; }
  let k0 = params.seed;
  let k1 = params.stream;
  let k2 = 0x1bd11bdau ^ k0 ^ k1;
  var v = vec2u(params.start + j + k0, k1);
  v = even_rounds(v) + vec2u(k1, k2 + 1u);
  v = odd_rounds(v) + vec2u(k2, k0 + 2u);
  v = even_rounds(v) + vec2u(k0, k1 + 3u);
  v = odd_rounds(v) + vec2u(k1, k2 + 4u);
  v = even_rounds(v) + vec2u(k2, k0 + 5u);
  result[j] = v;
}
