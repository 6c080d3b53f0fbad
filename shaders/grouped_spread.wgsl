// The input gradient of a grouped convolution whose stride is more than 1: the convolution of
// grouped_convolution.wgsl over an image spread out by `spread` (the stride), zeros between its pixels:
//   Y[p, i] = sum over k = (ky, kx, s) of X[(y, x) / spread, channel s of i's group] * W[k, i]
//   y = oy - padding_y + ky * dilation, x likewise; only taps at which both are multiples of `spread` count
// Those taps lie `tap_step` = spread / gcd(spread, dilation) apart, and their pixels `pixel_step`. `lead_y` is
// spread * back_y - padding_y, not negative, so that `back_y` is taken off again after the division; x likewise.
// COLUMNS_VEC4, DEPTHWISE: as there.
// Tiling: one column (or vec4) x four pixels of a line, `spread` apart, so that they share taps and weights.
// Dispatch: lines * tiles * columns invocations, columns fastest; tiles = spread * ceil(ceil(width / spread) / 4).
import package::dispatch::linear_index;

@if(COLUMNS_VEC4) alias Value = vec4f;
@if(!COLUMNS_VEC4) alias Value = f32;
@if(DEPTHWISE) alias Source = vec4f;
@if(!DEPTHWISE) alias Source = f32;

struct Params {
  count: u32,
  columns: u32,
  tiles: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  dilation: u32,
  spread: u32,
  tap_step: u32,
  pixel_step: u32,
  lead_y: u32,
  lead_x: u32,
  back_y: u32,
  back_x: u32,
  source_group: u32,
  column_group: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> image: array<Source>;
@group(0) @binding(2) var<storage, read> weights: array<Value>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

/// The first tap from `origin` that meets a pixel; `size`, the kernel's, if none does.
fn first_tap(origin: u32, size: u32) -> u32 {
  var first = size;
  for (var k = 0u; k < params.tap_step; k++) {
    first = select(first, k, (origin + k * params.dilation) % params.spread == 0u);
  }
  return min(first, size);
}

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
  let ox = tile % params.spread + (tile / params.spread) * params.spread * 4u;
  let origin_y = line % params.out_height + params.lead_y;
  let origin_x = ox + params.lead_x;
  let base = (line / params.out_height) * params.height;
  let first_y = first_tap(origin_y, params.kernel_height);
  let first_x = first_tap(origin_x, params.kernel_width);
  let taps_y = (params.kernel_height - first_y + params.tap_step - 1u) / params.tap_step;
  let taps_x = (params.kernel_width - first_x + params.tap_step - 1u) / params.tap_step;
  let left = (origin_x + first_x * params.dilation) / params.spread - params.back_x;
  @if(DEPTHWISE) let first = column;
  @if(!DEPTHWISE) let first = (column / params.column_group) * params.source_group;

  var y = (origin_y + first_y * params.dilation) / params.spread - params.back_y;
  var x = left;
  var taps = first_y * params.kernel_width;
  var kx = first_x;
  var s = 0u;
  var a0 = Value();
  var a1 = Value();
  var a2 = Value();
  var a3 = Value();
  for (var k = taps_y * taps_x * params.source_group; k > 0u; k--) {
    let w = weights[((taps + kx) * params.source_group + s) * params.columns + column];
    let ok = y < params.height;
    a0 += w * load(base + y, ok, x, first + s);
    a1 += w * load(base + y, ok, x + 1u, first + s);
    a2 += w * load(base + y, ok, x + 2u, first + s);
    a3 += w * load(base + y, ok, x + 3u, first + s);

    s += 1u;
    let next_tap = s == params.source_group;
    s = select(s, 0u, next_tap);
    kx += select(0u, params.tap_step, next_tap);
    x += select(0u, params.pixel_step, next_tap);
    let wraps = kx >= params.kernel_width;
    kx = select(kx, first_x, wraps);
    x = select(x, left, wraps);
    taps += select(0u, params.tap_step * params.kernel_width, wraps);
    y += select(0u, params.pixel_step, wraps);
  }

  let to = (line * params.out_width + ox) * params.columns + column;
  let step = params.spread * params.columns;
  if (ox < params.out_width) { result[to] = a0; }
  if (ox + params.spread < params.out_width) { result[to + step] = a1; }
  if (ox + 2u * params.spread < params.out_width) { result[to + 2u * step] = a2; }
  if (ox + 3u * params.spread < params.out_width) { result[to + 3u * step] = a3; }
}
