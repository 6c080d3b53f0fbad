import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { dataSpec, openData } from '../data/index.ts';
import {
  domains,
  drawScene,
  raycast,
  renderPictures,
  renderScenes,
  type Scene,
  type Solid,
} from '../data/scenes/index.ts';
import { labelPictures } from '../data/scenes/labels.ts';
import { FAR } from '../data/scenes/scene.ts';
import { Gpu } from '../engine/index.ts';
import { assertClose, failsWith } from './assertions.ts';
import { property } from './property.ts';
import { look, plain } from './raycast_reference.ts';

const gpu = await Gpu.create();
after(() => gpu.dispose());

const cases = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  index: fc.integer({ min: 0, max: 1e6 }),
  size: fc.constantFrom(15, 16, 24),
});

/** A camera at the origin that looks along z, a light behind it, and nothing else. */
function empty(room: Solid[], objects: Solid[] = []): Scene {
  return {
    camera: { position: [0, 0, 0], right: [1, 0, 0], up: [0, 1, 0], forward: [0, 0, 1], slope: 0.7 },
    room,
    objects,
    lights: [{ position: [1, 2, -3], colour: [1, 1, 1], falloff: 0 }],
    ambient: 0.3,
    sky: { zenith: [0, 0, 1], horizon: [1, 1, 1] },
  };
}

const rows = (values: Float32Array) =>
  Array.from({ length: values.length / 4 }, (_, i) => [...values.subarray(4 * i, 4 * i + 4)]);

test('every pixel is what a float64 ray-caster sees, but for rays that pass an edge', async () => {
  let pixels = 0;
  let passed = 0;
  await property(cases, 40, async ({ seed, index, size }) => {
    const scene = drawScene(seed, index);
    const seen = await raycast(gpu, [scene], size);
    const [colours, surfaces, shapes] = [rows(seen.colour), rows(seen.surface), rows(seen.shape)];
    for (let i = 0; i < size * size; i++) {
      const [x, y] = [(i % size) + 0.5, Math.floor(i / size) + 0.5];
      const sight = look(scene, size, x, y);
      pixels++;
      const beside = [-1, 1].flatMap((step) => [
        look(scene, size, x + step * 2e-3, y),
        look(scene, size, x, y + step * 2e-3),
      ]);
      if (sight.onBorder || beside.some(({ code }) => code !== sight.code)) {
        passed++;
        continue;
      }
      const what = `scene ${index} of ${seed}, pixel ${x}, ${y} of ${size}`;
      const close = (
        actual: readonly number[],
        expected: readonly number[],
        tolerance: number,
        name: string,
      ) => {
        for (const [j, value] of expected.entries()) {
          const error = Math.abs(actual[j]! - value) / Math.max(1, Math.abs(value));
          assert.ok(error < tolerance, `${what}: ${name} [${actual}], not [${expected}]`);
        }
      };
      close(surfaces[i]!, sight.surface, 2e-4, 'normal and distance');
      close(shapes[i]!, sight.shape, 2e-4, 'number, curvatures and depth');
      close(colours[i]!, sight.colour, 2e-3, 'colour and shading');
    }
  });
  assert.ok(passed < 0.03 * pixels, `${passed} of ${pixels} pixels left out`);
});

test('a ball in front has its nearest point in the middle, of curvature 1 / r', async () => {
  const ball = plain({ centre: [0, 0, 5], round: [1, 1, 1], radius: 0.8 });
  const seen = await raycast(gpu, [empty([], [ball])], 33);
  const middle = 16 * 33 + 16;
  assertClose(rows(seen.surface)[middle]!, [0, 0, 1, 4.2], 1e-6, 'normal and distance');
  assertClose(rows(seen.shape)[middle]!, [1, 1.25, 1.25, 4.2], 1e-6, 'number, curvatures, depth');
  assert.ok(Math.abs(rows(seen.colour)[middle]![3]! - 1) < 1e-6, 'shading');
  assert.deepEqual(rows(seen.shape)[0], [0, 0, 0, FAR]);
});

test('an upright cylinder is curved by 1 / r one way and its ends are flat', async () => {
  const cylinder = plain({
    centre: [0, -1, 4],
    lower: [-1e9, -0.5, -1e9],
    upper: [1e9, 0.5, 1e9],
    round: [1, 0, 1],
    radius: 0.5,
  });
  const seen = await raycast(gpu, [empty([], [cylinder])], 64);
  const surfaces = rows(seen.surface);
  const found = new Map(rows(seen.shape).map(([number, k1, k2], i) => [`${[number, k1, k2]}`, surfaces[i]!]));
  assert.deepEqual([...found.keys()].sort(), ['0,0,0', '1,0,0', '1,2,0']);
  assertClose(found.get('1,0,0')!.slice(0, 3), [0, 1, 0], 1e-6, 'normal of the upper end');
});

test('a wall straight ahead has one depth and one normal', async () => {
  const wall = plain({
    centre: [0, 0, 3],
    axes: [
      [1, 0, 0],
      [0, 0, -1],
      [0, 1, 0],
    ],
    upper: [1e9, 0, 1e9],
  });
  const seen = await raycast(gpu, [empty([wall])], 16);
  for (const [i, [number, k1, k2, depth]] of rows(seen.shape).entries()) {
    assert.deepEqual([number, k1, k2], [1, 0, 0]);
    const [x, y, z, distance] = rows(seen.surface)[i]!;
    assert.deepEqual([x, y, z], [0, 0, 1]);
    const [u, v] = [(2 * ((i % 16) + 0.5)) / 16 - 1, 1 - (2 * (Math.floor(i / 16) + 0.5)) / 16];
    const cosine = 1 / Math.hypot(1, 0.7 * u, 0.7 * v);
    assertClose([depth!, distance! * cosine, rows(seen.colour)[i]![3]!], [3, 3, cosine], 1e-5, `pixel ${i}`);
  }
});

test('normals have length 1 and depth is distance times the cosine, whatever the scene', async () => {
  await property(cases, 20, async ({ seed, index, size }) => {
    const scene = drawScene(seed, index);
    const seen = await raycast(gpu, [scene], size);
    const shapes = rows(seen.shape);
    for (const [i, [x, y, z, distance]] of rows(seen.surface).entries()) {
      const [number, , , depth] = shapes[i]!;
      if (number === 0) continue;
      assert.ok(Math.abs(Math.hypot(x!, y!, z!) - 1) < 1e-5);
      const [u, v] = [(2 * ((i % size) + 0.5)) / size - 1, 1 - (2 * (Math.floor(i / size) + 0.5)) / size];
      const cosine = 1 / Math.hypot(1, scene.camera.slope * u, scene.camera.slope * v);
      assert.ok(Math.abs(depth! - distance! * cosine) < 1e-5 * distance!);
    }
  });
});

/** A scene with every solid changed. */
const painted = (scene: Scene, paint: (solid: Solid) => Solid): Scene => ({
  ...scene,
  room: scene.room.map(paint),
  objects: scene.objects.map(paint),
});

test('texture changes the picture and what is told of it, and nothing else; so does light', async () => {
  const scenes = [0, 1, 2, 3, 4, 5].map((index) => drawScene(11, index));
  const bare = scenes.map((scene) =>
    painted(scene, (solid) => ({ ...solid, texture: { ...solid.texture, second: solid.texture.first } })),
  );
  const relit = scenes.map(
    (scene): Scene => ({
      ...scene,
      lights: [{ position: [0.5, 2.2, -0.5], colour: [0.9, 0.5, 0.4], falloff: 0.1 }],
    }),
  );
  const before = await renderPictures(gpu, scenes, 32);
  const ofPicture = ['edge_texture', 'keypoints2d', 'rgb'];
  for (const changed of [bare, relit]) {
    const pictures = await renderPictures(gpu, changed, 32);
    for (const domain of domains) {
      const same = pictures.every((picture, i) => equal(picture[domain], before[i]![domain]));
      assert.equal(same, !ofPicture.includes(domain), domain);
    }
  }
});

function equal(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The labels of a picture of which only one thing is given; all else is one plane. */
function labelsOf(
  size: number,
  about: { grey?: number[]; number?: number[]; distance?: number[]; normal?: number[][] },
) {
  const four = (row: (i: number) => number[]) =>
    Float32Array.from({ length: 4 * size * size }, (_, i) => row(Math.floor(i / 4))[i % 4]!);
  return labelPictures({
    size,
    room: 1,
    picture: Float64Array.from({ length: 3 * size * size }, (_, i) => about.grey?.[Math.floor(i / 3)] ?? 0.5),
    seen: {
      colour: four(() => [0, 0, 0, 0.25]),
      surface: four((i) => [...(about.normal?.[i] ?? [0, 0, 1]), about.distance?.[i] ?? 6]),
      shape: four((i) => [about.number?.[i] ?? 1, 2, 0, 3]),
    },
  });
}

const square = (size: number, value: (x: number, y: number) => number) =>
  Array.from({ length: size * size }, (_, i) => value(i % size, Math.floor(i / size)));
const firstChannel = (picture: Float64Array) => [...picture].filter((_, i) => i % 3 === 0);

test('labels have their stated scales', () => {
  const labels = labelsOf(4, {});
  assert.ok(labels.depth_euclidean.every((value) => value === 0.5));
  assert.ok(labels.depth_zbuffer.every((value) => value === 0.25));
  assert.deepEqual([...labels.normal.subarray(0, 3)], [0.5, 0.5, 1]);
  assert.deepEqual([...labels.principal_curvature.subarray(0, 3)], [0.625, 0.5, 0.5]);
  assert.ok(labels.reshading.every((value) => value === 0.25));
  for (const domain of ['edge_occlusion', 'edge_texture', 'keypoints2d', 'keypoints3d'] as const) {
    assert.ok(
      labels[domain].every((value) => value === 0),
      domain,
    );
  }
  const sky = labelsOf(4, { number: square(4, () => 0), distance: square(4, () => FAR) });
  assert.ok(sky.depth_euclidean.every((value) => value === 1));
});

test('2D edges are the slope of the picture over a quarter', () => {
  const ramp = firstChannel(labelsOf(5, { grey: square(5, (x, y) => 0.03 * x + 0.04 * y) }).edge_texture);
  for (const y of [1, 2, 3]) for (const x of [1, 2, 3]) assert.ok(Math.abs(ramp[5 * y + x]! - 0.2) < 1e-12);
  const step = firstChannel(labelsOf(6, { grey: square(6, (x) => (x < 3 ? 0 : 0.4)) }).edge_texture);
  for (const [x, value] of [0, 0, 0.8, 0.8, 0, 0].entries())
    assert.ok(Math.abs(step[12 + x]! - value) < 1e-12);
});

test('3D edges are jumps of distance between solids, not within one nor within the room', () => {
  const distance = square(6, (x) => (x < 3 ? 2 : 2.5));
  const between = firstChannel(
    labelsOf(6, { distance, number: square(6, (x) => (x < 3 ? 2 : 1)) }).edge_occlusion,
  );
  for (const [x, value] of [0, 0, 0.5, 0.5, 0, 0].entries()) assert.ok(Math.abs(between[x]! - value) < 1e-6);
  const within = labelsOf(6, { distance, number: square(6, () => 2) }).edge_occlusion;
  assert.ok(within.every((value) => value === 0));
});

test('keypoints are where two edges meet: in the picture, or on the surface', () => {
  const size = 9;
  const grey = square(size, (x, y) => (x < 4 && y < 4 ? 0.6 : 0.2));
  const normal = grey.map((value) => (value > 0.5 ? [0, 1, 0] : [0, 0, 1]));
  const tested = [
    [labelsOf(size, { grey }).keypoints2d, labelsOf(size, { normal }).keypoints2d],
    [labelsOf(size, { normal }).keypoints3d, labelsOf(size, { grey }).keypoints3d],
  ] as const;
  for (const [pictures, other] of tested) {
    const keypoints = firstChannel(pictures);
    const [corner, edge, flat] = [
      keypoints[4 * size + 4]!,
      keypoints[4 * size + 1]!,
      keypoints[8 * size + 8]!,
    ];
    assert.ok(corner > 0.3 && edge < 1e-6 && flat === 0, `${corner}, ${edge}, ${flat}`);
    assert.ok(other.every((value) => value === 0));
  }
});

test('scenes are drawn from their two numbers: 3 to 8 objects in sight, some in rooms, some not', () => {
  const scenes = Array.from({ length: 200 }, (_, index) => drawScene(3, index));
  assert.deepEqual(drawScene(3, 7), scenes[7]);
  assert.notDeepEqual(drawScene(4, 7), scenes[7]);
  assert.deepEqual([...new Set(scenes.map(({ objects }) => objects.length))].sort(), [3, 4, 5, 6, 7, 8]);
  assert.deepEqual([...new Set(scenes.map(({ room }) => room.length))].sort(), [1, 6]);
  assert.deepEqual([...new Set(scenes.map(({ lights }) => lights.length))].sort(), [1, 2]);
});

test('sets of scenes are the same bits again, and a longer one begins like a shorter one', async () => {
  const options = { seed: 5, count: 6, testCount: 3, size: 16 };
  const sets = await renderScenes(gpu, options);
  const again = await renderScenes(gpu, options);
  assert.equal(sets.hash, again.hash);
  assert.deepEqual([...sets.targets!.keys()], [...domains]);
  for (const [domain, { train, test }] of sets.targets!) {
    assert.deepEqual(again.targets!.get(domain)!.train.pixels, train.pixels);
    assert.equal(train.pixels.length, 6 * 16 * 16 * 3);
    assert.deepEqual([test!.count, test!.height, test!.width, test!.channels], [3, 16, 16, 3]);
  }
  assert.equal(sets.targets!.get('rgb')!.train, sets.train);
  const longer = await renderScenes(gpu, { ...options, count: 9 });
  const first = longer.train.pixels as Uint8Array;
  assert.deepEqual(first.subarray(0, 6 * 768), sets.train.pixels);
  assert.deepEqual(first.subarray(6 * 768), sets.test!.pixels);
  assert.notEqual(longer.hash, sets.hash);
  await assert.rejects(renderScenes(gpu, { seed: 5, count: 0 }), failsWith('bad-scenes'));
  await assert.rejects(renderScenes(gpu, { seed: -1, count: 1 }), failsWith('bad-seed'));
});

test('scenes are opened by their format, where there is a GPU', async () => {
  const spec = dataSpec.parse({ format: 'scenes', seed: 5, count: 6, testCount: 3, size: 16 });
  const opened = await openData(spec, { folder: '.', gpu: async () => gpu });
  const rendered = await renderScenes(gpu, { seed: 5, count: 6, testCount: 3, size: 16 });
  assert.equal(opened.hash, rendered.hash);
  await assert.rejects(openData(spec, { folder: '.' }), failsWith('scenes-need-gpu'));
});

test('a batch of scenes shows each as it is alone', async () => {
  const scenes = [0, 1, 2].map((index) => drawScene(8, index));
  const together = await raycast(gpu, scenes, 16);
  const alone = await raycast(gpu, [scenes[1]!], 16);
  for (const name of ['colour', 'surface', 'shape'] as const) {
    assert.deepEqual(together[name].subarray(1024, 2048), alone[name], name);
  }
});

test('nothing stays on the GPU', () => {
  assert.equal(gpu.liveTensors, 0);
});
