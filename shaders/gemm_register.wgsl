// C[m, n] = sum over k of A[m, k] * B[k, n]
//   A: patches of an image (patches.wgsl). B: weights packed in 4x4 blocks (pack_weights.wgsl).
// Register family: each invocation owns 16 rows x 4 columns, 16 x 8 with COLUMNS_2, or 8 x 16 with COLUMNS_4 too,
// spelled out; no workgroup memory and no barrier, which software adapters execute badly. The loop over k is one flat
// loop: nested loops cost them twice. Accumulators: rows 0-7 of vec4 columns 0-3 are a-d, rows 8-15 of 0-1 e-f.
// Dispatch: ceil(rows / tile rows) * column_tiles invocations, 64 a workgroup, column tiles fastest.
import package::dispatch::linear_index;
import package::patches::{params, row_at, step_at, next_step, load};
import package::result_store::store;

@group(0) @binding(2) var<storage, read> weights: array<mat4x4f>;

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;
@if(COLUMNS_4) const tile_rows = 8u;
@if(!COLUMNS_4) const tile_rows = 16u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let tile = linear_index(id, groups);
  let column = (tile % params.column_tiles) * tile_columns;
  let m = (tile / params.column_tiles) * tile_rows;
  if (m >= params.rows) { return; }

  let r0 = row_at(m);
  let r1 = row_at(m + 1u);
  let r2 = row_at(m + 2u);
  let r3 = row_at(m + 3u);
  let r4 = row_at(m + 4u);
  let r5 = row_at(m + 5u);
  let r6 = row_at(m + 6u);
  let r7 = row_at(m + 7u);
  @if(!COLUMNS_4) let r8 = row_at(m + 8u);
  @if(!COLUMNS_4) let r9 = row_at(m + 9u);
  @if(!COLUMNS_4) let r10 = row_at(m + 10u);
  @if(!COLUMNS_4) let r11 = row_at(m + 11u);
  @if(!COLUMNS_4) let r12 = row_at(m + 12u);
  @if(!COLUMNS_4) let r13 = row_at(m + 13u);
  @if(!COLUMNS_4) let r14 = row_at(m + 14u);
  @if(!COLUMNS_4) let r15 = row_at(m + 15u);

  var a0 = vec4f(); var a1 = vec4f(); var a2 = vec4f(); var a3 = vec4f();
  var a4 = vec4f(); var a5 = vec4f(); var a6 = vec4f(); var a7 = vec4f();
  @if(COLUMNS_2) var b0 = vec4f(); @if(COLUMNS_2) var b1 = vec4f();
  @if(COLUMNS_2) var b2 = vec4f(); @if(COLUMNS_2) var b3 = vec4f();
  @if(COLUMNS_2) var b4 = vec4f(); @if(COLUMNS_2) var b5 = vec4f();
  @if(COLUMNS_2) var b6 = vec4f(); @if(COLUMNS_2) var b7 = vec4f();
  @if(COLUMNS_4) var c0 = vec4f(); @if(COLUMNS_4) var c1 = vec4f();
  @if(COLUMNS_4) var c2 = vec4f(); @if(COLUMNS_4) var c3 = vec4f();
  @if(COLUMNS_4) var c4 = vec4f(); @if(COLUMNS_4) var c5 = vec4f();
  @if(COLUMNS_4) var c6 = vec4f(); @if(COLUMNS_4) var c7 = vec4f();
  @if(COLUMNS_4) var d0 = vec4f(); @if(COLUMNS_4) var d1 = vec4f();
  @if(COLUMNS_4) var d2 = vec4f(); @if(COLUMNS_4) var d3 = vec4f();
  @if(COLUMNS_4) var d4 = vec4f(); @if(COLUMNS_4) var d5 = vec4f();
  @if(COLUMNS_4) var d6 = vec4f(); @if(COLUMNS_4) var d7 = vec4f();
  @if(!COLUMNS_4) var e0 = vec4f(); @if(!COLUMNS_4) var e1 = vec4f();
  @if(!COLUMNS_4) var e2 = vec4f(); @if(!COLUMNS_4) var e3 = vec4f();
  @if(!COLUMNS_4) var e4 = vec4f(); @if(!COLUMNS_4) var e5 = vec4f();
  @if(!COLUMNS_4) var e6 = vec4f(); @if(!COLUMNS_4) var e7 = vec4f();
  @if(COLUMNS_2 && !COLUMNS_4) var f0 = vec4f(); @if(COLUMNS_2 && !COLUMNS_4) var f1 = vec4f();
  @if(COLUMNS_2 && !COLUMNS_4) var f2 = vec4f(); @if(COLUMNS_2 && !COLUMNS_4) var f3 = vec4f();
  @if(COLUMNS_2 && !COLUMNS_4) var f4 = vec4f(); @if(COLUMNS_2 && !COLUMNS_4) var f5 = vec4f();
  @if(COLUMNS_2 && !COLUMNS_4) var f6 = vec4f(); @if(COLUMNS_2 && !COLUMNS_4) var f7 = vec4f();

  var at = column * params.steps;
  var step = step_at(0u);
  for (var k = 0u; k < params.steps; k++) {
    let x0 = load(r0, step);
    let x1 = load(r1, step);
    let x2 = load(r2, step);
    let x3 = load(r3, step);
    let x4 = load(r4, step);
    let x5 = load(r5, step);
    let x6 = load(r6, step);
    let x7 = load(r7, step);
    @if(!COLUMNS_4) let x8 = load(r8, step);
    @if(!COLUMNS_4) let x9 = load(r9, step);
    @if(!COLUMNS_4) let x10 = load(r10, step);
    @if(!COLUMNS_4) let x11 = load(r11, step);
    @if(!COLUMNS_4) let x12 = load(r12, step);
    @if(!COLUMNS_4) let x13 = load(r13, step);
    @if(!COLUMNS_4) let x14 = load(r14, step);
    @if(!COLUMNS_4) let x15 = load(r15, step);
    let wa = weights[at];
    a0 += wa * x0; a1 += wa * x1; a2 += wa * x2; a3 += wa * x3;
    a4 += wa * x4; a5 += wa * x5; a6 += wa * x6; a7 += wa * x7;
    @if(!COLUMNS_4) e0 += wa * x8; @if(!COLUMNS_4) e1 += wa * x9;
    @if(!COLUMNS_4) e2 += wa * x10; @if(!COLUMNS_4) e3 += wa * x11;
    @if(!COLUMNS_4) e4 += wa * x12; @if(!COLUMNS_4) e5 += wa * x13;
    @if(!COLUMNS_4) e6 += wa * x14; @if(!COLUMNS_4) e7 += wa * x15;
    @if(COLUMNS_2) let wb = weights[at + 1u];
    @if(COLUMNS_2) b0 += wb * x0; @if(COLUMNS_2) b1 += wb * x1;
    @if(COLUMNS_2) b2 += wb * x2; @if(COLUMNS_2) b3 += wb * x3;
    @if(COLUMNS_2) b4 += wb * x4; @if(COLUMNS_2) b5 += wb * x5;
    @if(COLUMNS_2) b6 += wb * x6; @if(COLUMNS_2) b7 += wb * x7;
    @if(COLUMNS_2 && !COLUMNS_4) f0 += wb * x8; @if(COLUMNS_2 && !COLUMNS_4) f1 += wb * x9;
    @if(COLUMNS_2 && !COLUMNS_4) f2 += wb * x10; @if(COLUMNS_2 && !COLUMNS_4) f3 += wb * x11;
    @if(COLUMNS_2 && !COLUMNS_4) f4 += wb * x12; @if(COLUMNS_2 && !COLUMNS_4) f5 += wb * x13;
    @if(COLUMNS_2 && !COLUMNS_4) f6 += wb * x14; @if(COLUMNS_2 && !COLUMNS_4) f7 += wb * x15;
    @if(COLUMNS_4) let wc = weights[at + 2u];
    @if(COLUMNS_4) c0 += wc * x0; @if(COLUMNS_4) c1 += wc * x1;
    @if(COLUMNS_4) c2 += wc * x2; @if(COLUMNS_4) c3 += wc * x3;
    @if(COLUMNS_4) c4 += wc * x4; @if(COLUMNS_4) c5 += wc * x5;
    @if(COLUMNS_4) c6 += wc * x6; @if(COLUMNS_4) c7 += wc * x7;
    @if(COLUMNS_4) let wd = weights[at + 3u];
    @if(COLUMNS_4) d0 += wd * x0; @if(COLUMNS_4) d1 += wd * x1;
    @if(COLUMNS_4) d2 += wd * x2; @if(COLUMNS_4) d3 += wd * x3;
    @if(COLUMNS_4) d4 += wd * x4; @if(COLUMNS_4) d5 += wd * x5;
    @if(COLUMNS_4) d6 += wd * x6; @if(COLUMNS_4) d7 += wd * x7;
    at += tile_columns;
    step = next_step(step);
  }

  store(m, column, a0); store(m + 1u, column, a1); store(m + 2u, column, a2); store(m + 3u, column, a3);
  store(m + 4u, column, a4); store(m + 5u, column, a5); store(m + 6u, column, a6); store(m + 7u, column, a7);
  @if(COLUMNS_2) {
    store(m, column + 1u, b0); store(m + 1u, column + 1u, b1);
    store(m + 2u, column + 1u, b2); store(m + 3u, column + 1u, b3);
    store(m + 4u, column + 1u, b4); store(m + 5u, column + 1u, b5);
    store(m + 6u, column + 1u, b6); store(m + 7u, column + 1u, b7);
  }
  @if(COLUMNS_4) {
    store(m, column + 2u, c0); store(m + 1u, column + 2u, c1);
    store(m + 2u, column + 2u, c2); store(m + 3u, column + 2u, c3);
    store(m + 4u, column + 2u, c4); store(m + 5u, column + 2u, c5);
    store(m + 6u, column + 2u, c6); store(m + 7u, column + 2u, c7);
    store(m, column + 3u, d0); store(m + 1u, column + 3u, d1);
    store(m + 2u, column + 3u, d2); store(m + 3u, column + 3u, d3);
    store(m + 4u, column + 3u, d4); store(m + 5u, column + 3u, d5);
    store(m + 6u, column + 3u, d6); store(m + 7u, column + 3u, d7);
  }
  @if(!COLUMNS_4) {
    store(m + 8u, column, e0); store(m + 9u, column, e1);
    store(m + 10u, column, e2); store(m + 11u, column, e3);
    store(m + 12u, column, e4); store(m + 13u, column, e5);
    store(m + 14u, column, e6); store(m + 15u, column, e7);
  }
  @if(COLUMNS_2 && !COLUMNS_4) {
    store(m + 8u, column + 1u, f0); store(m + 9u, column + 1u, f1);
    store(m + 10u, column + 1u, f2); store(m + 11u, column + 1u, f3);
    store(m + 12u, column + 1u, f4); store(m + 13u, column + 1u, f5);
    store(m + 14u, column + 1u, f6); store(m + 15u, column + 1u, f7);
  }
}
