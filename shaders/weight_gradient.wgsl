// What the register and tiled kernels of the weight gradient share: the output gradient's loads, the 4x4 outer
// product, and the lanes: sums of the samples lane, lane + lanes, ... of which each lane keeps a copy, packed as
// [k, out] with both rounded up to whole vec4s (unpack_weight_gradient.wgsl takes it apart). With ACCUMULATE a lane
// starts from what its copy holds, so that the bits of a sum over several dispatches do not depend on where they cut.
import package::patches::params;

@if(OUT_VEC4) @group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@if(!OUT_VEC4) @group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4f>;

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

/// The same, or zeros where `live` is not set.
fn gradient_at(pixel: u32, column4: u32, live: bool) -> vec4f {
  return select(vec4f(), load_gradient(pixel, column4), live);
}

/// sum + x d^T: rows of the weight gradient (k) are matrix columns, output channels matrix rows.
fn add_outer(sum: mat4x4f, x: vec4f, d: vec4f) -> mat4x4f {
  return mat4x4f(
    fma(vec4f(x.x), d, sum[0]),
    fma(vec4f(x.y), d, sum[1]),
    fma(vec4f(x.z), d, sum[2]),
    fma(vec4f(x.w), d, sum[3]),
  );
}

fn square(m: mat4x4f) -> mat4x4f {
  return mat4x4f(m[0] * m[0], m[1] * m[1], m[2] * m[2], m[3] * m[3]);
}

/// Where a 4x4 block of a lane's copy begins; its rows are `columns4()` apart.
fn block_at(lane: u32, group: u32, column4: u32) -> u32 {
  return 4u * (lane * params.steps + group) * columns4() + column4;
}

fn columns4() -> u32 { return (params.out_channels + 3u) / 4u; }

fn within(group: u32, column4: u32) -> bool { return (group < params.steps) & (column4 < columns4()); }

/// Writes rows 4 * group to 4 * group + 3 and output channels 4 * column4 to 4 * column4 + 3 of a lane's copy.
fn store_block(lane: u32, group: u32, column4: u32, block: mat4x4f) {
  if (!within(group, column4)) { return; }
  let at = block_at(lane, group, column4);
  partial[at] = block[0];
  partial[at + columns4()] = block[1];
  partial[at + 2u * columns4()] = block[2];
  partial[at + 3u * columns4()] = block[3];
}

/// What a 4x4 block of a lane's sum starts from; what lies outside is never stored.
fn start_block(lane: u32, group: u32, column4: u32) -> mat4x4f {
  @if(!ACCUMULATE) return mat4x4f();
  @if(ACCUMULATE) {
    let at = select(0u, block_at(lane, group, column4), within(group, column4));
    return mat4x4f(
      partial[at],
      partial[at + columns4()],
      partial[at + 2u * columns4()],
      partial[at + 3u * columns4()],
    );
  }
}

/// One row k of a lane's copy: writing it, and what its sum starts from.
fn store_row(lane: u32, k: u32, column4: u32, row: vec4f) {
  if (within(k / 4u, column4)) { partial[row_at(lane, k, column4)] = row; }
}

fn start_row(lane: u32, k: u32, column4: u32) -> vec4f {
  @if(!ACCUMULATE) return vec4f();
  @if(ACCUMULATE) return partial[select(0u, row_at(lane, k, column4), within(k / 4u, column4))];
}

fn row_at(lane: u32, k: u32, column4: u32) -> u32 {
  return (4u * lane * params.steps + k) * columns4() + column4;
}
