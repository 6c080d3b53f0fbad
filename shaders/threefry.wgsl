// Threefry-2x32, 20 rounds (Salmon et al. 2011): a keyed bijection of pairs of words. Integers only, so the bits equal
// those of engine/random.ts on every adapter.

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

/// The pair of words of counter (counter, 0) under key (seed, stream).
fn threefry(seed: u32, stream: u32, counter: u32) -> vec2u {
  let k2 = 0x1bd11bdau ^ seed ^ stream;
  var v = vec2u(counter + seed, stream);
  v = even_rounds(v) + vec2u(stream, k2 + 1u);
  v = odd_rounds(v) + vec2u(k2, seed + 2u);
  v = even_rounds(v) + vec2u(seed, stream + 3u);
  v = odd_rounds(v) + vec2u(stream, k2 + 4u);
  v = even_rounds(v) + vec2u(k2, seed + 5u);
  return v;
}
