// A convolution whose channels fall into groups, summed directly:
//   Y[p, o] = sum over k = (ky, kx, s) of X[pixel of p at tap (ky, kx), channel s of o's group] * W[k, o]
//   pixel: y = oy * stride - padding_y + ky * dilation, x likewise, 0 outside the image
// The input gradient of a layer with stride 1 reads the output gradient and weights that are packed FLIPPED
// (pack_grouped_weights.wgsl); with a larger stride it is grouped_spread.wgsl.
// COLUMNS_VEC4: four output channels of one group at a time. DEPTHWISE (one channel a group, channels % 4 == 0): four
// groups at a time, `channels` counts vec4s.
// Tiling: one column (or vec4) x one pixel, or with PIXELS_4 four pixels of a line, which share weights and indices.
// Dispatch: lines * tiles * columns invocations, columns fastest.
import package::dispatch::linear_index;

@if(COLUMNS_VEC4) alias Value = vec4f;
@if(!COLUMNS_VEC4) alias Value = f32;
@if(DEPTHWISE) alias Source = vec4f;
@if(!DEPTHWISE) alias Source = f32;

struct Params {
  count: u32,
  columns: u32,
  tiles: u32,
  steps: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
  kernel_width: u32,
  stride: u32,
  dilation: u32,
  padding_y: u32,
  padding_x: u32,
  source_group: u32,
  column_group: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<Source>;
@group(0) @binding(2) var<storage, read> weights: array<Value>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

fn load(line: u32, line_ok: bool, x: u32, channel: u32) -> Source {
  let ok = line_ok & (x < params.width);
  return select(Source(), image[select(0u, (line * params.width + x) * params.channels + channel, ok)], ok);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let column = i % params.columns;
  let tile = (i / params.columns) % params.tiles;
  let line = i / (params.columns * params.tiles);
  @if(PIXELS_4) let ox = 4u * tile;
  @if(!PIXELS_4) let ox = tile;
  var y = (line % params.out_height) * params.stride - params.padding_y;
  let left = ox * params.stride - params.padding_x;
  let right = left + params.kernel_width * params.dilation;
  let base = (line / params.out_height) * params.height;
  @if(DEPTHWISE) let first = column;
  @if(!DEPTHWISE) let first = (column / params.column_group) * params.source_group;

  var a0 = Value();
  @if(PIXELS_4) var a1 = Value();
  @if(PIXELS_4) var a2 = Value();
  @if(PIXELS_4) var a3 = Value();
  var x = left;
  var at = column;
  @if(!DEPTHWISE) var s = 0u;
  for (var k = params.steps; k > 0u; k--) {
    let ok = y < params.height;
    @if(DEPTHWISE) let channel = first;
    @if(!DEPTHWISE) let channel = first + s;
    let w = weights[at];
    a0 += w * load(base + y, ok, x, channel);
    @if(PIXELS_4) a1 += w * load(base + y, ok, x + params.stride, channel);
    @if(PIXELS_4) a2 += w * load(base + y, ok, x + 2u * params.stride, channel);
    @if(PIXELS_4) a3 += w * load(base + y, ok, x + 3u * params.stride, channel);

    at += params.columns;
    @if(DEPTHWISE) x += params.dilation;
    @if(!DEPTHWISE) {
      s += 1u;
      let next_tap = s == params.source_group;
      s = select(s, 0u, next_tap);
      x += select(0u, params.dilation, next_tap);
    }
    let wraps = x == right;
    x = select(x, left, wraps);
    y += select(0u, params.dilation, wraps);
  }

  let to = (line * params.out_width + ox) * params.columns + column;
  result[to] = a0;
  @if(PIXELS_4) {
    if (ox + 1u < params.out_width) { result[to + params.columns] = a1; }
    if (ox + 2u < params.out_width) { result[to + 2u * params.columns] = a2; }
    if (ox + 3u < params.out_width) { result[to + 3u * params.columns] = a3; }
  }
}
