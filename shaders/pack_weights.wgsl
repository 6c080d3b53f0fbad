// Packs convolution weights W[out, in, ky, kx] (PyTorch's layout; a linear layer has one tap) into the B operand of
// the GEMM kernels: blocks of 4 k x 4 columns, `tile_columns` blocks side by side, zero beyond the edges:
//   packed[(t * steps + s) * tile_columns + c][i][j] = B[4 s + i, 4 (t * tile_columns + c) + j]
//   forward:           B[(ky, kx, in), out] = W[out, in, ky, kx]
//   FLIPPED (input gradient): B[(ky, kx, out), in] = W[out, in, last_y - tap_step * ky, last_x - tap_step * kx]
//     with the taps of one phase of a strided convolution, kernel_height x kernel_width of them, from the last
// BY_LINES (direct_convolution.wgsl): a step s is a line of the kernel and a channel, or a vec4 of channels with
// CHANNELS_VEC4; each column has `blocks` blocks for it side by side: one a tap with four channels, or one for four taps.
// Dispatch: one invocation a vec4 of `packed`.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  steps: u32,
  tile_columns: u32,
  in_channels: u32,
  out_channels: u32,
  kernel_height: u32,
  kernel_width: u32,
  blocks: u32,
  weights_height: u32,
  weights_width: u32,
  tap_step: u32,
  last_y: u32,
  last_x: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

/// Where in W a row of B comes from.
struct Source { ky: u32, kx: u32, channel: u32 }

@if(FLIPPED) fn depth() -> u32 { return params.out_channels; }
@if(!FLIPPED) fn depth() -> u32 { return params.in_channels; }

/// The source of row `i` of block `b` of step `s`.
fn source(s: u32, b: u32, i: u32) -> Source {
  @if(!BY_LINES) {
    let k = 4u * s + i;
    let tap = k / depth();
    return Source(tap / params.kernel_width, tap % params.kernel_width, k % depth());
  }
  @if(BY_LINES && CHANNELS_VEC4) return Source(4u * s / depth(), b, 4u * s % depth() + i);
  @if(BY_LINES && !CHANNELS_VEC4) return Source(s / depth(), 4u * b + i, s % depth());
}

fn element(k: Source, column: u32) -> f32 {
  @if(FLIPPED) let at = ((k.channel * params.in_channels + column) * params.weights_height
    + params.last_y - params.tap_step * k.ky) * params.weights_width + params.last_x - params.tap_step * k.kx;
  @if(!FLIPPED) let at = ((column * params.in_channels + k.channel) * params.weights_height + k.ky)
    * params.weights_width + k.kx;
  @if(FLIPPED) let columns = params.in_channels;
  @if(!FLIPPED) let columns = params.out_channels;
  let ok = (k.ky < params.kernel_height) & (k.kx < params.kernel_width) & (column < columns);
  return select(0.0, weights[select(0u, at, ok)], ok);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let block = i / 4u;
  let place = block / params.blocks;
  let step = place / params.tile_columns;
  let k = source(step % params.steps, block % params.blocks, i % 4u);
  let column = ((step / params.steps) * params.tile_columns + place % params.tile_columns) * 4u;
  packed[i] = vec4f(
    element(k, column),
    element(k, column + 1u),
    element(k, column + 2u),
    element(k, column + 3u),
  );
}
