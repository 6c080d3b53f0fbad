import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { encode } from 'fast-png';
import { parseStudy } from '../algorithms/index.ts';
import {
  buildTask,
  buildTasks,
  type DataSet,
  dataSpec,
  openData,
  type Preset,
  presets,
  splitsSpec,
  type TaskDeclaration,
  taskSpec,
} from '../data/index.ts';
import { domains } from '../data/scenes/index.ts';
import { inFolder } from './reader_files.ts';

const all = Object.entries(presets as Record<string, Preset>);

/** A set with some images of every class, in order. */
function setOf(name: string, classNames: string[], each: number): DataSet {
  const count = each * classNames.length;
  const images = {
    ...{ name, count, height: 1, width: 1, channels: 1, classes: classNames.length },
    pixels: new Uint8Array(count),
    labels: Uint8Array.from({ length: count }, (_, i) => i % classNames.length),
  };
  return { name, classNames, train: images, hash: '' };
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `class ${i}`);

/** Which classes of the data set make up each class of a task; those left out, -1. */
function membersOf(declaration: TaskDeclaration, classNames: string[]): number[][] {
  const data = setOf('any', classNames, 60);
  const splits = { train: 20, validation: 10, test: 10, per: 'class', seed: 0 } as const;
  const task = buildTask(data, taskSpec.parse(declaration), splits);
  const { images, index, labels } = task.train;
  return task.classNames.map((_, label) => {
    const own = [...index].filter((_, i) => labels[i] === label).map((i) => images.labels[i]!);
    return [...new Set(own)].sort((a, b) => a - b);
  });
}

test('every preset is a declaration that a user could write', () => {
  for (const [name, { description, data, tasks, splits }] of all) {
    assert.match(description, /^[A-Z].*[^.]$/, name);
    splitsSpec.parse(splits);
    for (const spec of Object.values(data)) {
      const hasFiles = !['emoji', 'scenes'].includes(spec.format);
      dataSpec.parse({ ...spec, ...(hasFiles && { path: 'somewhere' }) });
    }
    const names = tasks.map((task) => taskSpec.parse(task).name);
    assert.equal(new Set(names).size, names.length, name);
    for (const task of tasks) assert.ok(data[task.data], `${name} has no data set ${task.data}`);
    assert.deepEqual(JSON.parse(JSON.stringify({ data, tasks, splits })), { data, tasks, splits });
  }
});

test("the paper's tasks on MNIST, CIFAR-10 and CIFAR-100 are made of its classes", () => {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  const others = (count: number, taken: number[]) => numbers(count).filter((i) => !taken.includes(i));
  const singles = (members: number[]) => members.map((member) => [member]);
  const vehicles = [8, 58, 90, 13, 48, 81, 69, 41, 89, 85];
  const household = [40, 39, 22, 87, 86, 20, 25, 94, 84, 5];
  const sorted = (members: number[]) => members.toSorted((a, b) => a - b);
  const expected: [Preset, number, number[][][]][] = [
    [
      presets.mnist,
      10,
      [
        [others(10, [0]), [0]],
        [others(10, [6]), [6]],
        [others(10, [0, 1, 2, 3]), ...singles([0, 1, 2, 3])],
        singles(numbers(10)),
      ],
    ],
    [
      presets.cifar10,
      10,
      [
        [others(10, [1, 3, 8]), [1, 3, 8]],
        [others(10, [3, 8, 9]), [3, 8, 9]],
        [others(10, [2, 6, 7]), ...singles([2, 6, 7])],
        singles(numbers(10)),
      ],
    ],
    [
      presets.cifar100,
      100,
      [
        [others(100, vehicles), sorted(vehicles)],
        [others(100, household), sorted(household)],
        [others(100, vehicles), ...singles(vehicles)],
        [others(100, [...vehicles, ...household]), ...singles([...vehicles, ...household])],
      ],
    ],
  ];
  for (const [{ tasks }, classes, members] of expected) {
    const found = tasks.map((task) => membersOf({ ...task, balance: 'none' }, numbered(classes)));
    assert.deepEqual(found, members);
  }
});

test("the tens of ImageNet overlap as the paper's do", () => {
  const tens = presets.imagenet.tasks.map((task) => Object.values(task.groups!).flat());
  const shared = (a: number, b: number) => tens[a]!.filter((wnid) => tens[b]!.includes(wnid)).length;
  assert.deepEqual([shared(0, 1), shared(0, 2), shared(0, 3)], [7, 5, 0]);
  for (const ten of tens) {
    assert.equal(new Set(ten).size, 10);
    for (const wnid of ten) assert.match(`${wnid}`, /^n\d{8}$/);
  }
});

test('the ImageNet preset takes its classes out of a folder with more', async () => {
  const { data, tasks } = presets.imagenet;
  const spec = data.imagenet as unknown as { classes: string[] };
  const grey = (value: number) =>
    encode({ width: 2, height: 2, channels: 1, data: new Uint8Array(4).fill(value) });
  const folders = [...spec.classes, 'n99999999'];
  const files = folders.flatMap((wnid, i) => [0, 1, 2].map((n) => [`${wnid}/${n}.png`, grey(8 * i + n)]));
  await inFolder(Object.fromEntries(files), async (folder) => {
    const open = () => openData(dataSpec.parse({ ...spec, path: '.', size: 4 }), { folder });
    const splits = { train: 1, validation: 1, test: 1, per: 'class', seed: 0 } as const;
    const made = await buildTasks(
      tasks.map((task) => taskSpec.parse(task)),
      open,
      splits,
    );
    assert.deepEqual(
      made.map(({ classes }) => classes),
      [10, 10, 10, 10],
    );
    assert.deepEqual(made[0]!.classNames.slice(0, 2), ['tench', 'English springer']);
    const { images, index, labels } = made[3]!.test;
    const pixel = (i: number) => (images.pixels as Uint8Array)[i * images.height * images.width * 3]!;
    for (const [i, label] of labels.entries()) {
      const wnid = Object.values(tasks[3]!.groups!)[label]![0];
      assert.equal(Math.floor(pixel(index[i]!) / 8), spec.classes.indexOf(`${wnid}`));
    }
  });
});

test('the predecessor has ten base tasks, each against the rest, and the moon', () => {
  const { tasks } = presets.quickdraw;
  assert.deepEqual(
    tasks.map(({ data }) => data),
    [...Array(5).fill('mnist'), ...Array(5).fill('fashion-mnist'), 'quickdraw'],
  );
  assert.deepEqual(
    tasks.slice(5).map(({ groups }) => groups),
    ['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'moon'].map((name) => ({ [name]: [name] })),
  );
  assert.deepEqual(presets['fashion-mnist'].tasks, tasks.slice(5, 10));
});

test('dense presets have the ten tasks in the order of the paper', () => {
  const order = [
    'depth_euclidean',
    'depth_zbuffer',
    'edge_occlusion',
    'edge_texture',
    'keypoints2d',
    'keypoints3d',
    'normal',
    'principal_curvature',
    'reshading',
    'rgb',
  ];
  assert.deepEqual(
    presets.taskonomy.tasks.map(({ target }) => target),
    order,
  );
  assert.deepEqual(
    presets.scenes.tasks.map(({ target }) => target),
    [...domains],
  );
  assert.deepEqual(presets.taskonomy.data.taskonomy!.domains, order.slice(0, 9));
});

test('the declarations in docs/tasks.md are read, and its lists are those of the presets', async () => {
  const text = await readFile(new URL('../docs/tasks.md', import.meta.url), 'utf8');
  const examples = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, yaml]) => yaml!);
  const [own, cifar10, cifar100, imagenet] = examples.map((yaml) => parseStudy(yaml, 'study.yaml'));
  assert.equal(own!.tasks.length, 6);
  assert.equal(cifar10!.tasks.length, 4);
  const { format, train } = cifar100!.data.cifar100 as { format: string; train: string };
  assert.deepEqual([format, train], ['parquet', 'cifar100/train-*.parquet']);
  assert.equal((imagenet!.data.imagenet as { classes: string[] }).classes.length, 28);
  for (const [name] of all) assert.ok(text.includes(`| \`${name}\` |`), name);
  for (const { groups } of [0, 2, 3].map((ten) => presets.imagenet.tasks[ten]!)) {
    assert.ok(text.includes(`| ${Object.keys(groups!).join(', ')} |`));
  }
});
