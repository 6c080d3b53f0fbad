// Packs convolution weights W[out, in, ky, kx] (PyTorch's layout; a linear layer has one tap) into the B operand of
// the GEMM kernels: blocks of 4 k x 4 columns, `tile_columns` blocks side by side, zero beyond the edges:
//   packed[(t * steps + s) * tile_columns + c][i][j] = B[4 s + i, 4 (t * tile_columns + c) + j]
//   forward:           B[(ky, kx, in), out] = W[out, in, ky, kx]
//   FLIPPED (input gradient): B[(ky, kx, out), in] = W[out, in, kernel_height - 1 - ky, kernel_width - 1 - kx]
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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> packed: array<vec4f>;

fn element(k: u32, column: u32) -> f32 {
  @if(FLIPPED) let depth = params.out_channels;
  @if(!FLIPPED) let depth = params.in_channels;
  let tap = k / depth;
  let ky = tap / params.kernel_width;
  let kx = tap % params.kernel_width;
  @if(FLIPPED) let at = (((k % depth) * params.in_channels + column) * params.kernel_height
    + params.kernel_height - 1u - ky) * params.kernel_width + params.kernel_width - 1u - kx;
  @if(!FLIPPED) let at = ((column * params.in_channels + k % depth) * params.kernel_height + ky)
    * params.kernel_width + kx;
  @if(FLIPPED) let columns = params.in_channels;
  @if(!FLIPPED) let columns = params.out_channels;
  let ok = (ky < params.kernel_height) & (column < columns);
  return select(0.0, weights[select(0u, at, ok)], ok);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let block = i / 4u;
  let k = ((block / params.tile_columns) % params.steps) * 4u + i % 4u;
  let column = ((block / (params.tile_columns * params.steps)) * params.tile_columns + block % params.tile_columns) * 4u;
  packed[i] = vec4f(
    element(k, column),
    element(k, column + 1u),
    element(k, column + 2u),
    element(k, column + 3u),
  );
}
