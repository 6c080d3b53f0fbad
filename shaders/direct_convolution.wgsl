// C[m, n] = sum over k of A[m, k] * B[k, n], as gemm_register.wgsl, for 3 or 5 taps a line at stride 1.
// An invocation owns 4 (7 with ROWS_7, 8 with ROWS_8 too) neighbouring pixels of a line x 4 columns (8 with COLUMNS_2, 16 with COLUMNS_4
// too). For each line of the kernel and each channel (vec4 of channels with CHANNELS_VEC4) it loads the pixels under
// all of them once, and then takes tap after tap from registers.
// Weights are packed by lines (pack_weights.wgsl). QUADS as in gemm_register.wgsl.
// Dispatch: ceil(samples * out_height * line tiles / 4) * column_tiles * 4 invocations, 64 or 16 a workgroup: four pixel tiles
// fastest, then column tiles.
import package::dispatch::index_in;
import package::patches::{params, image};
import package::result_store::store;

@if(QUADS) enable subgroups;

@if(QUADS) @group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@if(!QUADS) @group(0) @binding(2) var<storage, read> weights: array<mat4x4f>;

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;
@if(ROWS_8) const tile_width = 8u;
@if(ROWS_7 && !ROWS_8) const tile_width = 7u;
@if(!ROWS_7) const tile_width = 4u;
/// Blocks of weights that a step takes for each vec4 of columns: one a tap, or one for four taps.
@if(CHANNELS_VEC4 && !TAPS_5) const blocks = 3u;
@if(CHANNELS_VEC4 && TAPS_5) const blocks = 5u;
@if(!CHANNELS_VEC4 && !TAPS_5) const blocks = 1u;
@if(!CHANNELS_VEC4 && TAPS_5) const blocks = 2u;

@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

/// Block `index` of the packed weights; `lane` is the invocation's place in its quad.
@if(QUADS) fn block(index: u32, lane: u32) -> mat4x4f {
  let own = weights[4u * index + lane];
  return mat4x4f(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
}
@if(!QUADS) fn block(index: u32, lane: u32) -> mat4x4f { return weights[index]; }

fn load(at: u32, ok: bool) -> Value {
  return select(Value(), image[select(0u, at, ok)], ok);
}

@if(GROUPS_OF_16) const workgroup = 16u;
@if(!GROUPS_OF_16) const workgroup = 64u;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = index_in(id, groups, workgroup);
  let lane = index % 4u;
  let column = ((index / 4u) % params.column_tiles) * tile_columns;
  let tile = (index / (4u * params.column_tiles)) * 4u + lane;
  let line_tiles = (params.out_width + tile_width - 1u) / tile_width;
  let line = tile / line_tiles;
  let ox = (tile % line_tiles) * tile_width;
  let sample = line / params.out_height;
  // Tiles past the last are computed and not stored: quads must stay whole.
  let live = sample < params.samples;
  let y = line % params.out_height - params.padding_y;
  let x = ox - params.padding_x;
  let base = ((sample * params.height + y) * params.width + x) * params.channels;

  let ok0 = (x + 0u < params.width) & live;
  let ok1 = (x + 1u < params.width) & live;
  let ok2 = (x + 2u < params.width) & live;
  let ok3 = (x + 3u < params.width) & live;
  let ok4 = (x + 4u < params.width) & live;
  let ok5 = (x + 5u < params.width) & live;
  @if(TAPS_5 || ROWS_7) let ok6 = (x + 6u < params.width) & live;
  @if(TAPS_5 || ROWS_7) let ok7 = (x + 7u < params.width) & live;
  @if(ROWS_7) let ok8 = (x + 8u < params.width) & live;
  @if(ROWS_8 || (ROWS_7 && TAPS_5)) let ok9 = (x + 9u < params.width) & live;
  @if(ROWS_7 && TAPS_5) let ok10 = (x + 10u < params.width) & live;
  @if(ROWS_8 && TAPS_5) let ok11 = (x + 11u < params.width) & live;

  var a0 = vec4f(); var a1 = vec4f();
  var a2 = vec4f(); var a3 = vec4f();
  @if(ROWS_7) var a4 = vec4f(); @if(ROWS_7) var a5 = vec4f();
  @if(ROWS_7) var a6 = vec4f(); @if(ROWS_8) var a7 = vec4f();
  @if(COLUMNS_2) var b0 = vec4f(); @if(COLUMNS_2) var b1 = vec4f();
  @if(COLUMNS_2) var b2 = vec4f(); @if(COLUMNS_2) var b3 = vec4f();
  @if(ROWS_7 && COLUMNS_2) var b4 = vec4f(); @if(ROWS_7 && COLUMNS_2) var b5 = vec4f();
  @if(ROWS_7 && COLUMNS_2) var b6 = vec4f(); @if(ROWS_8 && COLUMNS_2) var b7 = vec4f();
  @if(COLUMNS_4) var c0 = vec4f(); @if(COLUMNS_4) var c1 = vec4f();
  @if(COLUMNS_4) var c2 = vec4f(); @if(COLUMNS_4) var c3 = vec4f();
  @if(ROWS_7 && COLUMNS_4) var c4 = vec4f(); @if(ROWS_7 && COLUMNS_4) var c5 = vec4f();
  @if(ROWS_7 && COLUMNS_4) var c6 = vec4f(); @if(ROWS_8 && COLUMNS_4) var c7 = vec4f();
  @if(COLUMNS_4) var d0 = vec4f(); @if(COLUMNS_4) var d1 = vec4f();
  @if(COLUMNS_4) var d2 = vec4f(); @if(COLUMNS_4) var d3 = vec4f();
  @if(ROWS_7 && COLUMNS_4) var d4 = vec4f(); @if(ROWS_7 && COLUMNS_4) var d5 = vec4f();
  @if(ROWS_7 && COLUMNS_4) var d6 = vec4f(); @if(ROWS_8 && COLUMNS_4) var d7 = vec4f();

  var at = column * params.kernel_height * params.channels * blocks;
  var ky = 0u;
  var channel = 0u;
  for (var s = params.kernel_height * params.channels; s > 0u; s--) {
    let inside = y + ky < params.height;
    let start = base + ky * params.width * params.channels + channel;
    let x0 = load(start, inside & ok0);
    let x1 = load(start + params.channels, inside & ok1);
    let x2 = load(start + 2u * params.channels, inside & ok2);
    let x3 = load(start + 3u * params.channels, inside & ok3);
    let x4 = load(start + 4u * params.channels, inside & ok4);
    let x5 = load(start + 5u * params.channels, inside & ok5);
    @if(TAPS_5 || ROWS_7) let x6 = load(start + 6u * params.channels, inside & ok6);
    @if(TAPS_5 || ROWS_7) let x7 = load(start + 7u * params.channels, inside & ok7);
    @if(ROWS_7) let x8 = load(start + 8u * params.channels, inside & ok8);
    @if(ROWS_8 || (ROWS_7 && TAPS_5)) let x9 = load(start + 9u * params.channels, inside & ok9);
    @if(ROWS_7 && TAPS_5) let x10 = load(start + 10u * params.channels, inside & ok10);
    @if(ROWS_8 && TAPS_5) let x11 = load(start + 11u * params.channels, inside & ok11);
    @if(CHANNELS_VEC4) let w0a = block(at, lane);
    @if(CHANNELS_VEC4) let w1a = block(at + 1u, lane);
    @if(CHANNELS_VEC4) let w2a = block(at + 2u, lane);
    @if(CHANNELS_VEC4 && TAPS_5) let w3a = block(at + 3u, lane);
    @if(CHANNELS_VEC4 && TAPS_5) let w4a = block(at + 4u, lane);
    @if(!CHANNELS_VEC4) let ma = block(at, lane);
    @if(!CHANNELS_VEC4) let w0a = ma[0];
    @if(!CHANNELS_VEC4) let w1a = ma[1];
    @if(!CHANNELS_VEC4) let w2a = ma[2];
    @if(!CHANNELS_VEC4 && TAPS_5) let w3a = ma[3];
    @if(!CHANNELS_VEC4 && TAPS_5) let w4a = block(at + 1u, lane)[0];
    @if(!TAPS_5) {
      a0 += w0a * x0 + w1a * x1 + w2a * x2;
      a1 += w0a * x1 + w1a * x2 + w2a * x3;
      a2 += w0a * x2 + w1a * x3 + w2a * x4;
      a3 += w0a * x3 + w1a * x4 + w2a * x5;
    }
    @if(!TAPS_5 && ROWS_7) {
      a4 += w0a * x4 + w1a * x5 + w2a * x6;
      a5 += w0a * x5 + w1a * x6 + w2a * x7;
      a6 += w0a * x6 + w1a * x7 + w2a * x8;
    }
    @if(!TAPS_5 && ROWS_8) {
      a7 += w0a * x7 + w1a * x8 + w2a * x9;
    }
    @if(TAPS_5) {
      a0 += w0a * x0 + w1a * x1 + w2a * x2 + w3a * x3 + w4a * x4;
      a1 += w0a * x1 + w1a * x2 + w2a * x3 + w3a * x4 + w4a * x5;
      a2 += w0a * x2 + w1a * x3 + w2a * x4 + w3a * x5 + w4a * x6;
      a3 += w0a * x3 + w1a * x4 + w2a * x5 + w3a * x6 + w4a * x7;
    }
    @if(TAPS_5 && ROWS_7) {
      a4 += w0a * x4 + w1a * x5 + w2a * x6 + w3a * x7 + w4a * x8;
      a5 += w0a * x5 + w1a * x6 + w2a * x7 + w3a * x8 + w4a * x9;
      a6 += w0a * x6 + w1a * x7 + w2a * x8 + w3a * x9 + w4a * x10;
    }
    @if(TAPS_5 && ROWS_8) {
      a7 += w0a * x7 + w1a * x8 + w2a * x9 + w3a * x10 + w4a * x11;
    }
    @if(COLUMNS_2) {
      @if(CHANNELS_VEC4) let w0b = block(at + 1u * blocks, lane);
      @if(CHANNELS_VEC4) let w1b = block(at + 1u * blocks + 1u, lane);
      @if(CHANNELS_VEC4) let w2b = block(at + 1u * blocks + 2u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w3b = block(at + 1u * blocks + 3u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w4b = block(at + 1u * blocks + 4u, lane);
      @if(!CHANNELS_VEC4) let mb = block(at + 1u * blocks, lane);
      @if(!CHANNELS_VEC4) let w0b = mb[0];
      @if(!CHANNELS_VEC4) let w1b = mb[1];
      @if(!CHANNELS_VEC4) let w2b = mb[2];
      @if(!CHANNELS_VEC4 && TAPS_5) let w3b = mb[3];
      @if(!CHANNELS_VEC4 && TAPS_5) let w4b = block(at + 1u * blocks + 1u, lane)[0];
      @if(!TAPS_5) {
        b0 += w0b * x0 + w1b * x1 + w2b * x2;
        b1 += w0b * x1 + w1b * x2 + w2b * x3;
        b2 += w0b * x2 + w1b * x3 + w2b * x4;
        b3 += w0b * x3 + w1b * x4 + w2b * x5;
      }
      @if(!TAPS_5 && ROWS_7) {
        b4 += w0b * x4 + w1b * x5 + w2b * x6;
        b5 += w0b * x5 + w1b * x6 + w2b * x7;
        b6 += w0b * x6 + w1b * x7 + w2b * x8;
      }
      @if(!TAPS_5 && ROWS_8) {
        b7 += w0b * x7 + w1b * x8 + w2b * x9;
      }
      @if(TAPS_5) {
        b0 += w0b * x0 + w1b * x1 + w2b * x2 + w3b * x3 + w4b * x4;
        b1 += w0b * x1 + w1b * x2 + w2b * x3 + w3b * x4 + w4b * x5;
        b2 += w0b * x2 + w1b * x3 + w2b * x4 + w3b * x5 + w4b * x6;
        b3 += w0b * x3 + w1b * x4 + w2b * x5 + w3b * x6 + w4b * x7;
      }
      @if(TAPS_5 && ROWS_7) {
        b4 += w0b * x4 + w1b * x5 + w2b * x6 + w3b * x7 + w4b * x8;
        b5 += w0b * x5 + w1b * x6 + w2b * x7 + w3b * x8 + w4b * x9;
        b6 += w0b * x6 + w1b * x7 + w2b * x8 + w3b * x9 + w4b * x10;
      }
      @if(TAPS_5 && ROWS_8) {
        b7 += w0b * x7 + w1b * x8 + w2b * x9 + w3b * x10 + w4b * x11;
      }
    }
    @if(COLUMNS_4) {
      @if(CHANNELS_VEC4) let w0c = block(at + 2u * blocks, lane);
      @if(CHANNELS_VEC4) let w1c = block(at + 2u * blocks + 1u, lane);
      @if(CHANNELS_VEC4) let w2c = block(at + 2u * blocks + 2u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w3c = block(at + 2u * blocks + 3u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w4c = block(at + 2u * blocks + 4u, lane);
      @if(!CHANNELS_VEC4) let mc = block(at + 2u * blocks, lane);
      @if(!CHANNELS_VEC4) let w0c = mc[0];
      @if(!CHANNELS_VEC4) let w1c = mc[1];
      @if(!CHANNELS_VEC4) let w2c = mc[2];
      @if(!CHANNELS_VEC4 && TAPS_5) let w3c = mc[3];
      @if(!CHANNELS_VEC4 && TAPS_5) let w4c = block(at + 2u * blocks + 1u, lane)[0];
      @if(!TAPS_5) {
        c0 += w0c * x0 + w1c * x1 + w2c * x2;
        c1 += w0c * x1 + w1c * x2 + w2c * x3;
        c2 += w0c * x2 + w1c * x3 + w2c * x4;
        c3 += w0c * x3 + w1c * x4 + w2c * x5;
      }
      @if(!TAPS_5 && ROWS_7) {
        c4 += w0c * x4 + w1c * x5 + w2c * x6;
        c5 += w0c * x5 + w1c * x6 + w2c * x7;
        c6 += w0c * x6 + w1c * x7 + w2c * x8;
      }
      @if(!TAPS_5 && ROWS_8) {
        c7 += w0c * x7 + w1c * x8 + w2c * x9;
      }
      @if(TAPS_5) {
        c0 += w0c * x0 + w1c * x1 + w2c * x2 + w3c * x3 + w4c * x4;
        c1 += w0c * x1 + w1c * x2 + w2c * x3 + w3c * x4 + w4c * x5;
        c2 += w0c * x2 + w1c * x3 + w2c * x4 + w3c * x5 + w4c * x6;
        c3 += w0c * x3 + w1c * x4 + w2c * x5 + w3c * x6 + w4c * x7;
      }
      @if(TAPS_5 && ROWS_7) {
        c4 += w0c * x4 + w1c * x5 + w2c * x6 + w3c * x7 + w4c * x8;
        c5 += w0c * x5 + w1c * x6 + w2c * x7 + w3c * x8 + w4c * x9;
        c6 += w0c * x6 + w1c * x7 + w2c * x8 + w3c * x9 + w4c * x10;
      }
      @if(TAPS_5 && ROWS_8) {
        c7 += w0c * x7 + w1c * x8 + w2c * x9 + w3c * x10 + w4c * x11;
      }
    }
    @if(COLUMNS_4) {
      @if(CHANNELS_VEC4) let w0d = block(at + 3u * blocks, lane);
      @if(CHANNELS_VEC4) let w1d = block(at + 3u * blocks + 1u, lane);
      @if(CHANNELS_VEC4) let w2d = block(at + 3u * blocks + 2u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w3d = block(at + 3u * blocks + 3u, lane);
      @if(CHANNELS_VEC4 && TAPS_5) let w4d = block(at + 3u * blocks + 4u, lane);
      @if(!CHANNELS_VEC4) let md = block(at + 3u * blocks, lane);
      @if(!CHANNELS_VEC4) let w0d = md[0];
      @if(!CHANNELS_VEC4) let w1d = md[1];
      @if(!CHANNELS_VEC4) let w2d = md[2];
      @if(!CHANNELS_VEC4 && TAPS_5) let w3d = md[3];
      @if(!CHANNELS_VEC4 && TAPS_5) let w4d = block(at + 3u * blocks + 1u, lane)[0];
      @if(!TAPS_5) {
        d0 += w0d * x0 + w1d * x1 + w2d * x2;
        d1 += w0d * x1 + w1d * x2 + w2d * x3;
        d2 += w0d * x2 + w1d * x3 + w2d * x4;
        d3 += w0d * x3 + w1d * x4 + w2d * x5;
      }
      @if(!TAPS_5 && ROWS_7) {
        d4 += w0d * x4 + w1d * x5 + w2d * x6;
        d5 += w0d * x5 + w1d * x6 + w2d * x7;
        d6 += w0d * x6 + w1d * x7 + w2d * x8;
      }
      @if(!TAPS_5 && ROWS_8) {
        d7 += w0d * x7 + w1d * x8 + w2d * x9;
      }
      @if(TAPS_5) {
        d0 += w0d * x0 + w1d * x1 + w2d * x2 + w3d * x3 + w4d * x4;
        d1 += w0d * x1 + w1d * x2 + w2d * x3 + w3d * x4 + w4d * x5;
        d2 += w0d * x2 + w1d * x3 + w2d * x4 + w3d * x5 + w4d * x6;
        d3 += w0d * x3 + w1d * x4 + w2d * x5 + w3d * x6 + w4d * x7;
      }
      @if(TAPS_5 && ROWS_7) {
        d4 += w0d * x4 + w1d * x5 + w2d * x6 + w3d * x7 + w4d * x8;
        d5 += w0d * x5 + w1d * x6 + w2d * x7 + w3d * x8 + w4d * x9;
        d6 += w0d * x6 + w1d * x7 + w2d * x8 + w3d * x9 + w4d * x10;
      }
      @if(TAPS_5 && ROWS_8) {
        d7 += w0d * x7 + w1d * x8 + w2d * x9 + w3d * x10 + w4d * x11;
      }
    }
    at += tile_columns * blocks;
    channel += 1u;
    let wraps = channel == params.channels;
    channel = select(channel, 0u, wraps);
    ky += select(0u, 1u, wraps);
  }

  // What lies past the line's end is dropped, as what lies past the last row.
  let m = line * params.out_width + ox;
  let count = select(0u, params.out_width - ox, live);
  let m0 = select(params.rows, m, 0u < count);
  let m1 = select(params.rows, m + 1u, 1u < count);
  let m2 = select(params.rows, m + 2u, 2u < count);
  let m3 = select(params.rows, m + 3u, 3u < count);
  @if(ROWS_7) let m4 = select(params.rows, m + 4u, 4u < count);
  @if(ROWS_7) let m5 = select(params.rows, m + 5u, 5u < count);
  @if(ROWS_7) let m6 = select(params.rows, m + 6u, 6u < count);
  @if(ROWS_8) let m7 = select(params.rows, m + 7u, 7u < count);
  store(m0, column, a0); store(m1, column, a1);
  store(m2, column, a2); store(m3, column, a3);
  @if(ROWS_7) { store(m4, column, a4); store(m5, column, a5); store(m6, column, a6); }
  @if(ROWS_8) { store(m7, column, a7); }
  @if(COLUMNS_2) {
    store(m0, column + 1u, b0); store(m1, column + 1u, b1);
    store(m2, column + 1u, b2); store(m3, column + 1u, b3);
    @if(ROWS_7) { store(m4, column + 1u, b4); store(m5, column + 1u, b5); store(m6, column + 1u, b6); }
    @if(ROWS_8) { store(m7, column + 1u, b7); }
  }
  @if(COLUMNS_4) {
    store(m0, column + 2u, c0); store(m1, column + 2u, c1);
    store(m2, column + 2u, c2); store(m3, column + 2u, c3);
    @if(ROWS_7) { store(m4, column + 2u, c4); store(m5, column + 2u, c5); store(m6, column + 2u, c6); }
    @if(ROWS_8) { store(m7, column + 2u, c7); }
    store(m0, column + 3u, d0); store(m1, column + 3u, d1);
    store(m2, column + 3u, d2); store(m3, column + 3u, d3);
    @if(ROWS_7) { store(m4, column + 3u, d4); store(m5, column + 3u, d5); store(m6, column + 3u, d6); }
    @if(ROWS_8) { store(m7, column + 3u, d7); }
  }
}
