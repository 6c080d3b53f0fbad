import assert from 'node:assert/strict';
import { FathomError } from '../engine/errors.ts';

/**
 * Fails unless every entry of `actual` lies within `tolerance` times the largest entry of `expected`. NaN and
 * infinities fail.
 */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what: string,
): void {
  assert.equal(actual.length, expected.length, `${what}: number of entries`);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (error <= tolerance * largest) continue;
    assert.fail(
      `${what}[${i}] is ${actual[i]}, not ${expected[i]}: off by ${error / largest} of the largest`,
    );
  }
}

/** For `assert.throws`: a FathomError of that code whose texts are one line without a full stop. */
export function failsWith(code: string, names = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof FathomError, String(error));
    assert.equal(error.code, code);
    for (const text of [error.message, error.fix]) assert.match(text, /^[^\n]*[^\n.]$/);
    assert.match(error.message, names);
    return true;
  };
}
