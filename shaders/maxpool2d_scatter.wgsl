// dX of a max pooling whose windows tile the image (stride = kernel, no padding, both sides multiples of it):
//   dX[n, oy * kernel + ky, ox * kernel + kx, c] = dY[n, oy, ox, c] where (ky, kx) is the window's winner, else 0
// Each window writes its own inputs, so nothing is added; maxpool2d_gradient.wgsl covers the other cases.
// PAIRS: kernel and stride 2, spelled out.
// Dispatch: one invocation an output element (or vec4 with CHANNELS_VEC4).
import package::dispatch::linear_index;
import package::pooling::{params, Value, Index};

@group(0) @binding(1) var<storage, read> gradient: array<Value>;
@group(0) @binding(2) var<storage, read> winner: array<Index>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let pixel = i / params.channels;
  let line = pixel / params.out_width;
  let corner = (line * params.width + pixel % params.out_width) * params.kernel;
  let own = gradient[i];
  let best = winner[i];
  let c = i - pixel * params.channels;
  @if(PAIRS) {
    let at = corner * params.channels + c;
    let below = at + params.width * params.channels;
    result[at] = select(Value(), own, best == Index());
    result[at + params.channels] = select(Value(), own, best == Index(1u));
    result[below] = select(Value(), own, best == Index(2u));
    result[below + params.channels] = select(Value(), own, best == Index(3u));
  }
  @if(!PAIRS) {
    for (var ky = 0u; ky < params.kernel; ky++) {
      for (var kx = 0u; kx < params.kernel; kx++) {
        let at = (corner + ky * params.width + kx) * params.channels + c;
        result[at] = select(Value(), own, best == Index(ky * params.kernel + kx));
      }
    }
  }
}
