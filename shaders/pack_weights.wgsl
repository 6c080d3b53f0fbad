// Packs convolution weights W[out, in, ky, kx] (PyTorch's layout; a linear layer has one tap) into the B operand of
// the GEMM kernels: blocks of 4 rows x 4 columns, `tile_columns` blocks side by side, zero beyond the edges:
//   packed[((t * steps + s) * tile_columns + c) * blocks + b][i][j] = B[row i of block b of step s, 4 (t * tile_columns + c) + j]
// A row is a tap (ky, kx) of kernel_height x kernel_width and a channel of `depth`. By `rows_of` row i of step s, block b is
//   0: number 4 s + i of (ky, kx, channel);
//   1: line and four channels number s of (ky, channel / 4), tap b, channel i of them (direct_convolution.wgsl);
//   2: line and channel number s of (ky, channel), tap 4 b + i (the same, for single channels).
// Its weight is at channel * depth_stride + column * column_stride + that of the tap (first + tap_step * (ky, kx)):
//   forward:        channels are in, columns out, taps from (0, 0) on
//   input gradient: channels are out, columns in, and the taps of one phase of the stride from the last one back
// IMAGE_COLUMNS: columns are the pixels and channels of an image, weights by channel and pixel (a linear layer's input
// gradient).
// Dispatch: one invocation a vec4 of `packed`.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  steps: u32,
  tile_columns: u32,
  blocks: u32,
  depth: u32,
  columns: u32,
  rows_of: u32,
  depth_stride: u32,
  column_stride: u32,
  kernel_height: u32,
  kernel_width: u32,
  weights_width: u32,
  tap_step: u32,
  first_y: u32,
  first_x: u32,
  @if(IMAGE_COLUMNS) image_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

struct Source { ky: u32, kx: u32, channel: u32 }

/// Number `n` of (ky, kx, channel) with kx below `width` and the channel below `depth`.
fn source_at(n: u32, width: u32, depth: u32) -> Source {
  let tap = n / depth;
  return Source(tap / width, tap % width, n % depth);
}

fn source(s: u32, b: u32, i: u32) -> Source {
  if (params.rows_of == 0u) { return source_at(4u * s + i, params.kernel_width, params.depth); }
  if (params.rows_of == 1u) {
    let at = source_at(s, 1u, params.depth / 4u);
    return Source(at.ky, b, 4u * at.channel + i);
  }
  let at = source_at(s, 1u, params.depth);
  return Source(at.ky, 4u * b + i, at.channel);
}

fn column_at(column: u32) -> u32 {
  @if(!IMAGE_COLUMNS) return column * params.column_stride;
  @if(IMAGE_COLUMNS) {
    return (column % params.image_channels) * params.column_stride + column / params.image_channels;
  }
}

fn element(at: u32, column: u32, ok: bool) -> f32 {
  let inside = ok & (column < params.columns);
  return select(0.0, weights[select(0u, at + column_at(column), inside)], inside);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = linear_index(id, groups);
  if (index >= params.count) { return; }
  let block = index / 4u;
  let place = block / params.blocks;
  let step = place / params.tile_columns;
  let k = source(step % params.steps, block % params.blocks, index % 4u);
  let ok = (k.ky < params.kernel_height) & (k.kx < params.kernel_width);
  let y = params.first_y + params.tap_step * k.ky;
  let x = params.first_x + params.tap_step * k.kx;
  let at = k.channel * params.depth_stride + y * params.weights_width + x;
  let column = ((step / params.steps) * params.tile_columns + place % params.tile_columns) * 4u;
  packed[index] = vec4f(
    element(at, column, ok),
    element(at, column + 1u, ok),
    element(at, column + 2u, ok),
    element(at, column + 3u, ok),
  );
}
