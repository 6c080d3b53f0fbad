// What the register and tiled kernels of the weight gradient share: the output gradient's loads, the 4x4 outer
// product, and the lanes: sums of the samples lane, lane + lanes, ... of which each lane keeps a copy in PyTorch's
// layout [out, in, ky, kx]. With ACCUMULATE a lane starts from what its copy holds, so that the bits of a sum over
// several dispatches do not depend on where they cut.
import package::patches::params;

@if(OUT_VEC4) @group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@if(!OUT_VEC4) @group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

/// Four output channels, from 4 * column4, of the output gradient at a pixel counted over the whole batch.
fn load_gradient(pixel: u32, column4: u32) -> vec4f {
  @if(OUT_VEC4) return gradient[pixel * (params.out_channels / 4u) + min(column4, params.out_channels / 4u - 1u)];
  @if(!OUT_VEC4) {
    let base = pixel * params.out_channels;
    let last = params.out_channels - 1u;
    let c = 4u * column4;
    return vec4f(
      gradient[base + min(c, last)],
      gradient[base + min(c + 1u, last)],
      gradient[base + min(c + 2u, last)],
      gradient[base + min(c + 3u, last)],
    );
  }
}

/// sum + x d^T: rows of the weight gradient (k) are matrix columns, output channels matrix rows.
fn add_outer(sum: mat4x4f, x: vec4f, d: vec4f) -> mat4x4f {
  return mat4x4f(sum[0] + x.x * d, sum[1] + x.y * d, sum[2] + x.z * d, sum[3] + x.w * d);
}

fn square(m: mat4x4f) -> mat4x4f {
  return mat4x4f(m[0] * m[0], m[1] * m[1], m[2] * m[2], m[3] * m[3]);
}

/// The first sample of this dispatch that belongs to a lane; `first_lane` is the lane of sample 0.
fn first_sample(lane: u32) -> u32 {
  return lane - params.first_lane + select(0u, params.lanes, lane < params.first_lane);
}

fn store_row(lane: u32, k: u32, column: u32, value: vec4f) {
  let taps = params.kernel_height * params.kernel_width;
  if (k < taps * params.in_channels) {
    let stride = params.in_channels * taps;
    let at = lane * params.out_channels * stride + (k % params.in_channels) * taps + k / params.in_channels;
    if (column < params.out_channels) { partial[at + column * stride] = value.x; }
    if (column + 1u < params.out_channels) { partial[at + (column + 1u) * stride] = value.y; }
    if (column + 2u < params.out_channels) { partial[at + (column + 2u) * stride] = value.z; }
    if (column + 3u < params.out_channels) { partial[at + (column + 3u) * stride] = value.w; }
  }
}

/// Writes rows 4 * group to 4 * group + 3 and output channels 4 * column4 to 4 * column4 + 3 of a lane's copy.
fn store_block(lane: u32, group: u32, column4: u32, block: mat4x4f) {
  store_row(lane, 4u * group, 4u * column4, block[0]);
  store_row(lane, 4u * group + 1u, 4u * column4, block[1]);
  store_row(lane, 4u * group + 2u, 4u * column4, block[2]);
  store_row(lane, 4u * group + 3u, 4u * column4, block[3]);
}

@if(ACCUMULATE) fn load_row(lane: u32, k: u32, column: u32) -> vec4f {
  let taps = params.kernel_height * params.kernel_width;
  let stride = params.in_channels * taps;
  let at = lane * params.out_channels * stride + (k % params.in_channels) * taps + k / params.in_channels;
  let last = params.out_channels - 1u;
  let ok = k < stride;
  return select(vec4f(), vec4f(
    partial[select(0u, at + min(column, last) * stride, ok)],
    partial[select(0u, at + min(column + 1u, last) * stride, ok)],
    partial[select(0u, at + min(column + 2u, last) * stride, ok)],
    partial[select(0u, at + min(column + 3u, last) * stride, ok)],
  ), ok);
}

/// What a 4x4 block of a lane's sum starts from.
fn start_block(lane: u32, group: u32, column4: u32) -> mat4x4f {
  @if(!ACCUMULATE) return mat4x4f();
  @if(ACCUMULATE) return mat4x4f(
    load_row(lane, 4u * group, 4u * column4),
    load_row(lane, 4u * group + 1u, 4u * column4),
    load_row(lane, 4u * group + 2u, 4u * column4),
    load_row(lane, 4u * group + 3u, 4u * column4),
  );
}
