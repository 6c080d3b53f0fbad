// Weight gradient, and FISHER, as wgrad_register.wgsl, of a convolution with 3 or 5 taps a line at stride 1.
// An invocation owns one line of the kernel and one channel (four with CHANNELS_VEC4), all taps of it, x 4 output
// channels (8 with COLUMNS_2, 16 with COLUMNS_4 too). It takes four neighbouring pixels at a time, or seven with PIXELS_7:
// the inputs under all their taps are loaded once. Samples are the outer loop, tiles of pixels one flat inner loop.
// QUADS as in wgrad_register.wgsl.
// Dispatch: lanes * row tiles * column_tiles invocations, 64 or 16 a workgroup, row tiles (kernel_height * channels) rounded up
// to whole quads with QUADS: a quad's row tiles fastest, then column tiles.
import package::dispatch::index_in;
import package::patches::{params, image};
import package::weight_gradient::{
  gradient_at, add_outer, square, start_block, store_block, start_row, store_row,
};

@if(QUADS) enable subgroups;

@if(COLUMNS_4) const tile_columns = 4u;
@if(COLUMNS_2 && !COLUMNS_4) const tile_columns = 2u;
@if(!COLUMNS_2) const tile_columns = 1u;
@if(PIXELS_7) const tile_width = 7u;
@if(!PIXELS_7) const tile_width = 4u;
@if(QUADS) const together = 4u;
@if(!QUADS) const together = 1u;

/// An input under a tap, and the gradient of one tap's weights: a row of output channels for each input channel.
@if(CHANNELS_VEC4) alias Value = vec4f;
@if(CHANNELS_VEC4) alias Block = mat4x4f;
@if(!CHANNELS_VEC4) alias Value = f32;
@if(!CHANNELS_VEC4) alias Block = vec4f;

fn load(at: u32, ok: bool) -> Value {
  return select(Value(), image[select(0u, at, ok)], ok);
}

/// sum + x0 d0 + x1 d1 + x2 d2 + x3 d3: one input channel of four pixels.
fn add_row(sum: vec4f, x0: f32, x1: f32, x2: f32, x3: f32, d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f) -> vec4f {
  return fma(vec4f(x3), d3, fma(vec4f(x2), d2, fma(vec4f(x1), d1, fma(vec4f(x0), d0, sum))));
}

/// sum + the outer products of four pixels' inputs and output gradients.
fn add_four(sum: Block, x0: Value, x1: Value, x2: Value, x3: Value, d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f) -> Block {
  @if(!CHANNELS_VEC4) return add_row(sum, x0, x1, x2, x3, d0, d1, d2, d3);
  @if(CHANNELS_VEC4) return mat4x4f(
    add_row(sum[0], x0.x, x1.x, x2.x, x3.x, d0, d1, d2, d3),
    add_row(sum[1], x0.y, x1.y, x2.y, x3.y, d0, d1, d2, d3),
    add_row(sum[2], x0.z, x1.z, x2.z, x3.z, d0, d1, d2, d3),
    add_row(sum[3], x0.w, x1.w, x2.w, x3.w, d0, d1, d2, d3),
  );
}

/// The same of three pixels.
@if(PIXELS_7) fn add_row_of_three(sum: vec4f, x0: f32, x1: f32, x2: f32, d0: vec4f, d1: vec4f, d2: vec4f) -> vec4f {
  return fma(vec4f(x2), d2, fma(vec4f(x1), d1, fma(vec4f(x0), d0, sum)));
}
@if(PIXELS_7) fn add_three(sum: Block, x0: Value, x1: Value, x2: Value, d0: vec4f, d1: vec4f, d2: vec4f) -> Block {
  @if(!CHANNELS_VEC4) return add_row_of_three(sum, x0, x1, x2, d0, d1, d2);
  @if(CHANNELS_VEC4) return mat4x4f(
    add_row_of_three(sum[0], x0.x, x1.x, x2.x, d0, d1, d2),
    add_row_of_three(sum[1], x0.y, x1.y, x2.y, d0, d1, d2),
    add_row_of_three(sum[2], x0.z, x1.z, x2.z, d0, d1, d2),
    add_row_of_three(sum[3], x0.w, x1.w, x2.w, d0, d1, d2),
  );
}

@if(CHANNELS_VEC4) fn squared(block: Block) -> Block { return square(block); }
@if(!CHANNELS_VEC4) fn squared(block: Block) -> Block { return block * block; }

/// Where the rows of a tap are kept: the place of the tap's first channel among all k (in vec4s with CHANNELS_VEC4).
fn row_of(ky: u32, kx: u32, channel: u32) -> u32 {
  return (ky * params.kernel_width + kx) * params.channels + channel;
}

@if(CHANNELS_VEC4) fn start(lane: u32, row: u32, column4: u32) -> Block { return start_block(lane, row, column4); }
@if(!CHANNELS_VEC4) fn start(lane: u32, row: u32, column4: u32) -> Block { return start_row(lane, row, column4); }
@if(CHANNELS_VEC4) fn finish(lane: u32, row: u32, column4: u32, block: Block) { store_block(lane, row, column4, block); }
@if(!CHANNELS_VEC4) fn finish(lane: u32, row: u32, column4: u32, block: Block) { store_row(lane, row, column4, block); }

/// The output gradient of the pixel `offset` after the tile's first, zeros past the line.
fn gradient_of(pixel: u32, offset: u32, left: u32, column4: u32) -> vec4f {
  let ok = offset < left;
  return gradient_at(select(0u, pixel + offset, ok), column4, ok);
}

/// Of the tile's pixels x columns, in this order, the one of number 4 * turn + place in the quad.
@if(QUADS) fn own_gradient(pixel: u32, left: u32, column: u32, turn: u32, place: u32) -> vec4f {
  let number = 4u * turn + place;
  return gradient_of(pixel, number / tile_columns, left, column + number % tile_columns);
}

@if(GROUPS_OF_16) const workgroup = 16u;
@if(!GROUPS_OF_16) const workgroup = 64u;

@compute @workgroup_size(workgroup)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let index = index_in(id, groups, workgroup);
  let place = index % together;
  let column = ((index / together) % params.column_tiles) * tile_columns;
  let row_tiles = (params.kernel_height * params.channels + together - 1u) / together;
  let tile = index / (together * params.column_tiles);
  let row = (tile % row_tiles) * together + place;
  let first = tile / row_tiles;
  let lane = (params.first_lane + first) % params.lanes;
  let ky = row / params.channels;
  let channel = row % params.channels;
  let line_tiles = (params.out_width + tile_width - 1u) / tile_width;
  let line_step = (params.width - tile_width * line_tiles) * params.channels;

  @if(!FISHER) var a0 = start(lane, row_of(ky, 0u, channel), column);
  @if(FISHER) var a0 = Block();
  @if(FISHER) var fa0 = start(lane, row_of(ky, 0u, channel), column);
  @if(!FISHER) var a1 = start(lane, row_of(ky, 1u, channel), column);
  @if(FISHER) var a1 = Block();
  @if(FISHER) var fa1 = start(lane, row_of(ky, 1u, channel), column);
  @if(!FISHER) var a2 = start(lane, row_of(ky, 2u, channel), column);
  @if(FISHER) var a2 = Block();
  @if(FISHER) var fa2 = start(lane, row_of(ky, 2u, channel), column);
  @if(!FISHER && TAPS_5) var a3 = start(lane, row_of(ky, 3u, channel), column);
  @if(FISHER && TAPS_5) var a3 = Block();
  @if(FISHER && TAPS_5) var fa3 = start(lane, row_of(ky, 3u, channel), column);
  @if(!FISHER && TAPS_5) var a4 = start(lane, row_of(ky, 4u, channel), column);
  @if(FISHER && TAPS_5) var a4 = Block();
  @if(FISHER && TAPS_5) var fa4 = start(lane, row_of(ky, 4u, channel), column);
  @if(!FISHER && COLUMNS_2) var b0 = start(lane, row_of(ky, 0u, channel), column + 1u);
  @if(FISHER && COLUMNS_2) var b0 = Block();
  @if(FISHER && COLUMNS_2) var fb0 = start(lane, row_of(ky, 0u, channel), column + 1u);
  @if(!FISHER && COLUMNS_2) var b1 = start(lane, row_of(ky, 1u, channel), column + 1u);
  @if(FISHER && COLUMNS_2) var b1 = Block();
  @if(FISHER && COLUMNS_2) var fb1 = start(lane, row_of(ky, 1u, channel), column + 1u);
  @if(!FISHER && COLUMNS_2) var b2 = start(lane, row_of(ky, 2u, channel), column + 1u);
  @if(FISHER && COLUMNS_2) var b2 = Block();
  @if(FISHER && COLUMNS_2) var fb2 = start(lane, row_of(ky, 2u, channel), column + 1u);
  @if(!FISHER && COLUMNS_2 && TAPS_5) var b3 = start(lane, row_of(ky, 3u, channel), column + 1u);
  @if(FISHER && COLUMNS_2 && TAPS_5) var b3 = Block();
  @if(FISHER && COLUMNS_2 && TAPS_5) var fb3 = start(lane, row_of(ky, 3u, channel), column + 1u);
  @if(!FISHER && COLUMNS_2 && TAPS_5) var b4 = start(lane, row_of(ky, 4u, channel), column + 1u);
  @if(FISHER && COLUMNS_2 && TAPS_5) var b4 = Block();
  @if(FISHER && COLUMNS_2 && TAPS_5) var fb4 = start(lane, row_of(ky, 4u, channel), column + 1u);
  @if(!FISHER && COLUMNS_4) var c0 = start(lane, row_of(ky, 0u, channel), column + 2u);
  @if(FISHER && COLUMNS_4) var c0 = Block();
  @if(FISHER && COLUMNS_4) var fc0 = start(lane, row_of(ky, 0u, channel), column + 2u);
  @if(!FISHER && COLUMNS_4) var c1 = start(lane, row_of(ky, 1u, channel), column + 2u);
  @if(FISHER && COLUMNS_4) var c1 = Block();
  @if(FISHER && COLUMNS_4) var fc1 = start(lane, row_of(ky, 1u, channel), column + 2u);
  @if(!FISHER && COLUMNS_4) var c2 = start(lane, row_of(ky, 2u, channel), column + 2u);
  @if(FISHER && COLUMNS_4) var c2 = Block();
  @if(FISHER && COLUMNS_4) var fc2 = start(lane, row_of(ky, 2u, channel), column + 2u);
  @if(!FISHER && COLUMNS_4 && TAPS_5) var c3 = start(lane, row_of(ky, 3u, channel), column + 2u);
  @if(FISHER && COLUMNS_4 && TAPS_5) var c3 = Block();
  @if(FISHER && COLUMNS_4 && TAPS_5) var fc3 = start(lane, row_of(ky, 3u, channel), column + 2u);
  @if(!FISHER && COLUMNS_4 && TAPS_5) var c4 = start(lane, row_of(ky, 4u, channel), column + 2u);
  @if(FISHER && COLUMNS_4 && TAPS_5) var c4 = Block();
  @if(FISHER && COLUMNS_4 && TAPS_5) var fc4 = start(lane, row_of(ky, 4u, channel), column + 2u);
  @if(!FISHER && COLUMNS_4) var d0 = start(lane, row_of(ky, 0u, channel), column + 3u);
  @if(FISHER && COLUMNS_4) var d0 = Block();
  @if(FISHER && COLUMNS_4) var fd0 = start(lane, row_of(ky, 0u, channel), column + 3u);
  @if(!FISHER && COLUMNS_4) var d1 = start(lane, row_of(ky, 1u, channel), column + 3u);
  @if(FISHER && COLUMNS_4) var d1 = Block();
  @if(FISHER && COLUMNS_4) var fd1 = start(lane, row_of(ky, 1u, channel), column + 3u);
  @if(!FISHER && COLUMNS_4) var d2 = start(lane, row_of(ky, 2u, channel), column + 3u);
  @if(FISHER && COLUMNS_4) var d2 = Block();
  @if(FISHER && COLUMNS_4) var fd2 = start(lane, row_of(ky, 2u, channel), column + 3u);
  @if(!FISHER && COLUMNS_4 && TAPS_5) var d3 = start(lane, row_of(ky, 3u, channel), column + 3u);
  @if(FISHER && COLUMNS_4 && TAPS_5) var d3 = Block();
  @if(FISHER && COLUMNS_4 && TAPS_5) var fd3 = start(lane, row_of(ky, 3u, channel), column + 3u);
  @if(!FISHER && COLUMNS_4 && TAPS_5) var d4 = start(lane, row_of(ky, 4u, channel), column + 3u);
  @if(FISHER && COLUMNS_4 && TAPS_5) var d4 = Block();
  @if(FISHER && COLUMNS_4 && TAPS_5) var fd4 = start(lane, row_of(ky, 4u, channel), column + 3u);

  for (var t = 0u; t * params.lanes < params.samples; t++) {
    let n = first + t * params.lanes;
    let live = n < params.samples;
    var y = ky - params.padding_y;
    var at = ((n * params.height + y) * params.width - params.padding_x) * params.channels + channel;
    var p = n * params.out_height * params.out_width;
    var ox = 0u;
    for (var i = params.out_height * line_tiles; i > 0u; i--) {
      let inside = (y < params.height) & live;
      let x = ox - params.padding_x;
      let x0 = load(at, inside & (x < params.width));
      let x1 = load(at + params.channels, inside & (x + 1u < params.width));
      let x2 = load(at + 2u * params.channels, inside & (x + 2u < params.width));
      let x3 = load(at + 3u * params.channels, inside & (x + 3u < params.width));
      let x4 = load(at + 4u * params.channels, inside & (x + 4u < params.width));
      let x5 = load(at + 5u * params.channels, inside & (x + 5u < params.width));
      @if(TAPS_5 || PIXELS_7) let x6 = load(at + 6u * params.channels, inside & (x + 6u < params.width));
      @if(TAPS_5 || PIXELS_7) let x7 = load(at + 7u * params.channels, inside & (x + 7u < params.width));
      @if(PIXELS_7) let x8 = load(at + 8u * params.channels, inside & (x + 8u < params.width));
      @if(PIXELS_7 && TAPS_5) let x9 = load(at + 9u * params.channels, inside & (x + 9u < params.width));
      @if(PIXELS_7 && TAPS_5) let x10 = load(at + 10u * params.channels, inside & (x + 10u < params.width));
      let left = select(0u, params.out_width - ox, live);
      @if(QUADS) let own0 = own_gradient(p, left, column, 0u, place);
      @if(QUADS && (PIXELS_7 || COLUMNS_2)) let own1 = own_gradient(p, left, column, 1u, place);
      @if(QUADS && (COLUMNS_4 || (PIXELS_7 && COLUMNS_2))) let own2 = own_gradient(p, left, column, 2u, place);
      @if(QUADS && (COLUMNS_4 || (PIXELS_7 && COLUMNS_2))) let own3 = own_gradient(p, left, column, 3u, place);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let own4 = own_gradient(p, left, column, 4u, place);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let own5 = own_gradient(p, left, column, 5u, place);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let own6 = own_gradient(p, left, column, 6u, place);
      @if(QUADS && !COLUMNS_2) let ad0 = quadBroadcast(own0, 0u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4) let ad0 = quadBroadcast(own0, 0u);
      @if(QUADS && COLUMNS_4) let ad0 = quadBroadcast(own0, 0u);
      @if(!QUADS) let ad0 = gradient_of(p, 0u, left, column);
      @if(QUADS && !COLUMNS_2) let ad1 = quadBroadcast(own0, 1u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4) let ad1 = quadBroadcast(own0, 2u);
      @if(QUADS && COLUMNS_4) let ad1 = quadBroadcast(own1, 0u);
      @if(!QUADS) let ad1 = gradient_of(p, 1u, left, column);
      @if(QUADS && !COLUMNS_2) let ad2 = quadBroadcast(own0, 2u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4) let ad2 = quadBroadcast(own1, 0u);
      @if(QUADS && COLUMNS_4) let ad2 = quadBroadcast(own2, 0u);
      @if(!QUADS) let ad2 = gradient_of(p, 2u, left, column);
      @if(QUADS && !COLUMNS_2) let ad3 = quadBroadcast(own0, 3u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4) let ad3 = quadBroadcast(own1, 2u);
      @if(QUADS && COLUMNS_4) let ad3 = quadBroadcast(own3, 0u);
      @if(!QUADS) let ad3 = gradient_of(p, 3u, left, column);
      @if(QUADS && !COLUMNS_2 && PIXELS_7) let ad4 = quadBroadcast(own1, 0u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let ad4 = quadBroadcast(own2, 0u);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let ad4 = quadBroadcast(own4, 0u);
      @if(!QUADS && PIXELS_7) let ad4 = gradient_of(p, 4u, left, column);
      @if(QUADS && !COLUMNS_2 && PIXELS_7) let ad5 = quadBroadcast(own1, 1u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let ad5 = quadBroadcast(own2, 2u);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let ad5 = quadBroadcast(own5, 0u);
      @if(!QUADS && PIXELS_7) let ad5 = gradient_of(p, 5u, left, column);
      @if(QUADS && !COLUMNS_2 && PIXELS_7) let ad6 = quadBroadcast(own1, 2u);
      @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let ad6 = quadBroadcast(own3, 0u);
      @if(QUADS && COLUMNS_4 && PIXELS_7) let ad6 = quadBroadcast(own6, 0u);
      @if(!QUADS && PIXELS_7) let ad6 = gradient_of(p, 6u, left, column);
      a0 = add_four(a0, x0, x1, x2, x3, ad0, ad1, ad2, ad3);
      a1 = add_four(a1, x1, x2, x3, x4, ad0, ad1, ad2, ad3);
      a2 = add_four(a2, x2, x3, x4, x5, ad0, ad1, ad2, ad3);
      @if(TAPS_5) { a3 = add_four(a3, x3, x4, x5, x6, ad0, ad1, ad2, ad3); }
      @if(TAPS_5) { a4 = add_four(a4, x4, x5, x6, x7, ad0, ad1, ad2, ad3); }
      @if(PIXELS_7) { a0 = add_three(a0, x4, x5, x6, ad4, ad5, ad6); }
      @if(PIXELS_7) { a1 = add_three(a1, x5, x6, x7, ad4, ad5, ad6); }
      @if(PIXELS_7) { a2 = add_three(a2, x6, x7, x8, ad4, ad5, ad6); }
      @if(PIXELS_7 && TAPS_5) { a3 = add_three(a3, x7, x8, x9, ad4, ad5, ad6); }
      @if(PIXELS_7 && TAPS_5) { a4 = add_three(a4, x8, x9, x10, ad4, ad5, ad6); }
      @if(COLUMNS_2) {
        @if(QUADS && COLUMNS_2 && !COLUMNS_4) let bd0 = quadBroadcast(own0, 1u);
        @if(QUADS && COLUMNS_4) let bd0 = quadBroadcast(own0, 1u);
        @if(!QUADS) let bd0 = gradient_of(p, 0u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4) let bd1 = quadBroadcast(own0, 3u);
        @if(QUADS && COLUMNS_4) let bd1 = quadBroadcast(own1, 1u);
        @if(!QUADS) let bd1 = gradient_of(p, 1u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4) let bd2 = quadBroadcast(own1, 1u);
        @if(QUADS && COLUMNS_4) let bd2 = quadBroadcast(own2, 1u);
        @if(!QUADS) let bd2 = gradient_of(p, 2u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4) let bd3 = quadBroadcast(own1, 3u);
        @if(QUADS && COLUMNS_4) let bd3 = quadBroadcast(own3, 1u);
        @if(!QUADS) let bd3 = gradient_of(p, 3u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let bd4 = quadBroadcast(own2, 1u);
        @if(QUADS && COLUMNS_4 && PIXELS_7) let bd4 = quadBroadcast(own4, 1u);
        @if(!QUADS && PIXELS_7) let bd4 = gradient_of(p, 4u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let bd5 = quadBroadcast(own2, 3u);
        @if(QUADS && COLUMNS_4 && PIXELS_7) let bd5 = quadBroadcast(own5, 1u);
        @if(!QUADS && PIXELS_7) let bd5 = gradient_of(p, 5u, left, column + 1u);
        @if(QUADS && COLUMNS_2 && !COLUMNS_4 && PIXELS_7) let bd6 = quadBroadcast(own3, 1u);
        @if(QUADS && COLUMNS_4 && PIXELS_7) let bd6 = quadBroadcast(own6, 1u);
        @if(!QUADS && PIXELS_7) let bd6 = gradient_of(p, 6u, left, column + 1u);
        b0 = add_four(b0, x0, x1, x2, x3, bd0, bd1, bd2, bd3);
        b1 = add_four(b1, x1, x2, x3, x4, bd0, bd1, bd2, bd3);
        b2 = add_four(b2, x2, x3, x4, x5, bd0, bd1, bd2, bd3);
        @if(TAPS_5) { b3 = add_four(b3, x3, x4, x5, x6, bd0, bd1, bd2, bd3); }
        @if(TAPS_5) { b4 = add_four(b4, x4, x5, x6, x7, bd0, bd1, bd2, bd3); }
        @if(PIXELS_7) { b0 = add_three(b0, x4, x5, x6, bd4, bd5, bd6); }
        @if(PIXELS_7) { b1 = add_three(b1, x5, x6, x7, bd4, bd5, bd6); }
        @if(PIXELS_7) { b2 = add_three(b2, x6, x7, x8, bd4, bd5, bd6); }
        @if(PIXELS_7 && TAPS_5) { b3 = add_three(b3, x7, x8, x9, bd4, bd5, bd6); }
        @if(PIXELS_7 && TAPS_5) { b4 = add_three(b4, x8, x9, x10, bd4, bd5, bd6); }
      }
      @if(COLUMNS_4) {
        @if(QUADS) let cd0 = quadBroadcast(own0, 2u);
        @if(!QUADS) let cd0 = gradient_of(p, 0u, left, column + 2u);
        @if(QUADS) let cd1 = quadBroadcast(own1, 2u);
        @if(!QUADS) let cd1 = gradient_of(p, 1u, left, column + 2u);
        @if(QUADS) let cd2 = quadBroadcast(own2, 2u);
        @if(!QUADS) let cd2 = gradient_of(p, 2u, left, column + 2u);
        @if(QUADS) let cd3 = quadBroadcast(own3, 2u);
        @if(!QUADS) let cd3 = gradient_of(p, 3u, left, column + 2u);
        @if(QUADS && PIXELS_7) let cd4 = quadBroadcast(own4, 2u);
        @if(!QUADS && PIXELS_7) let cd4 = gradient_of(p, 4u, left, column + 2u);
        @if(QUADS && PIXELS_7) let cd5 = quadBroadcast(own5, 2u);
        @if(!QUADS && PIXELS_7) let cd5 = gradient_of(p, 5u, left, column + 2u);
        @if(QUADS && PIXELS_7) let cd6 = quadBroadcast(own6, 2u);
        @if(!QUADS && PIXELS_7) let cd6 = gradient_of(p, 6u, left, column + 2u);
        c0 = add_four(c0, x0, x1, x2, x3, cd0, cd1, cd2, cd3);
        c1 = add_four(c1, x1, x2, x3, x4, cd0, cd1, cd2, cd3);
        c2 = add_four(c2, x2, x3, x4, x5, cd0, cd1, cd2, cd3);
        @if(TAPS_5) { c3 = add_four(c3, x3, x4, x5, x6, cd0, cd1, cd2, cd3); }
        @if(TAPS_5) { c4 = add_four(c4, x4, x5, x6, x7, cd0, cd1, cd2, cd3); }
        @if(PIXELS_7) { c0 = add_three(c0, x4, x5, x6, cd4, cd5, cd6); }
        @if(PIXELS_7) { c1 = add_three(c1, x5, x6, x7, cd4, cd5, cd6); }
        @if(PIXELS_7) { c2 = add_three(c2, x6, x7, x8, cd4, cd5, cd6); }
        @if(PIXELS_7 && TAPS_5) { c3 = add_three(c3, x7, x8, x9, cd4, cd5, cd6); }
        @if(PIXELS_7 && TAPS_5) { c4 = add_three(c4, x8, x9, x10, cd4, cd5, cd6); }
      }
      @if(COLUMNS_4) {
        @if(QUADS) let dd0 = quadBroadcast(own0, 3u);
        @if(!QUADS) let dd0 = gradient_of(p, 0u, left, column + 3u);
        @if(QUADS) let dd1 = quadBroadcast(own1, 3u);
        @if(!QUADS) let dd1 = gradient_of(p, 1u, left, column + 3u);
        @if(QUADS) let dd2 = quadBroadcast(own2, 3u);
        @if(!QUADS) let dd2 = gradient_of(p, 2u, left, column + 3u);
        @if(QUADS) let dd3 = quadBroadcast(own3, 3u);
        @if(!QUADS) let dd3 = gradient_of(p, 3u, left, column + 3u);
        @if(QUADS && PIXELS_7) let dd4 = quadBroadcast(own4, 3u);
        @if(!QUADS && PIXELS_7) let dd4 = gradient_of(p, 4u, left, column + 3u);
        @if(QUADS && PIXELS_7) let dd5 = quadBroadcast(own5, 3u);
        @if(!QUADS && PIXELS_7) let dd5 = gradient_of(p, 5u, left, column + 3u);
        @if(QUADS && PIXELS_7) let dd6 = quadBroadcast(own6, 3u);
        @if(!QUADS && PIXELS_7) let dd6 = gradient_of(p, 6u, left, column + 3u);
        d0 = add_four(d0, x0, x1, x2, x3, dd0, dd1, dd2, dd3);
        d1 = add_four(d1, x1, x2, x3, x4, dd0, dd1, dd2, dd3);
        d2 = add_four(d2, x2, x3, x4, x5, dd0, dd1, dd2, dd3);
        @if(TAPS_5) { d3 = add_four(d3, x3, x4, x5, x6, dd0, dd1, dd2, dd3); }
        @if(TAPS_5) { d4 = add_four(d4, x4, x5, x6, x7, dd0, dd1, dd2, dd3); }
        @if(PIXELS_7) { d0 = add_three(d0, x4, x5, x6, dd4, dd5, dd6); }
        @if(PIXELS_7) { d1 = add_three(d1, x5, x6, x7, dd4, dd5, dd6); }
        @if(PIXELS_7) { d2 = add_three(d2, x6, x7, x8, dd4, dd5, dd6); }
        @if(PIXELS_7 && TAPS_5) { d3 = add_three(d3, x7, x8, x9, dd4, dd5, dd6); }
        @if(PIXELS_7 && TAPS_5) { d4 = add_three(d4, x8, x9, x10, dd4, dd5, dd6); }
      }

      ox += tile_width;
      p += tile_width;
      at += tile_width * params.channels;
      let wraps = ox >= params.out_width;
      p -= select(0u, ox - params.out_width, wraps);
      at += select(0u, line_step, wraps);
      y += select(0u, 1u, wraps);
      ox = select(ox, 0u, wraps);
    }
    @if(FISHER) {
      fa0 += squared(a0);
      fa1 += squared(a1);
      fa2 += squared(a2);
      a0 = Block(); a1 = Block(); a2 = Block();
    }
    @if(FISHER && TAPS_5) {
      fa3 += squared(a3);
      fa4 += squared(a4);
      a3 = Block(); a4 = Block();
    }
    @if(FISHER && COLUMNS_2) {
      fb0 += squared(b0);
      fb1 += squared(b1);
      fb2 += squared(b2);
      b0 = Block(); b1 = Block(); b2 = Block();
    }
    @if(FISHER && COLUMNS_2 && TAPS_5) {
      fb3 += squared(b3);
      fb4 += squared(b4);
      b3 = Block(); b4 = Block();
    }
    @if(FISHER && COLUMNS_4) {
      fc0 += squared(c0);
      fc1 += squared(c1);
      fc2 += squared(c2);
      c0 = Block(); c1 = Block(); c2 = Block();
    }
    @if(FISHER && COLUMNS_4 && TAPS_5) {
      fc3 += squared(c3);
      fc4 += squared(c4);
      c3 = Block(); c4 = Block();
    }
    @if(FISHER && COLUMNS_4) {
      fd0 += squared(d0);
      fd1 += squared(d1);
      fd2 += squared(d2);
      d0 = Block(); d1 = Block(); d2 = Block();
    }
    @if(FISHER && COLUMNS_4 && TAPS_5) {
      fd3 += squared(d3);
      fd4 += squared(d4);
      d3 = Block(); d4 = Block();
    }
  }
  if ((first >= min(params.lanes, params.samples)) | (ky >= params.kernel_height)) { return; }

  @if(!FISHER) {
    finish(lane, row_of(ky, 0u, channel), column, a0);
    finish(lane, row_of(ky, 1u, channel), column, a1);
    finish(lane, row_of(ky, 2u, channel), column, a2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column, a3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column, a4); }
  }
  @if(!FISHER && COLUMNS_2) {
    finish(lane, row_of(ky, 0u, channel), column + 1u, b0);
    finish(lane, row_of(ky, 1u, channel), column + 1u, b1);
    finish(lane, row_of(ky, 2u, channel), column + 1u, b2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 1u, b3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 1u, b4); }
  }
  @if(!FISHER && COLUMNS_4) {
    finish(lane, row_of(ky, 0u, channel), column + 2u, c0);
    finish(lane, row_of(ky, 1u, channel), column + 2u, c1);
    finish(lane, row_of(ky, 2u, channel), column + 2u, c2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 2u, c3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 2u, c4); }
  }
  @if(!FISHER && COLUMNS_4) {
    finish(lane, row_of(ky, 0u, channel), column + 3u, d0);
    finish(lane, row_of(ky, 1u, channel), column + 3u, d1);
    finish(lane, row_of(ky, 2u, channel), column + 3u, d2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 3u, d3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 3u, d4); }
  }
  @if(FISHER) {
    finish(lane, row_of(ky, 0u, channel), column, fa0);
    finish(lane, row_of(ky, 1u, channel), column, fa1);
    finish(lane, row_of(ky, 2u, channel), column, fa2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column, fa3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column, fa4); }
  }
  @if(FISHER && COLUMNS_2) {
    finish(lane, row_of(ky, 0u, channel), column + 1u, fb0);
    finish(lane, row_of(ky, 1u, channel), column + 1u, fb1);
    finish(lane, row_of(ky, 2u, channel), column + 1u, fb2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 1u, fb3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 1u, fb4); }
  }
  @if(FISHER && COLUMNS_4) {
    finish(lane, row_of(ky, 0u, channel), column + 2u, fc0);
    finish(lane, row_of(ky, 1u, channel), column + 2u, fc1);
    finish(lane, row_of(ky, 2u, channel), column + 2u, fc2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 2u, fc3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 2u, fc4); }
  }
  @if(FISHER && COLUMNS_4) {
    finish(lane, row_of(ky, 0u, channel), column + 3u, fd0);
    finish(lane, row_of(ky, 1u, channel), column + 3u, fd1);
    finish(lane, row_of(ky, 2u, channel), column + 3u, fd2);
    @if(TAPS_5) { finish(lane, row_of(ky, 3u, channel), column + 3u, fd3); }
    @if(TAPS_5) { finish(lane, row_of(ky, 4u, channel), column + 3u, fd4); }
  }
}
