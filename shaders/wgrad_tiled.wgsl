// Weight gradient, its Fisher and squared forms, as wgrad_register.wgsl, for GPUs.
// Tiled family: a workgroup of 64 owns 32 rows (8 groups of 4 k) x 32 output channels; 16 pixels at a time are
// staged in workgroup memory (rows padded to 9 vec4s), each invocation keeps a 4x4 block. Pixel tiles never
// cross a sample, so that FISHER can square at its end.
// Dispatch: lanes * ceil(steps / 8) * column_tiles workgroups, column tiles fastest.
import package::dispatch::linear_group;
import package::patches::{params, row_at, step_at, load};
import package::weight_gradient::{gradient_at, add_outer, square, start_block, store_block};

var<workgroup> tile_x: array<vec4f, 144>;
var<workgroup> tile_d: array<vec4f, 144>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let tile = linear_group(workgroup, groups);
  let tiles = ((params.steps + 7u) / 8u) * params.column_tiles;
  let first = tile / tiles;
  let lane = (params.first_lane + first) % params.lanes;
  let group = ((tile % tiles) / params.column_tiles) * 8u;
  let column = (tile % params.column_tiles) * 8u;
  let pixels = params.out_height * params.out_width;

  let lane_x = local % 8u;
  let line = local / 8u;
  let step = step_at(group + lane_x);
  let group_row = group + local / 8u;
  let own_column = column + lane_x;
  @if(!FISHER) var total = start_block(lane, group_row, own_column);
  @if(FISHER) var total = mat4x4f();
  @if(FISHER) var fisher = start_block(lane, group_row, own_column);

  for (var n = first; n < params.samples; n += params.lanes) {
    for (var p = 0u; p < pixels; p += 16u) {
      for (var i = line; i < 16u; i += 8u) {
        let live = p + i < pixels;
        let pixel = n * pixels + select(0u, p + i, live);
        let x = select(vec4f(), load(row_at(pixel), step), live);
        let d = gradient_at(pixel, own_column, live);
        @if(SQUARED) { tile_x[i * 9u + lane_x] = x * x; tile_d[i * 9u + lane_x] = d * d; }
        @if(!SQUARED) { tile_x[i * 9u + lane_x] = x; tile_d[i * 9u + lane_x] = d; }
      }
      workgroupBarrier();
      for (var i = 0u; i < 16u; i++) {
        total = add_outer(total, tile_x[i * 9u + line], tile_d[i * 9u + lane_x]);
      }
      workgroupBarrier();
    }
    @if(FISHER) { fisher += square(total); total = mat4x4f(); }
  }

  if (first < min(params.lanes, params.samples)) {
    @if(FISHER) { store_block(lane, group_row, own_column, fisher); }
    @if(!FISHER) { store_block(lane, group_row, own_column, total); }
  }
}
