import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { shaderNames, shaderUrl } from '../shaders/index.ts';

const folder = new URL('.', shaderUrl('dispatch'));

test('the shaders folder is listed in full by its index', () => {
  const files = readdirSync(folder).filter((name) => name.endsWith('.wgsl'));
  assert.deepEqual([...shaderNames].sort(), files.map((name) => name.slice(0, -'.wgsl'.length)).sort());
});

test('every shader opens with a comment that says what it computes', () => {
  for (const name of shaderNames) assert.match(readFileSync(shaderUrl(name), 'utf8'), /^\/\/ \S.{20}/, name);
});
