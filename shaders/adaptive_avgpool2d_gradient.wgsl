// dX[n, y, x, c] = sum of dY[n, oy, ox, c] / (pixels of its bin) over the bins that hold (y, x), oy and ox ascending;
// see adaptive_avgpool2d.wgsl. GLOBAL: one bin holds the image.
// Dispatch: one invocation an input element (or vec4 with CHANNELS_VEC4).
import package::dispatch::linear_index;
import package::adaptive_bins::{params, Value, bin_start, bin_end};

@group(0) @binding(1) var<storage, read> gradient: array<Value>;
@group(0) @binding(2) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  @if(GLOBAL) {
    let pixels = params.height * params.width;
    result[i] = gradient[(pixel / pixels) * params.channels + c] / f32(pixels);
  }
  @if(!GLOBAL) {
    let line = pixel / params.width;
    let y = line % params.height;
    let x = pixel % params.width;
    let base = (line / params.height) * params.out_height;
    let first = bin_start(x, params.out_width, params.width);
    let last = bin_end(x, params.out_width, params.width);
    let end = bin_end(y, params.out_height, params.height);
    var oy = bin_start(y, params.out_height, params.height);
    var ox = first;
    var sum = Value();
    for (var left = (end - oy) * (last - first); left > 0u; left--) {
      let height = bin_end(oy, params.height, params.out_height) - bin_start(oy, params.height, params.out_height);
      let width = bin_end(ox, params.width, params.out_width) - bin_start(ox, params.width, params.out_width);
      sum += gradient[((base + oy) * params.out_width + ox) * params.channels + c] / f32(height * width);
      ox += 1u;
      let wraps = ox == last;
      ox = select(ox, first, wraps);
      oy += select(0u, 1u, wraps);
    }
    result[i] = sum;
  }
}
