// dX[n, y, x, c] = sum of dY[n, oy, ox, c] over the windows that hold (y, x) and whose winner it is. Written as a
// gather over windows, oy and ox ascending, so that no two invocations add to one element.
// Dispatch: one invocation an input element (or vec4 with CHANNELS_VEC4).
import package::dispatch::linear_index;
import package::pooling::{params, Value, Index};

@group(0) @binding(1) var<storage, read> gradient: array<Value>;
@group(0) @binding(2) var<storage, read> winner: array<Index>;
@group(0) @binding(3) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  let line = pixel / params.width;
  let y = line % params.height + params.padding;
  let x = pixel % params.width + params.padding;
  let base = (line / params.height) * params.out_height;

  // Windows o with o * stride <= y < o * stride + kernel; `reach` of them at most along an axis.
  let reach = (params.kernel + params.stride - 1u) / params.stride;
  let last_y = y / params.stride;
  let last_x = x / params.stride;
  var sum = Value();
  for (var w = 0u; w < reach * reach; w++) {
    let oy = last_y - (reach - 1u - w / reach);
    let ox = last_x - (reach - 1u - w % reach);
    let ky = y - oy * params.stride;
    let kx = x - ox * params.stride;
    let ok = (oy < params.out_height) & (ox < params.out_width) & (ky < params.kernel) & (kx < params.kernel);
    let at = select(0u, ((base + oy) * params.out_width + ox) * params.channels + c, ok);
    let tap = select(0xffffffffu, ky * params.kernel + kx, ok);
    sum += select(Value(), gradient[at], winner[at] == Index(tap));
  }
  result[i] = sum;
}
