// One elementwise map over vec4s, chosen by condition; the table of forward and derivative expressions.
//   ADD            a + b                        MULTIPLY       a * b
//   SCALE          scale * a                    SQUARE         a * a
//   ADD_BIAS       a + b[i mod channels], with RECTIFY RELU of it         FILL  scale
// Activations of a, NaN kept, and with _GRADIENT a times their derivative:
//   RELU           max(a, 0)                    by b = Y: 1 where Y > 0, else 0
//   RELU6          min(max(a, 0), 6)            by b = Y: 1 where 0 < Y < 6, else 0
//   SIGMOID, TANH, GELU, SILU                   by b = X; see activation.wgsl
// BINARY maps take b. With CHANNELS_VEC4 `channels` counts vec4s of the bias.
// Dispatch: one invocation a vec4; buffers are padded to whole vec4s, so the tail needs no care.
import package::dispatch::linear_index;
import package::activation::{sigmoid, sigmoid_derivative, accurate_tanh, tanh_derivative};
import package::activation::{gelu, gelu_derivative, silu, silu_derivative};

struct Params {
  count: u32,
  channels: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@if(!FILL) @group(0) @binding(1) var<storage, read> a: array<vec4f>;
@if(BINARY && (!ADD_BIAS || CHANNELS_VEC4)) @group(0) @binding(2) var<storage, read> b: array<vec4f>;
@if(ADD_BIAS && !CHANNELS_VEC4) @group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4f>;

fn rectify(x: vec4f) -> vec4f {
  @if(RECTIFY) return select(x, vec4f(), x < vec4f());
  @if(!RECTIFY) return x;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  @if(RELU) {
    let x = a[i];
    result[i] = select(x, vec4f(), x < vec4f());
  }
  @if(RELU_GRADIENT) { result[i] = select(vec4f(), a[i], b[i] > vec4f()); }
  @if(RELU6) {
    let x = a[i];
    let rectified = select(x, vec4f(), x < vec4f());
    result[i] = select(rectified, vec4f(6.0), rectified > vec4f(6.0));
  }
  @if(RELU6_GRADIENT) {
    let y = b[i];
    let passed = select(a[i], vec4f(), y >= vec4f(6.0));
    result[i] = select(vec4f(), passed, y > vec4f());
  }
  @if(SIGMOID) { result[i] = sigmoid(a[i]); }
  @if(SIGMOID_GRADIENT) { result[i] = a[i] * sigmoid_derivative(b[i]); }
  @if(TANH) { result[i] = accurate_tanh(a[i]); }
  @if(TANH_GRADIENT) { result[i] = a[i] * tanh_derivative(b[i]); }
  @if(GELU) { result[i] = gelu(a[i]); }
  @if(GELU_GRADIENT) { result[i] = a[i] * gelu_derivative(b[i]); }
  @if(SILU) { result[i] = silu(a[i]); }
  @if(SILU_GRADIENT) { result[i] = a[i] * silu_derivative(b[i]); }
  @if(ADD) { result[i] = a[i] + b[i]; }
  @if(MULTIPLY) { result[i] = a[i] * b[i]; }
  @if(SCALE) { result[i] = params.scale * a[i]; }
  @if(SQUARE) {
    let x = a[i];
    result[i] = x * x;
  }
  @if(ADD_BIAS && CHANNELS_VEC4) { result[i] = rectify(a[i] + b[i % params.channels]); }
  @if(ADD_BIAS && !CHANNELS_VEC4) {
    let c = (4u * i) % params.channels;
    let c1 = select(c + 1u, 0u, c + 1u == params.channels);
    let c2 = select(c1 + 1u, 0u, c1 + 1u == params.channels);
    let c3 = select(c2 + 1u, 0u, c2 + 1u == params.channels);
    result[i] = rectify(a[i] + vec4f(b[c], b[c1], b[c2], b[c3]));
  }
  @if(FILL) { result[i] = vec4f(params.scale); }
}
