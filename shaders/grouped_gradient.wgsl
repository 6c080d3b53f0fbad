// What the register and tiled kernels of a grouped convolution's weight gradient share: patches of the input, the
// output gradient, and the lanes, as weight_gradient.wgsl has them: sums of the samples lane, lane + lanes, ..., each
// in PyTorch's layout [out, in / groups, ky, kx]; with ACCUMULATE a lane starts from what it holds.
// COLUMNS_VEC4: four output channels of one group at a time. DEPTHWISE (one channel a group, channels % 4 == 0): four
// groups at a time, `channels` counts vec4s.

@if(COLUMNS_VEC4) alias Value = vec4f;
@if(!COLUMNS_VEC4) alias Value = f32;
@if(DEPTHWISE) alias Source = vec4f;
@if(!DEPTHWISE) alias Source = f32;

struct Params {
  samples: u32,
  first_lane: u32,
  lanes: u32,
  columns: u32,
  steps: u32,
  size: u32,
  taps: u32,
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
@group(0) @binding(2) var<storage, read> gradient: array<Value>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

/// The k-th weight of a column, k = (s, ky, kx) in PyTorch's order: its tap, and its place in an image of one pixel.
struct Tap {
  y: u32,
  x: u32,
  offset: u32,
}

/// Past the last k the last.
fn tap_at(k: u32, column: u32) -> Tap {
  let last = min(k, params.size - 1u);
  let tap = last % params.taps;
  let y = (tap / params.kernel_width) * params.dilation;
  let x = (tap % params.kernel_width) * params.dilation;
  @if(DEPTHWISE) let channel = column;
  @if(!DEPTHWISE) let channel = (column / params.column_group) * params.source_group + last / params.taps;
  return Tap(y, x, (y * params.width + x) * params.channels + channel);
}

/// The input at a tap of the output pixel whose patch starts at (y, x), `base` that place in the image; modulo 2^32.
fn load(base: u32, y: u32, x: u32, tap: Tap) -> Source {
  let ok = (y + tap.y < params.height) & (x + tap.x < params.width);
  return select(Source(), image[select(0u, base + tap.offset, ok)], ok);
}

/// The first sample of this dispatch that belongs to a lane; `first_lane` is the lane of sample 0.
fn first_sample(lane: u32) -> u32 {
  return lane - params.first_lane + select(0u, params.lanes, lane < params.first_lane);
}

/// What the sum of a column's weight k starts from.
fn start(lane: u32, k: u32, column: u32) -> Value {
  @if(!ACCUMULATE) return Value();
  @if(ACCUMULATE && COLUMNS_VEC4) {
    let at = (lane * params.columns + column) * 4u * params.size + min(k, params.size - 1u);
    return vec4f(partial[at], partial[at + params.size], partial[at + 2u * params.size], partial[at + 3u * params.size]);
  }
  @if(ACCUMULATE && !COLUMNS_VEC4)
    return partial[(lane * params.columns + column) * params.size + min(k, params.size - 1u)];
}

/// Writes the sum of a column's weight k; nothing past the last.
fn store(lane: u32, k: u32, column: u32, value: Value) {
  if (k < params.size) {
    @if(COLUMNS_VEC4) {
      let at = (lane * params.columns + column) * 4u * params.size + k;
      partial[at] = value.x;
      partial[at + params.size] = value.y;
      partial[at + 2u * params.size] = value.z;
      partial[at + 3u * params.size] = value.w;
    }
    @if(!COLUMNS_VEC4) { partial[(lane * params.columns + column) * params.size + k] = value; }
  }
}
