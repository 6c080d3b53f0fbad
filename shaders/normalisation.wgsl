// What the kernels of normalisation share: an input as rows of channels (a pixel is a row), a sample's rows cut into
// blocks of `block`, and where the statistics of an entry lie.
//   by channel (batch normalisation): mean[c], variance[c]
//   GROUPS: mean[n * groups + c / group_channels], variance likewise, n counted over the whole batch: `first_sample`
//   is that of the tensors bound by sample
// With CHANNELS_VEC4 (channels % 4 == 0) a Value is four channels and `columns` counts those.

@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

struct Params {
  samples: u32,
  first_sample: u32,
  pixels: u32,
  columns: u32,
  block: u32,
  blocks: u32,
  groups: u32,
  group_channels: u32,
  share: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(!GROUPS) @group(0) @binding(1) var<storage, read> mean: array<Value>;
@if(!GROUPS) @group(0) @binding(2) var<storage, read> variance: array<Value>;
@if(GROUPS) @group(0) @binding(1) var<storage, read> mean: array<f32>;
@if(GROUPS) @group(0) @binding(2) var<storage, read> variance: array<f32>;

/// One invocation's part: the entries from `start` below `end`, `columns` apart.
struct Part {
  sample: u32,
  column: u32,
  start: u32,
  end: u32,
}

fn part_at(i: u32) -> Part {
  let block = i / params.columns;
  let sample = block / params.blocks;
  let column = i % params.columns;
  let row = sample * params.pixels + (block % params.blocks) * params.block;
  let last = min(row + params.block, (sample + 1u) * params.pixels);
  return Part(sample, column, row * params.columns + column, last * params.columns);
}

/// Where the statistics of a part lie.
@if(!GROUPS) fn place_of(part: Part) -> u32 { return part.column; }
@if(GROUPS && !CHANNELS_VEC4) fn place_of(part: Part) -> u32 {
  return (params.first_sample + part.sample) * params.groups + part.column / params.group_channels;
}
@if(GROUPS && CHANNELS_VEC4) fn place_of(part: Part) -> vec4u {
  let channels = 4u * part.column + vec4u(0u, 1u, 2u, 3u);
  return (params.first_sample + part.sample) * params.groups + channels / params.group_channels;
}

@if(!GROUPS || !CHANNELS_VEC4) fn mean_at(place: u32) -> Value { return mean[place]; }
@if(GROUPS && CHANNELS_VEC4) fn mean_at(place: vec4u) -> Value {
  return vec4f(mean[place.x], mean[place.y], mean[place.z], mean[place.w]);
}

/// 1 / sqrt(variance + epsilon)
@if(!GROUPS || !CHANNELS_VEC4) fn inverse_at(place: u32) -> Value {
  return 1.0 / sqrt(variance[place] + params.epsilon);
}
@if(GROUPS && CHANNELS_VEC4) fn inverse_at(place: vec4u) -> Value {
  let found = vec4f(variance[place.x], variance[place.y], variance[place.z], variance[place.w]);
  return 1.0 / sqrt(found + params.epsilon);
}

/// Sum over a Value's channels.
@if(CHANNELS_VEC4) fn total(value: Value) -> f32 { return (value.x + value.y) + (value.z + value.w); }
@if(!CHANNELS_VEC4) fn total(value: Value) -> f32 { return value; }
