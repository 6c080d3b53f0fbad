// Y[n, oy, ox, c] = mean of X[n, y, x, c] over the bin of (oy, ox), PyTorch's bins along an axis of `size` pixels:
//   floor(o * size / out_size) <= y < ceil((o + 1) * size / out_size)
// Bins may overlap. GLOBAL: one bin holds the image, a run of pixels.
// Dispatch: one invocation an output element (or vec4 with CHANNELS_VEC4).
import package::dispatch::linear_index;
import package::adaptive_bins::{params, Value, bin_start, bin_end};

@group(0) @binding(1) var<storage, read> image: array<Value>;
@group(0) @binding(2) var<storage, read_write> result: array<Value>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let c = i % params.channels;
  let pixel = i / params.channels;
  var sum = Value();
  @if(GLOBAL) {
    let pixels = params.height * params.width;
    var at = pixel * pixels * params.channels + c;
    for (var left = pixels; left > 0u; left--) {
      sum += image[at];
      at += params.channels;
    }
    result[i] = sum / f32(pixels);
  }
  @if(!GLOBAL) {
    let line = pixel / params.out_width;
    let oy = line % params.out_height;
    let ox = pixel % params.out_width;
    let top = bin_start(oy, params.height, params.out_height);
    let left = bin_start(ox, params.width, params.out_width);
    let height = bin_end(oy, params.height, params.out_height) - top;
    let width = bin_end(ox, params.width, params.out_width) - left;
    var at = (((line / params.out_height) * params.height + top) * params.width + left) * params.channels + c;
    var x = 0u;
    for (var tap = height * width; tap > 0u; tap--) {
      sum += image[at];
      x += 1u;
      let wraps = x == width;
      x = select(x, 0u, wraps);
      at += select(1u, params.width - width + 1u, wraps) * params.channels;
    }
    result[i] = sum / f32(height * width);
  }
}
