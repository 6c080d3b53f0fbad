import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { decode, encode } from 'fast-png';
import { drawContactSheet } from '../cli/contact-sheet.ts';
import type { ImageSet, Pixels, Task } from '../data/index.ts';
import { put } from './reader_files.ts';
import { runCli } from './run_cli.ts';

const scratch = mkdtempSync(join(tmpdir(), 'fathom-tasks-test-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

const tasks = (...args: string[]) => runCli(scratch, 'tasks', ...args);

/** A folder of pictures of one colour each. */
async function colours(): Promise<void> {
  for (const [c, colour] of ['red', 'green', 'blue'].entries()) {
    for (let i = 0; i < 8; i++) {
      const pixel = [0, 1, 2].map((channel) => (channel === c ? 255 : 10 * i));
      const data = Uint8Array.from({ length: 4 * 6 * 3 }, (_, at) => pixel[at % 3]!);
      await put(
        join(scratch, 'colours', colour, `${i}.png`),
        encode({ width: 6, height: 4, channels: 3, data }),
      );
    }
  }
}

test('tasks shows what each task is made of and draws it', async () => {
  await colours();
  writeFileSync(
    join(scratch, 'mine.yaml'),
    `data: { colours: { format: folder, path: colours } }
splits: { train: 4, validation: 1, test: 2, per: class }
tasks:
  - { name: red, data: colours, groups: { red: [red] }, rest: not red }
  - { name: warm <& cold>, data: colours, classes: [red, blue] }
  - { name: itself, data: colours, target: rgb }
`,
  );
  const { exit, stdout, stderr } = await tasks('mine.yaml');
  assert.equal(exit, 0, stderr);
  assert.match(stdout, /^0: red \(red or not red\)$/m);
  assert.match(stdout, /^│ not red +│ +4 │ +1 │ +2 │$/m);
  assert.match(stdout, /^│ all +│ +8 │ +2 │ +4 │$/m);
  assert.match(stdout, /^colours, 4 x 6 x 3, hash [0-9a-f]{16}$/m);
  assert.match(stdout, /^The largest class has 1\.00 training images for one of the smallest\.$/m);
  assert.match(stdout, /^colours, 4 x 6 x 3 to 4 x 6 x 3, hash [0-9a-f]{16}$/m);
  assert.deepEqual(readdirSync(join(scratch, 'mine-tasks')), [
    '0-red.png',
    '1-warm-cold-.png',
    '2-itself.png',
  ]);
  assert.match(stdout, /^Wrote mine-tasks\/1-warm-cold-\.png$/m);

  const again = await tasks('mine.yaml', '--json', '--out', 'again');
  const [first, second, third] = JSON.parse(again.stdout).tasks;
  assert.deepEqual(first.classes[1], { name: 'red', images: { train: 4, validation: 1, test: 2 } });
  assert.deepEqual([second.size, second.target, second.balance], [[4, 6, 3], null, 1]);
  assert.deepEqual([third.classes, third.target, third.balance], [[], [4, 6, 3], null]);
  for (const name of readdirSync(join(scratch, 'mine-tasks'))) {
    const [one, other] = ['mine-tasks', 'again'].map((folder) => readFileSync(join(scratch, folder, name)));
    assert.ok(one!.equals(other!), `${name} differs`);
  }

  // Every picture of class red is where it should be: at the right of its name.
  const { width, height, data, channels } = decode(
    readFileSync(join(scratch, 'mine-tasks', '1-warm-cold-.png')),
  );
  const red: number[] = [];
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(i * channels, i * channels + 3);
    if (r === 255 && g! <= 70 && b === g) red.push(i);
  }
  assert.equal(red.length, 4 * 78 * 52);
});

test('what is wrong with a declaration is said in one line', async () => {
  const say = async (task: string) => {
    writeFileSync(
      join(scratch, 'wrong.yaml'),
      `data: { colours: { format: folder, path: colours } }\nsplits: { train: 4, validation: 1, test: 2 }\ntasks: [${task}]\n`,
    );
    const { exit, stdout, stderr } = await tasks('wrong.yaml');
    assert.equal(exit, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^[^\n]+\n$/);
    return stderr;
  };
  await colours();
  assert.match(
    await say('{ name: hue, data: colours, classes: [red, gren] }'),
    /^Task hue wants class gren.*Perhaps green is meant/,
  );
  assert.match(await say('{ name: hue, data: colors }'), /hue.*colors/);
  assert.match(
    await say('{ name: hue, data: colours, splits: { train: 25 } }'),
    /^Task hue wants 25 images for train/,
  );
  const missing = await tasks('absent.yaml');
  assert.match(missing.stderr, /^There is no file absent\.yaml/);
});

test('the presets are listed in the help', async () => {
  const { stdout } = await tasks('--help');
  assert.match(stdout, /^ {2}mnist: The paper's four tasks on MNIST/m);
});

const setOf = (
  name: string,
  count: number,
  side: number,
  channels: number,
  pixels: Pixels,
  classes: number,
): ImageSet<Pixels> => ({
  ...{ name, count, height: side, width: side, channels, pixels, classes },
  labels: Uint8Array.from({ length: count }, (_, i) => (classes === 0 ? 0 : i % classes)),
});

test('a sheet is drawn of any images: floats beyond 1, one channel to two, large ones, many classes', async () => {
  const draw = async (images: ImageSet<Pixels>, targets?: ImageSet<Pixels>) => {
    const index = Uint32Array.from({ length: images.count }, (_, i) => i);
    const examples = { images, index, labels: Uint32Array.from(images.labels), targets };
    const classNames = Array.from(
      { length: images.classes },
      (_, i) => `a class of a rather long name, number ${i}`,
    );
    const task: Task = {
      name: 'x',
      description: 'y',
      classes: images.classes,
      classNames,
      train: examples,
      validation: examples,
      test: examples,
    };
    return decode(await drawContactSheet(task));
  };
  const floats = Float32Array.from({ length: 40 * 8 * 8 }, (_, i) => (i % 64) - 20);
  const one = await draw(setOf('floats', 40, 8, 1, floats, 4));
  assert.ok(one.width > 1000 && one.height > 400 && one.height < 700, `${one.width} x ${one.height}`);
  assert.ok(one.data.includes(0) && one.data.includes(255));

  const dense = await draw(
    setOf('in', 7, 8, 2, new Float32Array(7 * 128).fill(0.5), 0),
    setOf('out', 7, 4, 3, new Uint8Array(7 * 48), 0),
  );
  assert.ok(dense.height > 200 && dense.height < 400);

  const large = await draw(setOf('large', 2, 300, 3, new Uint8Array(2 * 270000).fill(9), 2));
  assert.ok(large.width < 1600 && large.height < 400);

  const many = await draw(setOf('many', 100, 2, 1, new Uint8Array(400), 100));
  assert.ok(many.height < 2500 && many.width > 4000, `${many.width} x ${many.height}`);
});
