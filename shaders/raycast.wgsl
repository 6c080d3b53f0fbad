// The surface seen through every pixel of procedural scenes, and its colour. The ray of pixel (x, y) goes from the
// camera along d = normalised(forward + u right + v up), u = (2 (x + 1/2) / size - 1) slope,
// v = (1 - 2 (y + 1/2) / size) slope.
//
// A solid is what three slabs lower <= q <= upper and, where round, sum(w q^2) <= radius^2 have in common, q being
// coordinates along its axes: w = (1,1,1) makes a ball, w = (1,0,1) a cylinder, w = 0 a box or half-space. A ray is
// inside of each between two distances; it enters the solid at the largest of the near ones, if that is before the
// smallest of the far ones, and the surface there is that of whichever was entered last.
//
// colour   = albedo (ambient (0.8 + 0.2 n_y) + sum over lights of c max(0, n.l) seen / (1 + falloff distance^2)), rgb
// albedo   = mix(first, second, texture); the texture is the parity of the cell of q frequency + phase, or value
//            noise between hashes at the corners of the cell
// shading  = n.(-d), for a light at the camera
// curvatures are 1/r and 1/r on balls, 1/r and 0 on the sides of cylinders, else 0
// Where no solid is hit: number 0, distance and depth `far`, the sky's colour, everything else 0.
//
// `scenes` holds `stride` vec4s a scene, laid out by data/scenes/raycast.ts.
// Dispatch: one invocation a pixel, of scene after scene.
import package::dispatch::linear_index;

struct Params {
  count: u32,
  size: u32,
  stride: u32,
}

struct Span {
  /// Where slabs x, y, z and the round part are entered.
  near: vec4f,
  enter: f32,
  leave: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scenes: array<vec4f>;
/// Colour, shading.
@group(0) @binding(2) var<storage, read_write> colour: array<vec4f>;
/// Normal in the camera's frame (right, up, towards it), distance.
@group(0) @binding(3) var<storage, read_write> surface: array<vec4f>;
/// Number of the solid from 1, principal curvatures, depth along the camera's axis.
@group(0) @binding(4) var<storage, read_write> shape: array<vec4f>;

const HEADER = 10u;
const SOLID = 10u;
const UNBOUNDED = 1e9;
const LEAST = 1e-9;
const FAR = 1e3;
/// Metres from a surface at which its rays to the lights begin.
const BIAS = 1e-3;

/// Coordinates along the axes of the solid at `at`.
fn to_local(at: u32, v: vec3f) -> vec3f {
  return vec3f(dot(scenes[at + 3u].xyz, v), dot(scenes[at + 4u].xyz, v), dot(scenes[at + 5u].xyz, v));
}

/// Where a ray, in coordinates of the solid at `at`, is inside of it.
fn span_of(at: u32, origin: vec3f, direction: vec3f) -> Span {
  let inverse = 1.0 / select(direction, vec3f(LEAST), abs(direction) < vec3f(LEAST));
  let first = (scenes[at + 1u].xyz - origin) * inverse;
  let second = (scenes[at + 2u].xyz - origin) * inverse;
  let near = min(first, second);
  let far = max(first, second);
  let w = vec3f(scenes[at + 3u].w, scenes[at + 4u].w, scenes[at + 5u].w);
  let radius = scenes[at].w;
  let a = max(dot(w * direction, direction), LEAST);
  let middle = -dot(w * origin, direction) / a;
  let closest = origin + middle * direction;
  let rest = radius * radius - dot(w * closest, closest);
  let half = select(sqrt(max(rest, 0.0) / a), -UNBOUNDED, rest < 0.0);
  let round = w.x > 0.0;
  let round_near = select(-UNBOUNDED, middle - half, round);
  let round_far = select(UNBOUNDED, middle + half, round);
  var span: Span;
  span.near = vec4f(near, round_near);
  span.enter = max(max(near.x, near.y), max(near.z, round_near));
  span.leave = min(min(far.x, far.y), min(far.z, round_far));
  return span;
}

/// 0 if the solid at `at` lies between a point and a light.
fn seen_past(at: u32, point: vec3f, direction: vec3f, distance: f32) -> f32 {
  let span = span_of(at, to_local(at, point - scenes[at].xyz), to_local(at, direction));
  return select(1.0, 0.0, (span.enter < span.leave) & (span.leave > 0.0) & (span.enter < distance));
}

/// A number in [0, 1) for a corner of the lattice.
fn hash(corner: vec3i, seed: u32) -> f32 {
  let c = bitcast<vec3u>(corner);
  var h = (c.x * 0x8da6b343u) ^ (c.y * 0xd8163841u) ^ (c.z * 0xcb1ab31fu) ^ seed;
  h = (h ^ (h >> 16u)) * 0x7feb352du;
  h = (h ^ (h >> 15u)) * 0x846ca68bu;
  return f32((h ^ (h >> 16u)) >> 8u) / 16777216.0;
}

fn hash_along_x(corner: vec3i, seed: u32, x: f32) -> f32 {
  return mix(hash(corner, seed), hash(corner + vec3i(1, 0, 0), seed), x);
}

/// Share of the second colour at a point of the solid at `at`.
fn texture_at(at: u32, point: vec3f) -> f32 {
  let q = point * scenes[at + 8u].xyz + scenes[at + 9u].xyz;
  let whole = floor(q);
  let corner = vec3i(whole);
  let parity = f32((corner.x + corner.y + corner.z) & 1);
  let part = q - whole;
  let s = part * part * (3.0 - 2.0 * part);
  let seed = u32(scenes[at + 9u].w);
  let low = mix(hash_along_x(corner, seed, s.x), hash_along_x(corner + vec3i(0, 1, 0), seed, s.x), s.y);
  let high = mix(
    hash_along_x(corner + vec3i(0, 0, 1), seed, s.x),
    hash_along_x(corner + vec3i(0, 1, 1), seed, s.x),
    s.y,
  );
  return select(parity, mix(low, high, s.z), scenes[at + 8u].w > 0.0);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = linear_index(id, groups);
  if (i >= params.count) { return; }
  let line = i / params.size;
  let scene = (line / params.size) * params.stride;
  let size = f32(params.size);
  let eye = scenes[scene].xyz;
  let slope = scenes[scene].w;
  let right = scenes[scene + 1u].xyz;
  let up = scenes[scene + 2u].xyz;
  let forward = scenes[scene + 3u].xyz;
  let u = (2.0 * (f32(i % params.size) + 0.5) / size - 1.0) * slope;
  let v = (1.0 - 2.0 * (f32(line % params.size) + 0.5) / size) * slope;
  let direction = normalize(forward + u * right + v * up);

  let solids = scene + HEADER;
  let first_object = solids + SOLID * u32(scenes[scene + 1u].w);
  let end = solids + SOLID * u32(scenes[scene + 2u].w);
  var distance = FAR;
  var best = solids;
  for (var at = solids; at < end; at += SOLID) {
    let span = span_of(at, to_local(at, eye - scenes[at].xyz), to_local(at, direction));
    let closer = (span.enter < span.leave) & (span.enter > 0.0) & (span.enter < distance);
    distance = select(distance, span.enter, closer);
    best = select(best, at, closer);
  }
  let hit = distance < FAR;

  let local_eye = to_local(best, eye - scenes[best].xyz);
  let local_direction = to_local(best, direction);
  let near = span_of(best, local_eye, local_direction).near;
  let local_point = local_eye + distance * local_direction;
  let flat_near = max(max(near.x, near.y), near.z);
  let round = near.w > flat_near;
  let w = vec3f(scenes[best + 3u].w, scenes[best + 4u].w, scenes[best + 5u].w);
  let is_x = near.x == flat_near;
  let is_y = !is_x & (near.y == flat_near);
  let is_z = !is_x & !is_y;
  let flat = -sign(local_direction) * vec3f(vec3<bool>(is_x, is_y, is_z));
  let n = select(flat, normalize(select(vec3f(1.0), w * local_point, round)), round);
  let normal = n.x * scenes[best + 3u].xyz + n.y * scenes[best + 4u].xyz + n.z * scenes[best + 5u].xyz;

  let start = eye + distance * direction + BIAS * normal;
  let to_first = scenes[scene + 4u].xyz - start;
  let to_second = scenes[scene + 6u].xyz - start;
  let first_distance = length(to_first);
  let second_distance = length(to_second);
  let first_direction = to_first / first_distance;
  let second_direction = to_second / second_distance;
  var seen = vec2f(1.0);
  for (var at = first_object; at < end; at += SOLID) {
    seen *= vec2f(
      seen_past(at, start, first_direction, first_distance),
      seen_past(at, start, second_direction, second_distance),
    );
  }
  let facing = max(vec2f(dot(normal, first_direction), dot(normal, second_direction)), vec2f());
  let squared = vec2f(first_distance * first_distance, second_distance * second_distance);
  let falloff = vec2f(scenes[scene + 4u].w, scenes[scene + 6u].w);
  let lit = seen * facing / (1.0 + falloff * squared);
  let ambient = scenes[scene + 5u].w * (0.8 + 0.2 * normal.y);
  let light = ambient + lit.x * scenes[scene + 5u].xyz + lit.y * scenes[scene + 7u].xyz;
  let albedo = mix(scenes[best + 6u].xyz, scenes[best + 7u].xyz, texture_at(best, local_point));
  let sky = mix(scenes[scene + 9u].xyz, scenes[scene + 8u].xyz, clamp(direction.y, 0.0, 1.0));

  let curvature = select(0.0, 1.0 / scenes[best].w, round);
  let number = f32((best - solids) / SOLID + 1u);
  let facing_camera = vec3f(dot(right, normal), dot(up, normal), -dot(forward, normal));
  colour[i] = select(
    vec4f(sky, 0.0),
    vec4f(albedo * light, -dot(normal, direction)),
    hit,
  );
  surface[i] = select(vec4f(0.0, 0.0, 0.0, FAR), vec4f(facing_camera, distance), hit);
  shape[i] = select(
    vec4f(0.0, 0.0, 0.0, FAR),
    vec4f(number, curvature, curvature * w.y, distance * dot(direction, forward)),
    hit,
  );
}
