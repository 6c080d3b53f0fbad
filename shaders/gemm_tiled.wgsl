// C[m, n] = sum over k of A[m, k] * B[k, n], as gemm_register.wgsl, for GPUs.
// Tiled family: a workgroup of 64 owns 32 rows x 32 columns; 16 values of k at a time are staged in workgroup
// memory (A rows padded to 5 vec4s against bank conflicts), each invocation keeps 4 rows x 4 columns.
// Dispatch: ceil(rows / 32) * column_tiles workgroups, column tiles fastest. Weights packed with 8 columns a tile.
import package::dispatch::linear_group;
import package::patches::{params, Row, row_at, Step, step_at, next_step, load};
import package::result_store::store;

@group(0) @binding(2) var<storage, read> weights: array<mat4x4f>;

var<workgroup> tile_a: array<vec4f, 160>;
var<workgroup> tile_b: array<vec4f, 128>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let tile = linear_group(group, groups);
  let column = (tile % params.column_tiles) * 8u;
  let m = (tile / params.column_tiles) * 32u;

  let lane_k = local % 4u;
  let lane_row = local / 4u;
  let row_low = row_at(m + lane_row);
  let row_high = row_at(m + lane_row + 16u);
  var step = step_at(lane_k);

  let block = local / 2u;
  let half = (local % 2u) * 2u;

  let tx = local % 8u;
  let ty = local / 8u;
  var a0 = vec4f();
  var a1 = vec4f();
  var a2 = vec4f();
  var a3 = vec4f();

  for (var k = 0u; k < params.steps; k += 4u) {
    let live = k + lane_k < params.steps;
    tile_a[lane_row * 5u + lane_k] = select(vec4f(), load(row_low, step), live);
    tile_a[(lane_row + 16u) * 5u + lane_k] = select(vec4f(), load(row_high, step), live);
    step = next_step(next_step(next_step(next_step(step))));

    let live_b = k + block / 8u < params.steps;
    let at = select(0u, column * params.steps + k * 8u + block, live_b);
    tile_b[block * 4u + half] = select(vec4f(), weights[at][half], live_b);
    tile_b[block * 4u + half + 1u] = select(vec4f(), weights[at][half + 1u], live_b);
    workgroupBarrier();

    for (var j = 0u; j < 4u; j++) {
      let b = (j * 8u + tx) * 4u;
      let w = mat4x4f(tile_b[b], tile_b[b + 1u], tile_b[b + 2u], tile_b[b + 3u]);
      let a = ty * 20u + j;
      a0 += w * tile_a[a];
      a1 += w * tile_a[a + 5u];
      a2 += w * tile_a[a + 10u];
      a3 += w * tile_a[a + 15u];
    }
    workgroupBarrier();
  }

  let row = m + ty * 4u;
  store(row, column + tx, a0);
  store(row + 1u, column + tx, a1);
  store(row + 2u, column + tx, a2);
  store(row + 3u, column + tx, a3);
}
