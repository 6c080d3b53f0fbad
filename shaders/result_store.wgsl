// Stores of a [rows, columns] result by vec4 columns; scalar at a ragged right edge (columns % 4 != 0). STRIDED: rows are
// the pixels result_stride * (y, x) + (result_y, result_x) of an image.
// BIAS is added to every row, then RECTIFY takes max(sum, 0) and keeps NaN. MASKED: zero where `mask` is not positive.
import package::patches::params;

@if(COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@if(!COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<f32>;
@if(BIAS && COLUMNS_VEC4) @group(0) @binding(4) var<storage, read> bias: array<vec4f>;
@if(BIAS && !COLUMNS_VEC4) @group(0) @binding(4) var<storage, read> bias: array<f32>;
@if(MASKED && COLUMNS_VEC4) @group(0) @binding(5) var<storage, read> mask: array<vec4f>;
@if(MASKED && !COLUMNS_VEC4) @group(0) @binding(5) var<storage, read> mask: array<f32>;

@if(COLUMNS_VEC4) alias Entry = vec4f;
@if(!COLUMNS_VEC4) alias Entry = f32;

/// SPLIT: which of several results, one behind another, is written.
@if(SPLIT) var<private> part: u32;

fn result_row(m: u32) -> u32 {
  @if(SPLIT) return part * params.rows + m;
  @if(!SPLIT && !STRIDED) return m;
  @if(STRIDED) {
    let line = m / params.out_width;
    let y = (line % params.out_height) * params.result_stride + params.result_y;
    let x = (m % params.out_width) * params.result_stride + params.result_x;
    return ((line / params.out_height) * params.result_height + y) * params.result_width + x;
  }
}

fn finished(value: Entry, column: u32, at: u32) -> Entry {
  var entry = value;
  @if(BIAS) { entry += bias[column]; }
  @if(RECTIFY) { entry = select(entry, Entry(), entry < Entry()); }
  @if(MASKED) { entry = select(Entry(), entry, mask[at] > Entry()); }
  return entry;
}

/// Writes columns 4 * column4 to 4 * column4 + 3 of row m; what lies outside is dropped.
@if(COLUMNS_VEC4) fn store(m: u32, column4: u32, value: vec4f) {
  let ok = (m < params.rows) & (4u * column4 < params.columns);
  let at = select(0u, result_row(m) * (params.columns / 4u) + column4, ok);
  let entry = finished(value, column4, at);
  if (ok) { result[at] = entry; }
}

@if(!COLUMNS_VEC4) fn store(m: u32, column4: u32, value: vec4f) {
  let column = 4u * column4;
  if ((m < params.rows) & (column < params.columns)) {
    let at = result_row(m) * params.columns + column;
    result[at] = finished(value.x, column, at);
    if (column + 1u < params.columns) { result[at + 1u] = finished(value.y, column + 1u, at + 1u); }
    if (column + 2u < params.columns) { result[at + 2u] = finished(value.z, column + 2u, at + 2u); }
    if (column + 3u < params.columns) { result[at + 3u] = finished(value.w, column + 3u, at + 3u); }
  }
}
