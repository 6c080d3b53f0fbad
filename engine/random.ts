import { FathomError } from './errors.ts';

const WORD = 2 ** 32;
const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];
const KEY_PARITY = 0x1bd11bda;

/**
 * Threefry-2x32 with 20 rounds: a keyed bijection of 64-bit blocks on 32-bit integers alone.
 *
 * @returns the two output words for key (k0, k1) and counter (c0, c1), all unsigned 32-bit integers
 * @see Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
 */
export function threefry2x32(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const key = [k0, k1, KEY_PARITY ^ k0 ^ k1];
  let x0 = (c0 + k0) | 0;
  let x1 = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const rotation = ROTATIONS[round % 8]!;
    x0 = (x0 + x1) | 0;
    x1 = ((x1 << rotation) | (x1 >>> (32 - rotation))) ^ x0;
    if (round % 4 === 3) {
      const injection = (round + 1) / 4;
      x0 = (x0 + key[injection % 3]!) | 0;
      x1 = (x1 + key[(injection + 1) % 3]! + injection) | 0;
    }
  }
  return [x0 >>> 0, x1 >>> 0];
}

/** What a kernel needs to make the words of {@link Random.bits} itself. */
export interface WordRange {
  /** Key words k0 and k1. */
  key: [number, number];
  /** Counter word c0 of the first block. */
  start: number;
}

/**
 * A stream of random numbers that depends on its seed, its stream number and how many were drawn before,
 * and on nothing else: block b of the stream is `threefry2x32(seed, stream, b, 0)`.
 *
 * Integers, uniforms and permutations are the same everywhere; normals are the same wherever `Math.log`,
 * `Math.cos` and `Math.sin` are (Node, Deno and Chromium share V8's).
 */
export class Random {
  readonly seed: number;
  readonly stream: number;
  #block = 0;

  /** Both numbers are unsigned 32-bit integers; throws FathomError `bad-seed` where they are not. */
  constructor(seed: number, stream = 0) {
    for (const value of [seed, stream]) {
      if (Number.isInteger(value) && value >= 0 && value < WORD) continue;
      throw new FathomError({
        code: 'bad-seed',
        message: `${value} is not a seed`,
        fix: 'Give a whole number from 0 to 4294967295',
      });
    }
    this.seed = seed;
    this.stream = stream;
  }

  /** Blocks drawn so far; setting it goes on from there. */
  get position(): number {
    return this.#block;
  }

  set position(block: number) {
    this.#block = block;
  }

  /**
   * Sets the next `n` words aside: word 2j is output 0 and word 2j + 1 is output 1 of
   * `threefry2x32(key[0], key[1], start + j, 0)`. Whole blocks are taken, so an odd `n` skips one word.
   */
  reserve(n: number): WordRange {
    if (!Number.isSafeInteger(n) || n < 0) throw new RangeError(`cannot draw ${n} random words`);
    const start = this.#block;
    const end = start + Math.ceil(n / 2);
    if (end > WORD) throw new RangeError('a random stream ends after 2^33 words');
    this.#block = end;
    return { key: [this.seed, this.stream], start };
  }

  /** The next `n` random words, laid out as {@link Random.reserve} says. */
  bits(n: number): Uint32Array {
    const { key, start } = this.reserve(n);
    const words = new Uint32Array(n);
    for (let i = 0; i < n; i += 2) {
      const [first, second] = threefry2x32(key[0], key[1], start + i / 2, 0);
      words[i] = first;
      if (i + 1 < n) words[i + 1] = second;
    }
    return words;
  }

  /** `n` multiples of 2^-24 in [0, 1): the top 24 bits of `bits(n)`. */
  uniform(n: number): Float32Array {
    return Float32Array.from(this.bits(n), (word) => (word >>> 8) / 2 ** 24);
  }

  /** `n` standard normals by Box and Muller: each block of `bits` gives two, reckoned in float64. */
  normal(n: number): Float32Array {
    const words = this.bits(n + (n % 2));
    const normals = new Float32Array(n);
    for (let i = 0; i < n; i += 2) {
      const radius = Math.sqrt(-2 * Math.log((words[i]! + 1) / WORD));
      const angle = (2 * Math.PI * words[i + 1]!) / WORD;
      normals[i] = radius * Math.cos(angle);
      if (i + 1 < n) normals[i + 1] = radius * Math.sin(angle);
    }
    return normals;
  }

  /** 0 to n - 1 in random order, every order equally likely (Fisher-Yates, words that would bias rejected). */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    let words = this.bits(n);
    let used = 0;
    const below = (bound: number): number => {
      for (;;) {
        if (used === words.length) {
          words = this.bits(64);
          used = 0;
        }
        const word = words[used++]!;
        if (word < WORD - (WORD % bound)) return word % bound;
      }
    };
    for (let i = n - 1; i > 0; i--) {
      const j = below(i + 1);
      const held = order[i]!;
      order[i] = order[j]!;
      order[j] = held;
    }
    return order;
  }

  /**
   * A stream of its own for one purpose, so that no two purposes share numbers. It depends on this
   * stream's key and the name alone: its key is `threefry2x32(seed, stream, fnv1a(name), 1)`.
   */
  fork(name: string): Random {
    return new Random(...threefry2x32(this.seed, this.stream, fnv1a(name), 1));
  }
}

/** FNV-1a, 32 bits, over the UTF-8 bytes of `text`. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
