import fc from 'fast-check';
import { type Shape, sizeOf } from '../../engine/index.ts';
import type { FisherDiagonal } from '../fisher.ts';

export interface FisherArbitraryOptions {
  /** `unequal`: each diagonal's `head` has rows of its own count, as heads of different class counts; else `equal`. */
  heads?: 'equal' | 'unequal';
}

/**
 * `count` Fisher diagonals of one made-up network: up to three layers of random names and shapes and a last one
 * called `head`. Entries are non-negative float32, many exactly 0; some diagonals range from 2^-100 to 2^100, so
 * powers of two up to 2^20 scale all without rounding. The entries outside the head are never all zero.
 */
export function fisherDiagonals(
  count: number,
  { heads = 'equal' }: FisherArbitraryOptions = {},
): fc.Arbitrary<FisherDiagonal[]> {
  const varied = heads === 'unequal' ? count : 1;
  return networks(varied).chain(({ body, columns, bias, rows }) => {
    const diagonals = Array.from({ length: count }, (_, i) => {
      const classes = rows[i % varied]!;
      const head: NamedShape[] = [['head.weight', [classes, columns]]];
      if (bias) head.push(['head.bias', [classes]]);
      return diagonal([...body, ...head]);
    });
    return fc.tuple(...diagonals);
  });
}

/** Two of {@link fisherDiagonals}. */
export function fisherPair(options?: FisherArbitraryOptions): fc.Arbitrary<[FisherDiagonal, FisherDiagonal]> {
  return fisherDiagonals(2, options).map(([f, g]) => [f!, g!]);
}

/** Three of {@link fisherDiagonals}. */
export function fisherTriple(
  options?: FisherArbitraryOptions,
): fc.Arbitrary<[FisherDiagonal, FisherDiagonal, FisherDiagonal]> {
  return fisherDiagonals(3, options).map(([f, g, h]) => [f!, g!, h!]);
}

type NamedShape = readonly [name: string, shape: Shape];

const layer = fc.record({
  name: fc.oneof(
    fc.constantFrom('conv1', 'layer1.0.conv2', 'features.3'),
    fc.stringMatching(/^[a-z]{1,3}(\.\d)?$/),
  ),
  weight: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 4 }),
  bias: fc.boolean(),
});

function networks(heads: number) {
  return fc.record({
    body: fc.uniqueArray(layer, { minLength: 1, maxLength: 3, selector: ({ name }) => name }).map((layers) =>
      layers.flatMap(({ name, weight, bias }): NamedShape[] => {
        const parameters: NamedShape[] = [[`${name}.weight`, weight]];
        return bias ? [...parameters, [`${name}.bias`, weight.slice(0, 1)]] : parameters;
      }),
    ),
    columns: fc.integer({ min: 1, max: 3 }),
    bias: fc.boolean(),
    rows: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: heads, maxLength: heads }),
  });
}

const between = (min: number, max: number) => fc.float({ min, max, noNaN: true });
const zero = { weight: 1, arbitrary: fc.constant(0) };
const ordinary = fc.oneof(zero, { weight: 3, arbitrary: between(2 ** -20, 2 ** 10) });
const extreme = fc.oneof(
  zero,
  { weight: 1, arbitrary: between(2 ** -100, 2 ** -60) },
  { weight: 1, arbitrary: between(2 ** -10, 2 ** 10) },
  { weight: 1, arbitrary: between(2 ** 60, 2 ** 100) },
);

function diagonal(parameters: readonly NamedShape[]): fc.Arbitrary<FisherDiagonal> {
  const of = (entry: fc.Arbitrary<number>) =>
    fc.tuple(
      ...parameters.map(([, shape]) => {
        const size = sizeOf(shape);
        return fc.array(entry, { minLength: size, maxLength: size });
      }),
    );
  return fc
    .oneof({ weight: 4, arbitrary: of(ordinary) }, { weight: 1, arbitrary: of(extreme) })
    .filter((values) =>
      parameters.some(([name], i) => !name.startsWith('head.') && values[i]!.some((value) => value > 0)),
    )
    .map((values) => ({
      entries: new Map(
        parameters.map(([name, shape], i) => [name, { shape, data: Float32Array.from(values[i]!) }]),
      ),
      samples: 1,
    }));
}
