// Weight gradient of a grouped convolution and its Fisher form, as grouped_wgrad_register.wgsl, for GPUs.
// Tiled family: a workgroup of 64 owns three k x 8 columns (or vec4s); its 8 lines of invocations share a sample's
// pixels, and the first adds up their sums, in order, in workgroup memory.
// Dispatch: lanes * ceil(size / 3) * ceil(columns / 8) workgroups, columns fastest.
import package::dispatch::linear_group;
import package::grouped_gradient::{params, gradient, Value, tap_at, load, first_sample, start, store};

var<workgroup> sums0: array<Value, 64>;
var<workgroup> sums1: array<Value, 64>;
var<workgroup> sums2: array<Value, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let tile = linear_group(workgroup, groups);
  let column_tiles = (params.columns + 7u) / 8u;
  let k = ((tile / column_tiles) % params.steps) * 3u;
  let lane = tile / (column_tiles * params.steps);
  let first = first_sample(lane);
  let own = (tile % column_tiles) * 8u + local % 8u;
  let column = min(own, params.columns - 1u);
  let line = local / 8u;
  let t0 = tap_at(k, column);
  let t1 = tap_at(k + 1u, column);
  let t2 = tap_at(k + 2u, column);
  let pixels = params.out_height * params.out_width;

  var total0 = start(min(lane, params.lanes - 1u), k, column);
  var total1 = start(min(lane, params.lanes - 1u), k + 1u, column);
  var total2 = start(min(lane, params.lanes - 1u), k + 2u, column);
  for (var n = first; n < params.samples; n += params.lanes) {
    var sum0 = Value();
    var sum1 = Value();
    var sum2 = Value();
    for (var p = line; p < pixels; p += 8u) {
      let oy = p / params.out_width;
      let y = oy * params.stride - params.padding_y;
      let x = (p - oy * params.out_width) * params.stride - params.padding_x;
      let base = ((n * params.height + y) * params.width + x) * params.channels;
      let d = gradient[(n * pixels + p) * params.columns + column];
      sum0 += load(base, y, x, t0) * d;
      sum1 += load(base, y, x, t1) * d;
      sum2 += load(base, y, x, t2) * d;
    }
    sums0[local] = sum0;
    sums1[local] = sum1;
    sums2[local] = sum2;
    workgroupBarrier();
    if (line == 0u) {
      for (var other = local + 8u; other < 64u; other += 8u) {
        sum0 += sums0[other];
        sum1 += sums1[other];
        sum2 += sums2[other];
      }
      @if(FISHER) { total0 += sum0 * sum0; total1 += sum1 * sum1; total2 += sum2 * sum2; }
      @if(!FISHER) { total0 += sum0; total1 += sum1; total2 += sum2; }
    }
    workgroupBarrier();
  }

  if ((line == 0u) & (own < params.columns) & (lane < params.lanes)) {
    store(lane, k, column, total0);
    store(lane, k + 1u, column, total1);
    store(lane, k + 2u, column, total2);
  }
}
