// What the adaptive average pooling kernels share: values one or four channels at a time, the geometry, and PyTorch's
// bins. The outputs whose bins hold a pixel are found as the bins are, with the sizes swapped.
// With CHANNELS_VEC4 (channels % 4 == 0) `channels` counts vec4s.

@if(CHANNELS_VEC4) alias Value = vec4f;
@if(!CHANNELS_VEC4) alias Value = f32;

struct Params {
  count: u32,
  height: u32,
  width: u32,
  channels: u32,
  out_height: u32,
  out_width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

fn bin_start(o: u32, size: u32, out_size: u32) -> u32 {
  return o * size / out_size;
}

fn bin_end(o: u32, size: u32, out_size: u32) -> u32 {
  return ((o + 1u) * size + out_size - 1u) / out_size;
}
