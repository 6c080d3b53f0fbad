// Stores of a [rows, columns] result by vec4 columns; scalar at a ragged right edge (columns % 4 != 0).
import package::patches::params;

@if(COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<vec4f>;
@if(!COLUMNS_VEC4) @group(0) @binding(3) var<storage, read_write> result: array<f32>;

/// Writes columns 4 * column4 to 4 * column4 + 3 of row m; what lies outside is dropped.
fn store(m: u32, column4: u32, value: vec4f) {
  let column = 4u * column4;
  if (m < params.rows && column < params.columns) {
    let at = m * params.columns + column;
    @if(COLUMNS_VEC4) { result[at / 4u] = value; }
    @if(!COLUMNS_VEC4) {
      result[at] = value.x;
      if (column + 1u < params.columns) { result[at + 1u] = value.y; }
      if (column + 2u < params.columns) { result[at + 2u] = value.z; }
      if (column + 3u < params.columns) { result[at + 3u] = value.w; }
    }
  }
}
