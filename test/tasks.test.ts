import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import {
  buildTask,
  buildTasks,
  type DataSet,
  type Examples,
  hashImages,
  type ImageSet,
  loadMnist,
  mnistTasks,
  type Splits,
  splitsSpec,
  type Task,
  type TaskDeclaration,
  taskSpec,
} from '../data/index.ts';
import { Random } from '../engine/random.ts';
import { failsWith } from './assertions.ts';

const NAMES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

/** A set whose every picture tells its own position. */
function syntheticSet(name: string, count: number, classes = 10): ImageSet {
  const words = new Random(count).bits(count);
  const set = {
    name,
    count,
    height: 1,
    width: 2,
    channels: 1,
    pixels: Uint8Array.from({ length: 2 * count }, (_, i) => (i % 2 ? (i >> 1) & 255 : i >> 9)),
    labels: Uint8Array.from(words, (word) => word % classes),
    classes,
  };
  return { ...set, hash: hashImages(set) };
}

const sets = { train: syntheticSet('train set', 3000), test: syntheticSet('test set', 1200) };
const animals: DataSet = { name: 'animals', classNames: NAMES, ...sets, hash: '' };
const sizes = { train: 900, validation: 400, test: 500 };
const all: Splits = { ...sizes, per: 'set', seed: 1 };
const splitsOf = (task: Task): [string, Examples][] => [
  ['train', task.train],
  ['validation', task.validation],
  ['test', task.test],
];
const tally = (labels: Uint32Array, classes: number) =>
  Array.from({ length: classes }, (_, label) => labels.filter((other) => other === label).length);

type Declared = Omit<TaskDeclaration, 'name' | 'data'>;
const parse = (task: Declared) => taskSpec.parse({ name: 'a task', data: 'animals', ...task });
const make = (task: Declared = {}, splits: Partial<Splits> = {}, data: Omit<DataSet, 'hash'> = animals) =>
  buildTask(data, parse(task), { ...all, ...splits });

test('the four tasks have the right labels, balance and disjoint splits for any seed', () => {
  const relabel: ((digit: number) => number)[] = [
    (digit) => Number(digit === 0),
    (digit) => Number(digit === 6),
    (digit) => (digit < 4 ? digit + 1 : 0),
    (digit) => digit,
  ];
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (seed) => {
      const tasks = mnistTasks(sets, { seed, ...sizes });
      assert.deepEqual(
        tasks.map((task) => task.classes),
        [2, 2, 5, 10],
      );
      const all = tasks[3]!;
      assert.deepEqual(
        splitsOf(all).map(([, { index }]) => index.length),
        [900, 400, 500],
      );
      for (const [t, task] of tasks.entries()) {
        assert.equal(task.classNames.length, task.classes);
        const used = [...task.train.index, ...task.validation.index];
        assert.equal(new Set(used).size, used.length);
        for (const [split, examples] of splitsOf(task)) {
          const drawn = all[split as 'train'].index;
          assert.equal(examples.images, split === 'test' ? sets.test : sets.train);
          assert.equal(new Set(examples.index).size, examples.index.length);
          assert.ok(examples.index.every((i) => drawn.includes(i)));
          const labels = [...examples.index].map((i) => relabel[t]!(examples.images.labels[i]!));
          assert.deepEqual([...examples.labels], labels);
          if (task === all) continue;

          const [rest, ...wanted] = tally(examples.labels, task.classes) as [number, ...number[]];
          assert.deepEqual(
            wanted,
            tally(
              drawn.map((i) => relabel[t]!(examples.images.labels[i]!)),
              task.classes,
            ).slice(1),
          );
          assert.equal(rest, Math.round(wanted.reduce((a, b) => a + b) / wanted.length));
          const negatives = drawn.filter((i) => relabel[t]!(examples.images.labels[i]!) === 0);
          assert.deepEqual(
            examples.index.filter((_, i) => examples.labels[i] === 0).sort(),
            negatives.slice(0, rest).sort(),
          );
        }
      }
    }),
    { numRuns: 15 },
  );
});

test('the same seed gives the same tasks and another seed others', () => {
  const tasks = (seed: number) =>
    mnistTasks(sets, { seed, ...sizes }).map((task) => splitsOf(task).map(([, e]) => e.index));
  assert.deepEqual(tasks(5), tasks(5));
  assert.notDeepEqual(tasks(5), tasks(6));
});

test('the training images drawn do not depend on the sizes of the splits', () => {
  const small = mnistTasks(sets, { seed: 1, ...sizes })[3]!;
  const large = mnistTasks(sets, { seed: 1, train: 2000, validation: 1000, test: 1200 })[3]!;
  assert.deepEqual(large.train.index.slice(0, 900), small.train.index);
  assert.deepEqual(large.train.index.slice(900, 1300), small.validation.index);
  assert.deepEqual(large.test.index.slice(0, 500), small.test.index);
});

test('every stretch of a balanced split is a mixture', () => {
  for (const task of mnistTasks(sets, { seed: 3, ...sizes }).slice(0, 3)) {
    const { labels } = task.train;
    const half = labels.length / 2;
    for (const part of [labels.slice(0, half), labels.slice(half)]) {
      for (const count of tally(part, task.classes)) {
        assert.ok(count > (0.5 * part.length) / task.classes, `${task.name}: ${count} of ${part.length}`);
      }
    }
  }
});

test('the tasks on MNIST are those of every version before', async () => {
  const digests = mnistTasks(await loadMnist(), { seed: 0, validation: 500 }).map((task) => {
    const text = splitsOf(task).map(([, { index, labels }]) => `${[...index]};${[...labels]}`);
    const about = JSON.stringify([task.name, task.description, task.classes]);
    return createHash('sha256').update(about).update(text.join('|')).digest('hex').slice(0, 16);
  });
  assert.deepEqual(digests, ['332088a621b01557', '9de06742ef16f20d', '0b80af0bc02b6483', '6d8285169de50aab']);
});

test('a group of several classes is one class, its rest as large as itself', () => {
  const task = make({ groups: { vehicle: ['automobile', 3, 'ship'] }, rest: 'other' }, { seed: 9 });
  assert.deepEqual(task.classNames, ['other', 'vehicle']);
  assert.equal(task.description, 'vehicle or other');
  for (const [, { images, index, labels }] of splitsOf(task)) {
    assert.ok(labels.every((label, i) => label === Number([1, 3, 8].includes(images.labels[index[i]!]!))));
    const [rest, wanted] = tally(labels, 2);
    assert.equal(rest, wanted);
  }
});

test('listed classes keep their order, others are left out', () => {
  const task = make({ classes: ['dog', 3, 'airplane'] });
  assert.deepEqual([task.classes, task.classNames], [3, ['dog', 'cat', 'airplane']]);
  const whole = make();
  for (const split of ['train', 'validation', 'test'] as const) {
    const { images, index, labels } = task[split];
    assert.deepEqual(
      [...labels].map((label) => [5, 3, 0][label]),
      [...index].map((i) => images.labels[i]),
    );
    const expected = whole[split].index.filter((i) => [5, 3, 0].includes(images.labels[i]!));
    assert.deepEqual(index, expected);
  }
});

test('groups without a rest leave the others out', () => {
  const task = make({ groups: { wild: ['deer', 'frog'], tame: ['dog', 'cat'] }, rest: false });
  assert.deepEqual(task.classNames, ['wild', 'tame']);
  for (const [, { images, index, labels }] of splitsOf(task)) {
    const groups = [...index].map((i) => [
      [4, 6].includes(images.labels[i]!),
      [5, 3].includes(images.labels[i]!),
    ]);
    assert.deepEqual(
      groups,
      [...labels].map((label) => [label === 0, label === 1]),
    );
  }
});

const anySubset = fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 2, maxLength: 9 });

test('splits are disjoint, drawn alike for all tasks and balanced as told, for any classes and seed', () => {
  const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });
  const balances = fc.constantFrom('equal', 'none' as const);
  const pers = fc.constantFrom('set', 'class' as const);
  fc.assert(
    fc.property(anySubset, seeds, balances, pers, fc.boolean(), (names, seed, balance, per, hasTest) => {
      const data = hasTest ? animals : { ...animals, test: undefined };
      const counts = per === 'class' ? { train: 60, validation: 20, test: 30 } : sizes;
      const splits: Splits = { ...counts, per, seed };
      const kinds: Declared[] = [
        { classes: names, balance },
        { groups: { a: names.slice(0, 1), b: names.slice(1) }, rest: false, balance },
        { groups: { a: names }, rest: 'x', balance },
        { balance },
      ];
      const tasks = kinds.map((kind) => make(kind, splits, data));
      const owner = new Map<string, string>();
      for (const [t, task] of tasks.entries()) {
        for (const [split, { images, index, labels }] of splitsOf(task)) {
          assert.equal(new Set(index).size, index.length);
          for (const i of index) {
            const known = owner.get(`${images.name} ${i}`) ?? split;
            assert.equal(known, split, 'an image in two splits');
            owner.set(`${images.name} ${i}`, split);
          }
          const counted = tally(labels, task.classes);
          if (balance === 'equal') assert.equal(new Set(counted).size, 1);
          else if (per === 'class') {
            const size = counts[split as 'train'];
            const members = [
              names.map(() => 1),
              [1, names.length - 1],
              [10 - names.length, names.length],
              NAMES.map(() => 1),
            ];
            assert.deepEqual(
              counted,
              members[t]!.map((classes) => classes * size),
            );
          } else if (t >= 2) assert.equal(index.length, counts[split as 'train']);
        }
      }
      assert.deepEqual(
        tasks,
        kinds.map((kind) => make(kind, splits, data)),
      );
    }),
    { numRuns: 25 },
  );
});

test('equal classes are those drawn first, and perClass cuts training images alone', () => {
  const whole = make();
  const task = make({ balance: 'equal', perClass: 20 });
  for (const [split, examples] of splitsOf(task)) {
    const drawn = whole[split as 'train'];
    const most = split === 'train' ? 20 : Math.min(...tally(drawn.labels, 10));
    for (let label = 0; label < 10; label++) {
      const of = ({ index, labels }: Examples) => [...index].filter((_, i) => labels[i] === label);
      assert.deepEqual(of(examples).sort(), of(drawn).slice(0, most).sort());
    }
  }
});

test('a class counts its own images per class: a class in no group may be small', () => {
  const small = { ...animals, classNames: [...NAMES, 'newt'] };
  assert.deepEqual(
    tally(
      make({ classes: [0, 1] }, { train: 100, validation: 50, test: 40, per: 'class' }, small).test.labels,
      2,
    ),
    [40, 40],
  );
  assert.throws(
    () => make({ classes: ['cat', 'newt'] }, { train: 100, per: 'class' }, small),
    failsWith(
      'split-too-large',
      /a task wants 100 images of class newt for train, but train set has 0 of 0 left/,
    ),
  );
});

test('without a test set the three splits come from the training set', () => {
  const task = make({}, {}, { ...animals, test: undefined });
  const used = splitsOf(task).flatMap(([, { index }]) => [...index]);
  assert.equal(new Set(used).size, 900 + 400 + 500);
  assert.equal(task.test.images, sets.train);
  assert.deepEqual(task.train, make().train);
  assert.throws(
    () => make({}, { test: 1701 }, { ...animals, test: undefined }),
    failsWith('split-too-large', /1701 images for test, but train set has 1700 of 3000 left/),
  );
});

test('data sets of one size are drawn alike', () => {
  const other = {
    ...animals,
    name: 'other',
    train: { ...sets.train, labels: sets.train.labels.map((l) => 9 - l) },
  };
  assert.deepEqual(make({}, {}, other).train.index, make().train.index);
});

test('a task may have splits and a seed of its own', () => {
  const task = make({ splits: { train: 300, seed: 4 } });
  assert.deepEqual(task.train.index, make({}, { train: 300, seed: 4 }).train.index);
  assert.equal(task.validation.index.length, 400);
});

test('a target makes a dense task of the images drawn', () => {
  const depth = { train: syntheticSet('depth train', 3000, 1), test: syntheticSet('depth test', 1200, 1) };
  const data = { ...animals, classNames: [], targets: new Map([['depth', depth]]) };
  const task = make({ target: 'depth' }, {}, data);
  assert.deepEqual([task.classes, task.classNames], [0, []]);
  for (const [split, { images, index, labels, targets }] of splitsOf(task)) {
    assert.equal(images, split === 'test' ? sets.test : sets.train);
    assert.equal(targets, split === 'test' ? depth.test : depth.train);
    assert.deepEqual(index, make()[split as 'train'].index);
    assert.deepEqual(labels, new Uint32Array(index.length));
  }
  for (const target of ['rgb', 'autoencoding']) {
    const itself = make({ target }, {}, data);
    assert.equal(itself.test.targets, sets.test);
    assert.equal(make({ target }, {}, { ...data, test: undefined }).test.targets, sets.train);
  }
  assert.throws(
    () => make({ target: 'dept' }, {}, data),
    failsWith('target-unknown', /a task wants dept of animals, which has depth, rgb/),
  );
  assert.throws(() => make({}, {}, data), failsWith('too-few-classes', /animals has 0/));
});

test('the hash of a task is that of its images, order, labels and names', () => {
  const hash = (task: Declared, splits: Partial<Splits> = {}, data: Omit<DataSet, 'hash'> = animals) =>
    make(task, splits, data).hash!;
  assert.match(hash({}), /^[0-9a-f]{64}$/);
  assert.equal(hash({}), hash({ description: 'called otherwise' }));
  const others = [
    hash({ classes: ['cat', 'dog'] }),
    hash({ classes: ['dog', 'cat'] }),
    hash({ target: 'rgb' }),
    hash({}, { seed: 2 }),
    hash({}, { train: 901 }),
    hash({}, {}, { ...animals, classNames: [...NAMES].reverse() }),
    hash({}, {}, { ...animals, train: { ...sets.train, hash: 'another' } }),
  ];
  assert.equal(new Set([hash({}), ...others]).size, others.length + 1);
  assert.equal(hash({}, {}, { ...animals, test: { ...sets.test, hash: undefined } }), undefined);
});

test('numbers are names where all names are numbers', () => {
  const letters = { ...animals, classNames: NAMES.map((_, i) => `${i + 1}`) };
  assert.deepEqual(make({ classes: [1, '2'] }, {}, letters).classNames, ['1', '2']);
  assert.throws(
    () => make({ classes: [0, 1] }, {}, letters),
    failsWith('class-unknown', /wants class 0, which animals lacks: it has 10 classes, 1 to 10/),
  );
});

test('classes that the data lacks, or that are taken twice, are refused', () => {
  const unknown = (classes: (string | number)[], names: RegExp, fix: RegExp, classNames = NAMES) =>
    assert.throws(
      () => make({ classes }, {}, { ...animals, classNames }),
      (error: { fix?: string }) => failsWith('class-unknown', names)(error) && fix.test(error.fix ?? ''),
    );
  unknown(
    ['cat', 'hors'],
    /Task a task wants class hors, which animals lacks: it has 10 classes/,
    /Perhaps horse is meant/,
  );
  unknown(['Cat', 'dog'], /wants class Cat/, /Perhaps cat is meant/);
  unknown(['mobile', 'dog'], /wants class mobile/, /Perhaps automobile is meant/);
  unknown(['cat', 'zeppelin'], /wants class zeppelin/, /Name a class that the data set has/);
  unknown([10, 0], /wants class 10/, /Name a class/);
  unknown(
    ['cat', 'dog'],
    /wants class dog, but animals calls classes 5 and 9 so/,
    /by its number/,
    NAMES.with(9, 'dog'),
  );
  assert.throws(
    () => make({ classes: ['cat', 3] }),
    failsWith('class-twice', /a task has class cat of animals twice/),
  );
  assert.throws(() => make({ groups: { a: ['cat'], b: [1, 3] } }), failsWith('class-twice', /cat/));
});

test('splits larger than the set are refused', () => {
  const refuses = (more: Partial<Splits>, names: RegExp) =>
    assert.throws(() => make({}, more), failsWith('split-too-large', names));
  refuses({ train: 3001 }, /3001 images for train, but train set/);
  refuses({ train: 2900, validation: 101 }, /101 images for validation, but train set has 100 of 3000/);
  refuses({ test: 1201 }, /1201 images for test, but test set/);
  refuses({ test: 0 }, /0 images/);
  refuses({ train: 1.5 }, /1.5/);
});

test('a task with an empty class in a split is refused', () => {
  assert.throws(
    () => mnistTasks(sets, { seed: 1, ...sizes, validation: 1 }),
    failsWith('empty-class', /digit 0.*validation/),
  );
  const lone = { ...animals, classNames: [...NAMES, 'newt'] };
  assert.throws(
    () => make({ balance: 'equal' }, {}, lone),
    failsWith('empty-class', /class 0 \(airplane\)|newt/),
  );
});

test('a set with labels beyond the names of its classes is refused', () => {
  assert.throws(
    () => make({}, {}, { ...animals, classNames: ['a', 'b'] }),
    failsWith('label-outside-head', /train set.*2 classes/),
  );
});

test('each data set is opened once, and tasks are told apart by name', async () => {
  const opened: string[] = [];
  const open = async (name: string) => {
    opened.push(name);
    return { ...animals, name };
  };
  const declare = (name: string, data: string) => taskSpec.parse({ name, data });
  const tasks = await buildTasks([declare('x', 'one'), declare('y', 'two'), declare('z', 'one')], open, all);
  assert.deepEqual(
    tasks.map(({ name }) => name),
    ['x', 'y', 'z'],
  );
  assert.deepEqual(opened, ['one', 'two']);
  await assert.rejects(
    buildTasks([declare('x', 'one'), declare('x', 'two')], open, all),
    failsWith('task-twice', /called x/),
  );
});

test('a declaration is written out with what was left to default', () => {
  assert.deepEqual(parse({}), { name: 'a task', data: 'animals', balance: 'none' });
  const groups = { a: ['cat'] };
  assert.deepEqual(parse({ groups }), {
    name: 'a task',
    data: 'animals',
    groups,
    rest: 'anything else',
    balance: 'paper',
  });
  assert.deepEqual(parse({ target: 'rgb' }), { name: 'a task', data: 'animals', target: 'rgb' });
  for (const task of [parse({ groups }), parse({ target: 'rgb' }), parse({})])
    assert.deepEqual(taskSpec.parse(task), task);
  assert.deepEqual(splitsSpec.parse({}), { train: 4000, validation: 500, test: 2000, per: 'set' });
});

test('declarations that make no sense are refused', () => {
  const groups = { a: ['cat'] };
  const wrong: [object, RegExp][] = [
    [{ groups, classes: ['cat', 'dog'] }, /classes or groups, not both/],
    [{ classes: ['cat', 'dog'], target: 'rgb' }, /classes or target, not both/],
    [{ rest: 'x' }, /Only groups have a rest/],
    [{ groups, rest: false }, /two groups, or one and a rest/],
    [{ groups: {} }, /two groups, or one and a rest/],
    [{ groups: { 'anything else': ['cat'] } }, /name of the rest/],
    [{ balance: 'paper' }, /with a rest/],
    [{ target: 'rgb', balance: 'equal' }, /Only classes/],
    [{ target: 'rgb', perClass: 4 }, /Only tasks of classes/],
    [{ classes: ['cat'] }, /classes/],
    [{ class: ['cat'] }, /class/],
    [{ splits: { trian: 4 } }, /trian/],
    [{ splits: { train: 0 } }, /train/],
  ];
  for (const [task, names] of wrong) {
    const { error } = taskSpec.safeParse({ name: 'a task', data: 'animals', ...task });
    assert.match(error?.message ?? 'accepted', names, JSON.stringify(task));
  }
});

test('editors are told what every field means', () => {
  for (const schema of [taskSpec, splitsSpec]) {
    const { properties } = z.toJSONSchema(schema, { io: 'input' }) as {
      properties: Record<string, { description?: string }>;
    };
    for (const [name, { description }] of Object.entries(properties)) assert.ok(description, name);
  }
});
