// Weight gradient of a convolution or linear layer, per lane of samples (weight_gradient.wgsl):
//   plain:   G[k, o] = sum over n of  g_n[k, o],   g_n[k, o] = sum over pixels p of n of A[p, k] * dY[p, o]
//   FISHER:  F[k, o] = sum over n of  g_n[k, o]^2  (a segment boundary at every sample; g_n is never stored)
//   SQUARED: F[k, o] = sum over p of A[p, k]^2 * dY[p, o]^2  (a linear layer's Fisher: one pixel is one sample)
//   A: patches of the layer's input (patches.wgsl); a lane a sample gives explicit per-sample gradients.
// Register and quad families: each invocation owns 4 rows (one k group; 8 with GROUPS_2) x (4, 8 or 16) output channels;
// samples are the outer loop, pixels one flat inner loop. Sums run in a fixed order; lanes are added by partial_sum.wgsl.
// QUADS: four neighbouring invocations share a lane and their channels; each loads a quarter of dY and passes it on.
// Dispatch: lanes * ceil(steps / (4 * tile groups)) * column_tiles * 4 invocations, 64 or 16 a workgroup: four row tiles fastest, then column
// tiles. Every invocation takes ceil(samples / lanes) samples, zeros where there are fewer: quads must stay whole.
import package::dispatch::index_in;
import package::patches::{params, Row, row_at, Step, step_at, load};
import package::weight_gradient::{gradient_at, add_outer, square, start_block, store_block};

@if(QUADS) enable subgroups;

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;
@if(GROUPS_2) const tile_groups = 2u;
@if(!GROUPS_2) const tile_groups = 1u;

fn input(row: Row, step: Step) -> vec4f {
  let x = load(row, step);
  @if(SQUARED) return x * x;
  @if(!SQUARED) return x;
}

fn output_gradient(pixel: u32, column4: u32, live: bool) -> vec4f {
  let d = gradient_at(pixel, column4, live);
  @if(SQUARED) return d * d;
  @if(!SQUARED) return d;
}

@if(GROUPS_OF_16) const workgroup = 16u;
@if(!GROUPS_OF_16) const workgroup = 64u;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = index_in(id, groups, workgroup);
  let place = index % 4u;
  let column = ((index / 4u) % params.column_tiles) * tile_columns;
  let row_tiles = (params.steps + 4u * tile_groups - 1u) / (4u * tile_groups);
  let first = index / (4u * params.column_tiles * row_tiles);
  let lane = (params.first_lane + first) % params.lanes;
  let group = (((index / (4u * params.column_tiles)) % row_tiles) * 4u + place) * tile_groups;
  let s0 = step_at(group);
  @if(GROUPS_2) let s1 = step_at(group + 1u);
  let pixels = params.out_height * params.out_width;
  @if(!MATRIX) let row_step = params.stride * params.channels;
  @if(!MATRIX) let line_step = (params.stride * params.width - params.out_width * params.stride) * params.channels;

  @if(!FISHER) var a0 = start_block(lane, group, column);
  @if(FISHER) var a0 = mat4x4f();
  @if(FISHER) var fa0 = start_block(lane, group, column);
  @if(GROUPS_2 && !FISHER) var a1 = start_block(lane, group + 1u, column);
  @if(GROUPS_2 && FISHER) var a1 = mat4x4f();
  @if(GROUPS_2 && FISHER) var fa1 = start_block(lane, group + 1u, column);
  @if(!FISHER && COLUMNS_2) var b0 = start_block(lane, group, column + 1u);
  @if(FISHER && COLUMNS_2) var b0 = mat4x4f();
  @if(FISHER && COLUMNS_2) var fb0 = start_block(lane, group, column + 1u);
  @if(GROUPS_2 && !FISHER && COLUMNS_2) var b1 = start_block(lane, group + 1u, column + 1u);
  @if(GROUPS_2 && FISHER && COLUMNS_2) var b1 = mat4x4f();
  @if(GROUPS_2 && FISHER && COLUMNS_2) var fb1 = start_block(lane, group + 1u, column + 1u);
  @if(!FISHER && COLUMNS_4) var c0 = start_block(lane, group, column + 2u);
  @if(FISHER && COLUMNS_4) var c0 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fc0 = start_block(lane, group, column + 2u);
  @if(GROUPS_2 && !FISHER && COLUMNS_4) var c1 = start_block(lane, group + 1u, column + 2u);
  @if(GROUPS_2 && FISHER && COLUMNS_4) var c1 = mat4x4f();
  @if(GROUPS_2 && FISHER && COLUMNS_4) var fc1 = start_block(lane, group + 1u, column + 2u);
  @if(!FISHER && COLUMNS_4) var d0 = start_block(lane, group, column + 3u);
  @if(FISHER && COLUMNS_4) var d0 = mat4x4f();
  @if(FISHER && COLUMNS_4) var fd0 = start_block(lane, group, column + 3u);
  @if(GROUPS_2 && !FISHER && COLUMNS_4) var d1 = start_block(lane, group + 1u, column + 3u);
  @if(GROUPS_2 && FISHER && COLUMNS_4) var d1 = mat4x4f();
  @if(GROUPS_2 && FISHER && COLUMNS_4) var fd1 = start_block(lane, group + 1u, column + 3u);

  for (var t = 0u; t * params.lanes < params.samples; t++) {
    let n = first + t * params.lanes;
    let live = n < params.samples;
    var p = select(0u, n * pixels, live);
    var row = row_at(p);
    @if(!MATRIX) var ox = 0u;
    for (var i = 0u; i < pixels; i++) {
      let x0 = input(row, s0);
      @if(GROUPS_2) let x1 = input(row, s1);
      @if(QUADS && COLUMNS_2) let own = output_gradient(p, column + place % tile_columns, live);
      @if(QUADS && COLUMNS_2) let ga = quadBroadcast(own, 0u);
      @if(!QUADS || !COLUMNS_2) let ga = output_gradient(p, column, live);
      a0 = add_outer(a0, x0, ga);
      @if(GROUPS_2) { a1 = add_outer(a1, x1, ga); }
      @if(COLUMNS_2) {
        @if(QUADS) let gb = quadBroadcast(own, 1u);
        @if(!QUADS) let gb = output_gradient(p, column + 1u, live);
        b0 = add_outer(b0, x0, gb);
        @if(GROUPS_2) { b1 = add_outer(b1, x1, gb); }
      }
      @if(COLUMNS_4) {
        @if(QUADS) let gc = quadBroadcast(own, 2u);
        @if(!QUADS) let gc = output_gradient(p, column + 2u, live);
        c0 = add_outer(c0, x0, gc);
        @if(GROUPS_2) { c1 = add_outer(c1, x1, gc); }
        @if(QUADS) let gd = quadBroadcast(own, 3u);
        @if(!QUADS) let gd = output_gradient(p, column + 3u, live);
        d0 = add_outer(d0, x0, gd);
        @if(GROUPS_2) { d1 = add_outer(d1, x1, gd); }
      }

      p += 1u;
      @if(MATRIX) { row.base += params.channels; }
      @if(!MATRIX) {
        ox += 1u;
        let wraps = ox == params.out_width;
        ox = select(ox, 0u, wraps);
        row.y += select(0u, params.stride, wraps);
        row.x = select(row.x + params.stride, 0u - params.padding_x, wraps);
        row.base += row_step + select(0u, line_step, wraps);
      }
    }
    @if(FISHER) {
      fa0 += square(a0); @if(GROUPS_2) { fa1 += square(a1); }
      a0 = mat4x4f(); @if(GROUPS_2) { a1 = mat4x4f(); }
    }
    @if(FISHER && COLUMNS_2) {
      fb0 += square(b0); @if(GROUPS_2) { fb1 += square(b1); }
      b0 = mat4x4f(); @if(GROUPS_2) { b1 = mat4x4f(); }
    }
    @if(FISHER && COLUMNS_4) {
      fc0 += square(c0); @if(GROUPS_2) { fc1 += square(c1); }
      fd0 += square(d0); @if(GROUPS_2) { fd1 += square(d1); }
      c0 = mat4x4f(); @if(GROUPS_2) { c1 = mat4x4f(); }
      d0 = mat4x4f(); @if(GROUPS_2) { d1 = mat4x4f(); }
    }
  }
  if (first >= min(params.lanes, params.samples)) { return; }

  @if(!FISHER) {
    store_block(lane, group, column, a0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column, a1); }
  }
  @if(!FISHER && COLUMNS_2) {
    store_block(lane, group, column + 1u, b0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 1u, b1); }
  }
  @if(!FISHER && COLUMNS_4) {
    store_block(lane, group, column + 2u, c0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 2u, c1); }
    store_block(lane, group, column + 3u, d0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 3u, d1); }
  }
  @if(FISHER) {
    store_block(lane, group, column, fa0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column, fa1); }
  }
  @if(FISHER && COLUMNS_2) {
    store_block(lane, group, column + 1u, fb0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 1u, fb1); }
  }
  @if(FISHER && COLUMNS_4) {
    store_block(lane, group, column + 2u, fc0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 2u, fc1); }
    store_block(lane, group, column + 3u, fd0);
    @if(GROUPS_2) { store_block(lane, group + 1u, column + 3u, fd1); }
  }
}
