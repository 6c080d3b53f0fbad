// C[m, n] = sum over k of A[m, k] * B[k, n]
//   A: patches of an image (patches.wgsl). B: weights packed in 4x4 blocks (pack_weights.wgsl).
// Register and quad families: each invocation owns 4 rows (8 with ROWS_8) x 4 columns (8 with COLUMNS_2, 16 with
// COLUMNS_4 too), spelled out; no workgroup memory and no barrier, which software adapters execute badly. The loop over k is one flat
// loop: nested loops cost them twice. Accumulators of vec4 columns 0-3 are a-d.
// QUADS: four neighbouring invocations share their columns; each loads a quarter of B's block and passes it on.
// SPLIT: k is cut into `splits` equal parts, each with a result of its own, which partial_sum.wgsl adds in order: where rows and
// columns are few, one sum would leave the adapter idle.
// Dispatch: splits * ceil(rows / (4 * tile rows)) * column_tiles * 4 invocations, 64 or 16 a workgroup: four row tiles fastest, then column tiles.
import package::dispatch::index_in;
import package::patches::{params, row_at, step_at, next_step, load};
import package::result_store::{store, part};

@if(QUADS) enable subgroups;

@if(QUADS) @group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@if(!QUADS) @group(0) @binding(2) var<storage, read> weights: array<mat4x4f>;

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;
@if(ROWS_8) const tile_rows = 8u;
@if(!ROWS_8) const tile_rows = 4u;

/// Block `index` of the packed weights; `lane` is the invocation's place in its quad.
@if(QUADS) fn block(index: u32, lane: u32) -> mat4x4f {
  let own = weights[4u * index + lane];
  return mat4x4f(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
}
@if(!QUADS) fn block(index: u32, lane: u32) -> mat4x4f { return weights[index]; }

@if(GROUPS_OF_16) const workgroup = 16u;
@if(!GROUPS_OF_16) const workgroup = 64u;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = index_in(id, groups, workgroup);
  let lane = index % 4u;
  let column = ((index / 4u) % params.column_tiles) * tile_columns;
  // Rows past the last are computed and not stored: quads must stay whole.
  let quad_row = index / (4u * params.column_tiles);
  let quad_rows = (params.rows + 4u * tile_rows - 1u) / (4u * tile_rows);
  let split = quad_row / quad_rows;
  let m = select(params.rows, ((quad_row % quad_rows) * 4u + lane) * tile_rows, split < params.splits);
  let length = params.steps / params.splits;
  @if(SPLIT) { part = split; }

  let r0 = row_at(m);
  let r1 = row_at(m + 1u);
  let r2 = row_at(m + 2u);
  let r3 = row_at(m + 3u);
  @if(ROWS_8) let r4 = row_at(m + 4u);
  @if(ROWS_8) let r5 = row_at(m + 5u);
  @if(ROWS_8) let r6 = row_at(m + 6u);
  @if(ROWS_8) let r7 = row_at(m + 7u);

  var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
  @if(ROWS_8) var a4 = vec4f(); @if(ROWS_8) var a5 = vec4f();
  @if(ROWS_8) var a6 = vec4f(); @if(ROWS_8) var a7 = vec4f();
  @if(COLUMNS_2) var b0 = vec4f(); @if(COLUMNS_2) var b1 = vec4f();
  @if(COLUMNS_2) var b2 = vec4f(); @if(COLUMNS_2) var b3 = vec4f();
  @if(ROWS_8 && COLUMNS_2) var b4 = vec4f(); @if(ROWS_8 && COLUMNS_2) var b5 = vec4f();
  @if(ROWS_8 && COLUMNS_2) var b6 = vec4f(); @if(ROWS_8 && COLUMNS_2) var b7 = vec4f();
  @if(COLUMNS_4) var c0 = vec4f(); @if(COLUMNS_4) var c1 = vec4f();
  @if(COLUMNS_4) var c2 = vec4f(); @if(COLUMNS_4) var c3 = vec4f();
  @if(ROWS_8 && COLUMNS_4) var c4 = vec4f(); @if(ROWS_8 && COLUMNS_4) var c5 = vec4f();
  @if(ROWS_8 && COLUMNS_4) var c6 = vec4f(); @if(ROWS_8 && COLUMNS_4) var c7 = vec4f();
  @if(COLUMNS_4) var d0 = vec4f(); @if(COLUMNS_4) var d1 = vec4f();
  @if(COLUMNS_4) var d2 = vec4f(); @if(COLUMNS_4) var d3 = vec4f();
  @if(ROWS_8 && COLUMNS_4) var d4 = vec4f(); @if(ROWS_8 && COLUMNS_4) var d5 = vec4f();
  @if(ROWS_8 && COLUMNS_4) var d6 = vec4f(); @if(ROWS_8 && COLUMNS_4) var d7 = vec4f();

  var at = column * params.steps + split * length * tile_columns;
  var step = step_at(split * length);
  for (var k = 0u; k < length; k++) {
    let x0 = load(r0, step);
    let x1 = load(r1, step);
    let x2 = load(r2, step);
    let x3 = load(r3, step);
    @if(ROWS_8) let x4 = load(r4, step);
    @if(ROWS_8) let x5 = load(r5, step);
    @if(ROWS_8) let x6 = load(r6, step);
    @if(ROWS_8) let x7 = load(r7, step);
    let wa = block(at, lane);
    a0 += wa * x0; a1 += wa * x1; a2 += wa * x2; a3 += wa * x3;
    @if(ROWS_8) {
      a4 += wa * x4; a5 += wa * x5; a6 += wa * x6; a7 += wa * x7;
    }
    @if(COLUMNS_2) {
      let wb = block(at + 1u, lane);
      b0 += wb * x0; b1 += wb * x1; b2 += wb * x2; b3 += wb * x3;
      @if(ROWS_8) {
        b4 += wb * x4; b5 += wb * x5; b6 += wb * x6; b7 += wb * x7;
      }
    }
    @if(COLUMNS_4) {
      let wc = block(at + 2u, lane);
      c0 += wc * x0; c1 += wc * x1; c2 += wc * x2; c3 += wc * x3;
      @if(ROWS_8) {
        c4 += wc * x4; c5 += wc * x5; c6 += wc * x6; c7 += wc * x7;
      }
      let wd = block(at + 3u, lane);
      d0 += wd * x0; d1 += wd * x1; d2 += wd * x2; d3 += wd * x3;
      @if(ROWS_8) {
        d4 += wd * x4; d5 += wd * x5; d6 += wd * x6; d7 += wd * x7;
      }
    }
    at += tile_columns;
    step = next_step(step);
  }

  store(m, column, a0); store(m + 1u, column, a1);
  store(m + 2u, column, a2); store(m + 3u, column, a3);
  @if(ROWS_8) {
    store(m + 4u, column, a4); store(m + 5u, column, a5);
    store(m + 6u, column, a6); store(m + 7u, column, a7);
  }
  @if(COLUMNS_2) {
    store(m, column + 1u, b0); store(m + 1u, column + 1u, b1);
    store(m + 2u, column + 1u, b2); store(m + 3u, column + 1u, b3);
    @if(ROWS_8) {
      store(m + 4u, column + 1u, b4); store(m + 5u, column + 1u, b5);
      store(m + 6u, column + 1u, b6); store(m + 7u, column + 1u, b7);
    }
  }
  @if(COLUMNS_4) {
    store(m, column + 2u, c0); store(m + 1u, column + 2u, c1);
    store(m + 2u, column + 2u, c2); store(m + 3u, column + 2u, c3);
    @if(ROWS_8) {
      store(m + 4u, column + 2u, c4); store(m + 5u, column + 2u, c5);
      store(m + 6u, column + 2u, c6); store(m + 7u, column + 2u, c7);
    }
    store(m, column + 3u, d0); store(m + 1u, column + 3u, d1);
    store(m + 2u, column + 3u, d2); store(m + 3u, column + 3u, d3);
    @if(ROWS_8) {
      store(m + 4u, column + 3u, d4); store(m + 5u, column + 3u, d5);
      store(m + 6u, column + 3u, d6); store(m + 7u, column + 3u, d7);
    }
  }
}
