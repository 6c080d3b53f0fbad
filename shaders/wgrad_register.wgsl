// Weight gradient of a convolution or linear layer, per lane of samples (weight_gradient.wgsl):
//   plain:   G[k, o] = sum over n of  g_n[k, o],   g_n[k, o] = sum over pixels p of n of A[p, k] * dY[p, o]
//   FISHER:  F[k, o] = sum over n of  g_n[k, o]^2  (a segment boundary at every sample; g_n is never stored)
//   SQUARED: F[k, o] = sum over p of A[p, k]^2 * dY[p, o]^2  (a linear layer's Fisher: one pixel is one sample)
//   A: patches of the layer's input (patches.wgsl); a lane a sample gives explicit per-sample gradients.
// Register family: each invocation owns 8 rows (2 groups of 4 k) x (4, 8 or 16) output channels; samples are the
// outer loop, pixels one flat inner loop. Sums run in a fixed order; lanes are added by partial_sum.wgsl.
// Dispatch: lanes * ceil(steps / 2) * column_tiles invocations, 64 a workgroup, column tiles fastest.
import package::dispatch::linear_index;
import package::patches::{params, row_at, step_at, load};
import package::weight_gradient::{load_gradient, add_outer, square, first_sample, start_block, store_block};

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let tile = linear_index(id, groups);
  let tiles = ((params.steps + 1u) / 2u) * params.column_tiles;
  let lane = tile / tiles;
  let first = first_sample(lane);
  if (lane >= params.lanes) { return; }
  @if(ACCUMULATE) if (first >= params.samples) { return; }
  let group = ((tile % tiles) / params.column_tiles) * 2u;
  let column = (tile % params.column_tiles) * tile_columns;
  let s0 = step_at(group);
  let s1 = step_at(group + 1u);
  let pixels = params.out_height * params.out_width;
  let row_step = params.stride * params.channels;
  let line_step = (params.stride * params.width - params.out_width * params.stride) * params.channels;

  @if(!FISHER) var a0 = start_block(lane, group, column);
  @if(FISHER) var a0 = mat4x4f();
  @if(FISHER) var fa0 = start_block(lane, group, column);
  @if(!FISHER) var a1 = start_block(lane, group + 1u, column);
  @if(FISHER) var a1 = mat4x4f();
  @if(FISHER) var fa1 = start_block(lane, group + 1u, column);
  @if(!FISHER && COLUMNS_2) var b0 = start_block(lane, group, column + 1u);
  @if(FISHER && COLUMNS_2) var b0 = mat4x4f();
  @if(FISHER && COLUMNS_2) var fb0 = start_block(lane, group, column + 1u);
  @if(!FISHER && COLUMNS_2) var b1 = start_block(lane, group + 1u, column + 1u);
  @if(FISHER && COLUMNS_2) var b1 = mat4x4f();
  @if(FISHER && COLUMNS_2) var fb1 = start_block(lane, group + 1u, column + 1u);
  @if(!FISHER && COLUMNS_4) var c0 = start_block(lane, group, column + 2u);
  @if(FISHER && COLUMNS_4) var c0 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fc0 = start_block(lane, group, column + 2u);
  @if(!FISHER && COLUMNS_4) var c1 = start_block(lane, group + 1u, column + 2u);
  @if(FISHER && COLUMNS_4) var c1 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fc1 = start_block(lane, group + 1u, column + 2u);
  @if(!FISHER && COLUMNS_4) var d0 = start_block(lane, group, column + 3u);
  @if(FISHER && COLUMNS_4) var d0 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fd0 = start_block(lane, group, column + 3u);
  @if(!FISHER && COLUMNS_4) var d1 = start_block(lane, group + 1u, column + 3u);
  @if(FISHER && COLUMNS_4) var d1 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fd1 = start_block(lane, group + 1u, column + 3u);

  for (var n = first; n < params.samples; n += params.lanes) {
    var row = row_at(n * pixels);
    var ox = 0u;
    for (var p = n * pixels; p < (n + 1u) * pixels; p++) {
      @if(!SQUARED) let x0 = load(row, s0);
      @if(!SQUARED) let x1 = load(row, s1);
      @if(SQUARED) let v0 = load(row, s0);
      @if(SQUARED) let v1 = load(row, s1);
      @if(SQUARED) let x0 = v0 * v0;
      @if(SQUARED) let x1 = v1 * v1;
      @if(!SQUARED) let ga = load_gradient(p, column);
      @if(SQUARED) let ra = load_gradient(p, column);
      @if(SQUARED) let ga = ra * ra;
      a0 = add_outer(a0, x0, ga); a1 = add_outer(a1, x1, ga);
      @if(COLUMNS_2 && !SQUARED) let gb = load_gradient(p, column + 1u);
      @if(COLUMNS_2 && SQUARED) let rb = load_gradient(p, column + 1u);
      @if(COLUMNS_2 && SQUARED) let gb = rb * rb;
      @if(COLUMNS_2) b0 = add_outer(b0, x0, gb); @if(COLUMNS_2) b1 = add_outer(b1, x1, gb);
      @if(COLUMNS_4 && !SQUARED) let gc = load_gradient(p, column + 2u);
      @if(COLUMNS_4 && SQUARED) let rc = load_gradient(p, column + 2u);
      @if(COLUMNS_4 && SQUARED) let gc = rc * rc;
      @if(COLUMNS_4) c0 = add_outer(c0, x0, gc); @if(COLUMNS_4) c1 = add_outer(c1, x1, gc);
      @if(COLUMNS_4 && !SQUARED) let gd = load_gradient(p, column + 3u);
      @if(COLUMNS_4 && SQUARED) let rd = load_gradient(p, column + 3u);
      @if(COLUMNS_4 && SQUARED) let gd = rd * rd;
      @if(COLUMNS_4) d0 = add_outer(d0, x0, gd); @if(COLUMNS_4) d1 = add_outer(d1, x1, gd);

      ox += 1u;
      let wraps = ox == params.out_width;
      ox = select(ox, 0u, wraps);
      row.y += select(0u, params.stride, wraps);
      row.x = select(row.x + params.stride, 0u - params.padding_x, wraps);
      row.base += row_step + select(0u, line_step, wraps);
    }
    @if(FISHER) {
      fa0 += square(a0); fa1 += square(a1);
      a0 = mat4x4f(); a1 = mat4x4f();
    }
    @if(FISHER && COLUMNS_2) {
      fb0 += square(b0); fb1 += square(b1);
      b0 = mat4x4f(); b1 = mat4x4f();
    }
    @if(FISHER && COLUMNS_4) {
      fc0 += square(c0); fc1 += square(c1); fd0 += square(d0); fd1 += square(d1);
      c0 = mat4x4f(); c1 = mat4x4f(); d0 = mat4x4f(); d1 = mat4x4f();
    }
  }

  @if(!FISHER) {
    store_block(lane, group, column, a0); store_block(lane, group + 1u, column, a1);
  }
  @if(!FISHER && COLUMNS_2) {
    store_block(lane, group, column + 1u, b0); store_block(lane, group + 1u, column + 1u, b1);
  }
  @if(!FISHER && COLUMNS_4) {
    store_block(lane, group, column + 2u, c0); store_block(lane, group + 1u, column + 2u, c1);
    store_block(lane, group, column + 3u, d0); store_block(lane, group + 1u, column + 3u, d1);
  }
  @if(FISHER) {
    store_block(lane, group, column, fa0); store_block(lane, group + 1u, column, fa1);
  }
  @if(FISHER && COLUMNS_2) {
    store_block(lane, group, column + 1u, fb0); store_block(lane, group + 1u, column + 1u, fb1);
  }
  @if(FISHER && COLUMNS_4) {
    store_block(lane, group, column + 2u, fc0); store_block(lane, group + 1u, column + 2u, fc1);
    store_block(lane, group, column + 3u, fd0); store_block(lane, group + 1u, column + 3u, fd1);
  }
}
