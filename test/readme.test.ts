import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));

test("the README's library example runs as printed", async () => {
  const readme = await readFile(`${root}README.md`, 'utf8');
  const [, example] = readme.match(/```ts\n([\s\S]*?)```/)!;
  assert.ok(example!.split('\n').filter((line) => line !== '').length <= 15);
  const file = `${root}example-${process.pid}.ts`;
  const flags =
    'Deno' in globalThis ? ['run', '-A', '--no-check'] : ['--import', 'tsx', '--conditions=fathom-source'];
  await writeFile(file, example!);
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, file], { cwd: root });
    const [, distance] = stdout.match(/^distance from digit 0 to digit 6: (0\.\d{3})\n$/)!;
    assert.ok(Number(distance) > 0.1 && Number(distance) < 0.7, distance);
  } finally {
    await rm(file);
  }
});
