// Adam (Kingma & Ba 2015), PyTorch's form:
//   m = beta1 * m + (1 - beta1) * g;  s = beta2 * s + (1 - beta2) * g^2
//   w = w - rate * m / (sqrt(s) * inverse_root + epsilon)
// with rate = learning rate / (1 - beta1^t) and inverse_root = 1 / sqrt(1 - beta2^t) computed on the CPU.
// Dispatch: one invocation a vec4.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  rate: f32,
  beta1: f32,
  beta2: f32,
  epsilon: f32,
  inverse_root: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> first: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> second: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> weights: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let g = gradient[i];
  let m = params.beta1 * first[i] + (1.0 - params.beta1) * g;
  let s = params.beta2 * second[i] + (1.0 - params.beta2) * g * g;
  first[i] = m;
  second[i] = s;
  weights[i] = weights[i] - params.rate * m / (sqrt(s) * params.inverse_root + params.epsilon);
}
