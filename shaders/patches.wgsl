// The patch matrix A of a convolution, read in place from an NHWC image (implicit im2col):
//   A[m, k] = image[n, y, x, c],  m = (n, oy, ox),  k = (ky, kx, c),
//   y = oy * stride - padding_y + ky * dilation,  x likewise,  0 outside the image.
// Forward reads the layer's input. The input gradient reads the output gradient: pixels of the input that are `stride`
// apart meet the same taps, so each of stride x stride phases is a convolution of its own with some of the taps, and its
// result is STRIDED (result_store.wgsl). A linear layer is the case of one tap. k is walked four at a time. With
// CHANNELS_VEC4 (channels % 4 == 0) those four are one vec4 load and `channels` counts vec4s; without it they are four
// scalar loads, each with its own tap.
// MATRIX: one tap, and as many pixels out as in, so A is the image as it lies in memory.
// All index arithmetic is modulo 2^32, so a padded coordinate below zero is a large one and fails `<`.

struct Params {
  rows: u32,
  columns: u32,
  steps: u32,
  column_tiles: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride: u32,
  padding_y: u32,
  padding_x: u32,
  dilation: u32,
  splits: u32,
  result_height: u32,
  result_width: u32,
  result_stride: u32,
  result_y: u32,
  result_x: u32,
  samples: u32,
  first_lane: u32,
  lanes: u32,
  out_channels: u32,
  in_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(CHANNELS_VEC4) @group(0) @binding(1) var<storage, read> image: array<vec4f>;
@if(!CHANNELS_VEC4) @group(0) @binding(1) var<storage, read> image: array<f32>;

/// Where the patch of one output pixel starts.
struct Row {
  @if(!MATRIX) y: u32,
  @if(!MATRIX) x: u32,
  base: u32,
}

struct Tap {
  y: u32,
  x: u32,
  channel: u32,
  offset: u32,
}

/// Four consecutive values of k.
@if(MATRIX) alias Step = u32;
@if(!MATRIX && CHANNELS_VEC4) alias Step = Tap;
@if(!MATRIX && !CHANNELS_VEC4) struct Step { t0: Tap, t1: Tap, t2: Tap, t3: Tap }

fn row_at(m: u32) -> Row {
  let i = min(m, params.rows - 1u);
  @if(MATRIX) return Row(i * params.channels);
  @if(!MATRIX) {
    let line = i / params.out_width;
    let y = (line % params.out_height) * params.stride - params.padding_y;
    let x = (i % params.out_width) * params.stride - params.padding_x;
    let sample = line / params.out_height;
    return Row(y, x, ((sample * params.height + y) * params.width + x) * params.channels);
  }
}

@if(!MATRIX) fn make_tap(y: u32, x: u32, channel: u32) -> Tap {
  return Tap(y, x, channel, (y * params.width + x) * params.channels + channel);
}

@if(!MATRIX) fn tap_at(k: u32) -> Tap {
  let tap = k / params.channels;
  let y = (tap / params.kernel_width) * params.dilation;
  return make_tap(y, (tap % params.kernel_width) * params.dilation, k % params.channels);
}

@if(!MATRIX) fn next_tap(tap: Tap) -> Tap {
  let channel = tap.channel + 1u;
  let channel_wraps = channel == params.channels;
  let x = tap.x + select(0u, params.dilation, channel_wraps);
  let x_wraps = x == params.kernel_width * params.dilation;
  let y = tap.y + select(0u, params.dilation, x_wraps);
  return make_tap(y, select(x, 0u, x_wraps), select(channel, 0u, channel_wraps));
}

@if(MATRIX) fn step_at(index: u32) -> Step { return index; }
@if(MATRIX) fn next_step(step: Step) -> Step { return step + 1u; }
@if(!MATRIX && CHANNELS_VEC4) fn step_at(index: u32) -> Step { return tap_at(index); }
@if(!MATRIX && CHANNELS_VEC4) fn next_step(step: Step) -> Step { return next_tap(step); }
@if(!MATRIX && !CHANNELS_VEC4) fn step_from(t0: Tap) -> Step {
  let t1 = next_tap(t0);
  let t2 = next_tap(t1);
  return Step(t0, t1, t2, next_tap(t2));
}
@if(!MATRIX && !CHANNELS_VEC4) fn step_at(index: u32) -> Step { return step_from(tap_at(4u * index)); }
@if(!MATRIX && !CHANNELS_VEC4) fn next_step(step: Step) -> Step { return step_from(next_tap(step.t3)); }

@if(!MATRIX) fn within_kernel(tap: Tap) -> bool {
  return tap.y < params.kernel_height * params.dilation;
}

@if(!MATRIX) fn inside(row: Row, tap: Tap) -> bool {
  let y = row.y + tap.y;
  let x = row.x + tap.x;
  // Past the last k a scalar tap may still lie in the image; with vec4 channels there is no such tail.
  @if(CHANNELS_VEC4) return (y < params.height) & (x < params.width);
  @if(!CHANNELS_VEC4) return (y < params.height) & (x < params.width) & within_kernel(tap);
}

@if(!MATRIX) fn address(row: Row, tap: Tap) -> u32 { return row.base + tap.offset; }

@if(MATRIX && CHANNELS_VEC4) fn load(row: Row, step: Step) -> vec4f { return image[row.base + step]; }
@if(MATRIX && !CHANNELS_VEC4) fn load_scalar(row: Row, k: u32) -> f32 {
  return select(0.0, image[row.base + min(k, params.channels - 1u)], k < params.channels);
}
@if(MATRIX && !CHANNELS_VEC4) fn load(row: Row, step: Step) -> vec4f {
  let k = 4u * step;
  return vec4f(load_scalar(row, k), load_scalar(row, k + 1u), load_scalar(row, k + 2u), load_scalar(row, k + 3u));
}
@if(!MATRIX && CHANNELS_VEC4) fn load(row: Row, step: Step) -> vec4f {
  let ok = inside(row, step);
  return select(vec4f(), image[select(0u, address(row, step), ok)], ok);
}
@if(!MATRIX && !CHANNELS_VEC4) fn load_scalar(row: Row, tap: Tap) -> f32 {
  let ok = inside(row, tap);
  return select(0.0, image[select(0u, address(row, tap), ok)], ok);
}
@if(!MATRIX && !CHANNELS_VEC4) fn load(row: Row, step: Step) -> vec4f {
  return vec4f(
    load_scalar(row, step.t0),
    load_scalar(row, step.t1),
    load_scalar(row, step.t2),
    load_scalar(row, step.t3),
  );
}
