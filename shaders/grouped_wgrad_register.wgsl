// Weight gradient of a grouped convolution, per lane of samples (grouped_gradient.wgsl):
//   plain:  G[o, k] = sum over n of g_n[o, k],   g_n[o, k] = sum over pixels p of n of X[p at tap k] * dY[p, o]
//   FISHER: F[o, k] = sum over n of g_n[o, k]^2
// A lane a sample gives explicit per-sample gradients.
// Register family: an invocation owns three k (a line of a 3x3 kernel) x one column (or vec4); samples are the outer
// loop, pixels one flat inner loop. Sums run in a fixed order; lanes are added by partial_sum.wgsl.
// Dispatch: lanes * ceil(size / 3) * columns invocations, columns fastest.
import package::dispatch::linear_index;
import package::grouped_gradient::{params, gradient, Value, tap_at, load, first_sample, start, store};

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  let column = i % params.columns;
  let k = ((i / params.columns) % params.steps) * 3u;
  let lane = i / (params.columns * params.steps);
  let first = first_sample(lane);
  if (lane >= params.lanes) { return; }
  @if(ACCUMULATE) if (first >= params.samples) { return; }
  let t0 = tap_at(k, column);
  let t1 = tap_at(k + 1u, column);
  let t2 = tap_at(k + 2u, column);
  let pixels = params.out_height * params.out_width;
  let line_step = params.stride * (params.width - params.out_width);

  var total0 = start(lane, k, column);
  var total1 = start(lane, k + 1u, column);
  var total2 = start(lane, k + 2u, column);
  for (var n = first; n < params.samples; n += params.lanes) {
    var sum0 = Value();
    var sum1 = Value();
    var sum2 = Value();
    var y = 0u - params.padding_y;
    var x = 0u - params.padding_x;
    var base = ((n * params.height + y) * params.width + x) * params.channels;
    var ox = 0u;
    var at = n * pixels * params.columns + column;
    for (var p = pixels; p > 0u; p--) {
      let d = gradient[at];
      sum0 += load(base, y, x, t0) * d;
      sum1 += load(base, y, x, t1) * d;
      sum2 += load(base, y, x, t2) * d;
      at += params.columns;
      ox += 1u;
      let wraps = ox == params.out_width;
      ox = select(ox, 0u, wraps);
      x = select(x + params.stride, 0u - params.padding_x, wraps);
      y += select(0u, params.stride, wraps);
      base += (params.stride + select(0u, line_step, wraps)) * params.channels;
    }
    @if(FISHER) { total0 += sum0 * sum0; total1 += sum1 * sum1; total2 += sum2 * sum2; }
    @if(!FISHER) { total0 += sum0; total1 += sum1; total2 += sum2; }
  }
  store(lane, k, column, total0);
  store(lane, k + 1u, column, total1);
  store(lane, k + 2u, column, total2);
}
