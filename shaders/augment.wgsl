// Y[n, y, x, c] = X[n, y + dy - padding, x' + dx - padding, c], 0 outside the image, where x' = x or, in a flipped
// image, width - 1 - x. Of the two random words of image n:
//   dy = floor(high half of word 0 * span / 2^16),  dx = floor(low half of word 0 * span / 2^16),  span = 2 padding + 1;
//   it is flipped if `flip` and the top bit of word 1 is set.
// With CHANNELS_VEC4 (channels % 4 == 0) `channels` counts vec4s.
// Dispatch: one invocation an element (or vec4).
import package::dispatch::linear_index;

@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

struct Params {
  count: u32,
  first: u32,
  height: u32,
  width: u32,
  channels: u32,
  padding: u32,
  flip: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> images: array<Value>;
@group(0) @binding(2) var<storage, read> words: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let line = pixel / params.width;
  let column = pixel % params.width;
  let n = line / params.height;
  let word = words[params.first + n];
  let span = 2u * params.padding + 1u;
  let dy = ((word.x >> 16u) * span) >> 16u;
  let dx = ((word.x & 0xffffu) * span) >> 16u;
  let flipped = (params.flip & (word.y >> 31u)) == 1u;
  // Coordinates before the image wrap round to large numbers.
  let y = line % params.height + dy - params.padding;
  let x = select(column, params.width - 1u - column, flipped) + dx - params.padding;
  let inside = (y < params.height) & (x < params.width);
  let at = ((n * params.height + y) * params.width + x) * params.channels + c;
  result[i] = select(Value(), images[select(0u, at, inside)], inside);
}
