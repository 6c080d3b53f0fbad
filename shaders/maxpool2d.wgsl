// Y[n, oy, ox, c] = max over (ky, kx) of X[n, oy * stride - padding + ky, ox * stride - padding + kx, c], taps
// outside the image left out; winner[...] = ky * kernel + kx of the first maximum, as in PyTorch.
// BIAS is added to the maximum, then RECTIFY takes max(sum, 0) and keeps NaN.
// PAIRS: kernel and stride 2 without padding, spelled out.
// Dispatch: one invocation an output element (or vec4).
import package::dispatch::linear_index;
import package::pooling::{params, Value, Index};

@group(0) @binding(1) var<storage, read> image: array<Value>;
@group(0) @binding(2) var<storage, read_write> result: array<Value>;
@group(0) @binding(3) var<storage, read_write> winner: array<Index>;
@if(BIAS) @group(0) @binding(4) var<storage, read> bias: array<Value>;

/// By the bits: comparisons with NaN come out either way on some adapters.
fn is_nan(x: Value) -> Mask { return (bitcast<Index>(x) & Index(0x7fffffffu)) > Index(0x7f800000u); }

/// The larger of the best so far and the value at a tap. A NaN wins and stays, as in PyTorch.
struct Best { value: Value, index: Index }

@if(CHANNELS_VEC4) alias Mask = vec4<bool>;
@if(!CHANNELS_VEC4) alias Mask = bool;

/// `first`: there is no best yet; `ok`: there is a value.
fn larger(best: Best, value: Value, tap: u32, first: bool, ok: bool) -> Best {
  let greater = is_nan(value) | ((value > best.value) & !is_nan(best.value));
  let better = (greater | Mask(first)) & Mask(ok);
  return Best(select(best.value, value, better), select(best.index, Index(tap), better));
}

fn store(i: u32, c: u32, best: Best) {
  var value = best.value;
  @if(BIAS) { value += bias[c]; }
  @if(RECTIFY) { value = select(value, Value(), value < Value()); }
  result[i] = value;
  winner[i] = best.index;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let line = pixel / params.out_width;
  @if(PAIRS) {
    let corner = (line / params.out_height) * params.height + (line % params.out_height) * 2u;
    let at = (corner * params.width + (pixel % params.out_width) * 2u) * params.channels + c;
    let below = at + params.width * params.channels;
    var best = Best(image[at], Index());
    best = larger(best, image[at + params.channels], 1u, false, true);
    best = larger(best, image[below], 2u, false, true);
    best = larger(best, image[below + params.channels], 3u, false, true);
    store(i, c, best);
  }
  @if(!PAIRS) {
    let x = (pixel % params.out_width) * params.stride - params.padding;
    let y = (line % params.out_height) * params.stride - params.padding;
    let base = (line / params.out_height) * params.height;

    var best = Best();
    var found = false;
    let taps = params.kernel * params.kernel;
    for (var tap = 0u; tap < taps; tap++) {
      let ty = y + tap / params.kernel;
      let tx = x + tap % params.kernel;
      let ok = (ty < params.height) & (tx < params.width);
      let value = image[select(0u, ((base + ty) * params.width + tx) * params.channels + c, ok)];
      best = larger(best, value, tap, !found, ok);
      found = found | ok;
    }
    store(i, c, best);
  }
}
