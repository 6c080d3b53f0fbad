// Stores of a [rows, columns] result by vec4 columns; scalar at a ragged right edge (columns % 4 != 0). STRIDED: rows are
// the pixels result_stride * (y, x) + (result_y, result_x) of an image.
import package::patches::params;

@if(COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@if(!COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<f32>;

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

/// Writes columns 4 * column4 to 4 * column4 + 3 of row m; what lies outside is dropped.
fn store(m: u32, column4: u32, value: vec4f) {
  let column = 4u * column4;
  if ((m < params.rows) & (column < params.columns)) {
    let at = result_row(m) * params.columns + column;
    @if(COLUMNS_VEC4) { result[at / 4u] = value; }
    @if(!COLUMNS_VEC4) {
      result[at] = value.x;
      if (column + 1u < params.columns) { result[at + 1u] = value.y; }
      if (column + 2u < params.columns) { result[at + 2u] = value.z; }
      if (column + 3u < params.columns) { result[at + 3u] = value.w; }
    }
  }
}
