// What the register and tiled kernels of the weight gradient share: the output gradient's loads, the 4x4 outer
// product, and the store of a 4x4 block into PyTorch's layout [out, in, ky, kx], one copy a chunk.
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

fn store_row(chunk: u32, k: u32, column: u32, value: vec4f) {
  let taps = params.kernel_height * params.kernel_width;
  if (k < taps * params.in_channels) {
    let stride = params.in_channels * taps;
    let at = chunk * params.out_channels * stride + (k % params.in_channels) * taps + k / params.in_channels;
    if (column < params.out_channels) { partial[at + column * stride] = value.x; }
    if (column + 1u < params.out_channels) { partial[at + (column + 1u) * stride] = value.y; }
    if (column + 2u < params.out_channels) { partial[at + (column + 2u) * stride] = value.z; }
    if (column + 3u < params.out_channels) { partial[at + (column + 3u) * stride] = value.w; }
  }
}

/// Writes rows 4 * group to 4 * group + 3 and output channels 4 * column4 to 4 * column4 + 3 of a chunk's copy.
fn store_block(chunk: u32, group: u32, column4: u32, block: mat4x4f) {
  store_row(chunk, 4u * group, 4u * column4, block[0]);
  store_row(chunk, 4u * group + 1u, 4u * column4, block[1]);
  store_row(chunk, 4u * group + 2u, 4u * column4, block[2]);
  store_row(chunk, 4u * group + 3u, 4u * column4, block[3]);
}
