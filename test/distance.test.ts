import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ComparisonOptions,
  closestSources,
  type DistanceOptions,
  distanceContributions,
  type FisherDiagonal,
  fisherDistance,
  trace,
} from '../algorithms/index.ts';
import { type AxiomName, distanceAxioms, fisherPair } from '../algorithms/testing.ts';
import { failsWith } from './assertions.ts';

const TOLERANCE = 1e-12;

function fisher(parameters: Record<string, ArrayLike<number>>): FisherDiagonal {
  const entries = Object.entries(parameters).map(([name, values]) => {
    return [name, { shape: [values.length], data: Float32Array.from(values) }] as const;
  });
  return { entries: new Map(entries), samples: 1 };
}

const diagonal = (values: ArrayLike<number>, name = 'w') => fisher({ [name]: values });

const isHead = (name: string) => name.startsWith('head.');
const pairs = fisherPair({ heads: 'unequal' });
const COMPARISONS: ComparisonOptions[] = (['trace', 'layer', 'none'] as const).flatMap((normalise) => [
  { normalise, head: 'zero-pad' },
  { normalise, head: 'drop', headNames: isHead },
]);

for (const comparison of COMPARISONS) {
  for (const value of ['d', 'd2'] as const) {
    const options: DistanceOptions = { ...comparison, value };
    const broken: AxiomName[] = [];
    if (value === 'd2') broken.push('triangle');
    if (comparison.normalise === 'none') broken.push('scaleInvariance');
    const axioms = distanceAxioms((f, g) => fisherDistance(f, g, options), {
      range: [0, comparison.normalise === 'none' ? Infinity : 1],
      tolerance: TOLERANCE,
      heads: 'unequal',
    });
    const title = `axioms of ${value}, normalised by ${comparison.normalise}, head ${comparison.head}`;
    test(broken.length > 0 ? `${title}: all but ${broken.join(' and ')}` : title, async () => {
      for (const [name, axiom] of Object.entries(axioms)) {
        const outcome = await fc.check(axiom);
        assert.equal(
          outcome.failed,
          broken.includes(name as AxiomName),
          `${name}: ${fc.defaultReportMessage(outcome)}`,
        );
      }
    });
  }
}

/** The definition, entry after entry in one sum, with no options. */
function definition(source: FisherDiagonal, target: FisherDiagonal): number {
  const [sourceTrace, targetTrace] = [trace(source), trace(target)];
  let twice = 0;
  for (const [name, { data: f }] of source.entries) {
    const g = target.entries.get(name)!.data;
    for (let i = 0; i < Math.max(f.length, g.length); i++) {
      const difference = Math.sqrt((f[i] ?? 0) / sourceTrace) - Math.sqrt((g[i] ?? 0) / targetTrace);
      twice += difference * difference;
    }
  }
  return Math.min(1, Math.sqrt(twice / 2));
}

test('without options the distance has the bits of the definition, and d2 is d squared', () => {
  fc.assert(
    fc.property(pairs, ([f, g]) => {
      const d = fisherDistance(f, g);
      assert.equal(d, definition(f, g));
      assert.equal(Math.sqrt(fisherDistance(f, g, { value: 'd2' })), d);
      assert.equal(fisherDistance(f, g, { normalise: 'trace', value: 'd', head: 'zero-pad' }), d);
    }),
  );
});

test('d squared is one minus the Bhattacharyya coefficient, as is the trace form of the paper', () => {
  fc.assert(
    fc.property(fisherPair(), ([f, g]) => {
      const [p, q] = [f, g].map((each) => {
        const total = trace(each);
        return [...each.entries.values()].flatMap(({ data }) => Array.from(data, (value) => value / total));
      });
      const overlap = p!.reduce((sum, value, i) => sum + Math.sqrt(value * q![i]!), 0);
      const traced = p!.reduce((sum, value, i) => sum + value + q![i]! - 2 * Math.sqrt(value * q![i]!), 0);
      const squared = fisherDistance(f, g, { value: 'd2' });
      assert.ok(Math.abs(squared - (1 - overlap)) < TOLERANCE);
      assert.ok(Math.abs(squared - traced / 2) < TOLERANCE);
    }),
  );
});

test('distance is 1 for disjoint supports and below 1 for shared ones', () => {
  fc.assert(
    fc.property(fisherPair(), ([f, g]) => {
      const [left, right] = [f, g].map((each) => [...each.entries.values()].flatMap(({ data }) => [...data]));
      const zeros = left!.map(() => 0);
      const apart = fisherDistance(diagonal([...left!, ...zeros]), diagonal([...zeros, ...right!]));
      assert.ok(Math.abs(apart - 1) < TOLERANCE);
      assert.ok(fisherDistance(diagonal([...left!, 1e30]), diagonal([...right!, 1e30])) < 1);
    }),
  );
});

test('contributions of layers and of parameters sum to d squared, in the order of the network', () => {
  const close = (a: number, b: number) =>
    assert.ok(Math.abs(a - b) <= TOLERANCE * Math.max(1, b), `${a}, not ${b}`);
  const total = (items: readonly { contribution: number; share: number }[], key: 'contribution' | 'share') =>
    items.reduce((sum, item) => sum + item[key], 0);
  fc.assert(
    fc.property(pairs, fc.constantFrom(...COMPARISONS), ([f, g], options) => {
      const { squared, layers } = distanceContributions(f, g, options);
      close(squared, fisherDistance(f, g, { ...options, value: 'd2' }));
      close(total(layers, 'contribution'), squared);
      const parameters = layers.flatMap((layer) => layer.parameters);
      close(total(parameters, 'contribution'), squared);
      close(total(layers, 'share'), squared > 0 ? 1 : 0);
      close(total(parameters, 'share'), squared > 0 ? 1 : 0);
      for (const layer of layers) close(total(layer.parameters, 'contribution'), layer.contribution);
      const names = [...f.entries.keys()].filter((name) => options.head !== 'drop' || !isHead(name));
      assert.deepEqual(
        parameters.map(({ name }) => name),
        names,
      );
    }),
  );
});

test('a layer is one module: names up to the last dot, or all of a name without one', () => {
  const names = ['conv1.weight', 'conv1.bias', 'layer1.0.conv.weight', 'w'];
  const f = fisher(Object.fromEntries(names.map((name) => [name, [1, 2]])));
  const { layers } = distanceContributions(f, f);
  assert.deepEqual(
    layers.map(({ name, parameters }) => [name, parameters.map((parameter) => parameter.name)]),
    [
      ['conv1', ['conv1.weight', 'conv1.bias']],
      ['layer1.0.conv', ['layer1.0.conv.weight']],
      ['w', ['w']],
    ],
  );
  assert.deepEqual(layers[0], {
    name: 'conv1',
    contribution: 0,
    share: 0,
    parameters: [
      { name: 'conv1.weight', contribution: 0, share: 0 },
      { name: 'conv1.bias', contribution: 0, share: 0 },
    ],
  });
});

test('the exact vectors: (1,0)-(0,1) is 1, (.5,.5)-(1,0) is .5411961001', () => {
  assert.equal(fisherDistance(diagonal([1, 0]), diagonal([0, 1])), 1);
  const d = fisherDistance(diagonal([0.5, 0.5]), diagonal([1, 0]));
  assert.ok(Math.abs(d - 0.5411961001) < 1e-10);
  assert.ok(Math.abs(d * d - 0.2928932188) < 1e-10);
});

test('by layer: the mean of the layers, one of zero trace in both left out, in one counted 1', () => {
  const f = fisher({
    'a.weight': [3],
    'a.bias': [3],
    'b.weight': [1, 0],
    'dead.weight': [0],
    'half.weight': [3, 1],
  });
  const g = fisher({
    'a.weight': [100],
    'a.bias': [0],
    'b.weight': [0, 7],
    'dead.weight': [0],
    'half.weight': [0, 0],
  });
  const { squared, layers } = distanceContributions(f, g, { normalise: 'layer' });
  const hellinger = 1 - Math.SQRT1_2;
  for (const [i, expected] of [hellinger, 1, 0, 1].entries()) {
    assert.ok(Math.abs(layers[i]!.contribution - expected / 3) < TOLERANCE, layers[i]!.name);
  }
  assert.ok(Math.abs(squared - (hellinger + 2) / 3) < TOLERANCE);
  const d = fisherDistance(f, g, { normalise: 'layer' });
  assert.ok(Math.abs(d - Math.sqrt((hellinger + 2) / 3)) < TOLERANCE);
  assert.ok(Math.abs(d - fisherDistance(g, f, { normalise: 'layer' })) < TOLERANCE);
});

test('by layer: layers may be scaled each by a factor of its own', () => {
  fc.assert(
    fc.property(pairs, fc.array(fc.integer({ min: -20, max: 20 }), { minLength: 4 }), ([f, g], exponents) => {
      const layers = [...new Set([...f.entries.keys()].map((name) => name.replace(/\.[^.]*$/, '')))];
      const entries = [...f.entries].map(([name, { shape, data }]) => {
        const by = 2 ** exponents[layers.indexOf(name.replace(/\.[^.]*$/, ''))]!;
        return [name, { shape, data: data.map((value) => value * by) }] as const;
      });
      const moved = { ...f, entries: new Map(entries) };
      const [a, b] = [moved, f].map((source) => fisherDistance(source, g, { normalise: 'layer' }));
      assert.ok(Math.abs(a! - b!) < TOLERANCE);
    }),
  );
});

test('without normalisation the distance is that of the raw roots, 0 allowed', () => {
  const options = { normalise: 'none' } as const;
  const f = diagonal([9, 1, 0]);
  assert.equal(fisherDistance(f, diagonal([1, 1, 4]), options), 2);
  assert.equal(fisherDistance(f, diagonal([0, 0, 0]), { ...options, value: 'd2' }), 5);
});

test('a head with fewer rows counts as continued by zero rows', () => {
  const head = (shape: number[], values: number[]): FisherDiagonal => ({
    entries: new Map([
      ['body', { shape: [2], data: Float32Array.of(1, 2) }],
      ['head.weight', { shape, data: Float32Array.from(values) }],
    ]),
    samples: 1,
  });
  const narrow = head([2, 2], [1, 2, 3, 4]);
  const wide = head([3, 2], [2, 1, 1, 0, 5, 1]);
  const padded = head([3, 2], [1, 2, 3, 4, 0, 0]);
  for (const normalise of ['trace', 'layer', 'none'] as const) {
    const d = (source: FisherDiagonal, target: FisherDiagonal) =>
      fisherDistance(source, target, { normalise });
    assert.equal(d(narrow, wide), d(padded, wide));
    assert.equal(d(wide, narrow), d(wide, padded));
  }
});

test('a dropped head is as if it had never been there', () => {
  const f = fisher({ 'body.weight': [1, 2, 3], 'head.weight': [50, 60], 'head.bias': [7] });
  const g = fisher({ 'body.weight': [3, 1, 0], 'head.weight': [5, 4, 3], 'head.bias': [9, 1] });
  const other = fisher({ 'body.weight': [3, 1, 0], 'classifier.weight': [5] });
  const expected = fisherDistance(diagonal([1, 2, 3]), diagonal([3, 1, 0]));
  for (const headNames of [['head.weight', 'head.bias'], isHead]) {
    assert.equal(fisherDistance(f, g, { head: 'drop', headNames }), expected);
  }
  const headNames = ['head.weight', 'head.bias', 'classifier.weight'];
  assert.equal(fisherDistance(f, other, { head: 'drop', headNames }), expected);
});

test('a head to drop must be named, be there, and not be all', () => {
  const f = fisher({ 'body.weight': [1, 2, 3], 'head.weight': [50, 60] });
  const drop = (headNames?: ComparisonOptions['headNames']) => () =>
    fisherDistance(f, f, { head: 'drop', headNames });
  assert.throws(drop(), failsWith('no-head'));
  assert.throws(drop([]), failsWith('no-head'));
  assert.throws(
    drop(() => false),
    failsWith('no-head'),
  );
  assert.throws(drop(['head.weight', 'head.bias']), failsWith('no-head', /has head\.bias$/));
  assert.throws(
    drop(() => true),
    failsWith('no-backbone'),
  );
  assert.throws(() => distanceContributions(f, f, { head: 'drop' }), failsWith('no-head'));
});

test('Fishers of different networks are refused, with every difference named', () => {
  const [a, b] = [diagonal([1, 2], 'conv1.weight'), diagonal([1, 2], 'fc.weight')];
  for (const name of [/conv1\.weight/, /fc\.weight/]) {
    assert.throws(() => fisherDistance(a, b), failsWith('fisher-mismatch', name));
  }
  const shaped = (...shape: number[]): FisherDiagonal => ({
    entries: new Map([['w', { shape, data: new Float32Array(shape.reduce((x, y) => x * y)).fill(1) }]]),
    samples: 1,
  });
  assert.throws(() => fisherDistance(shaped(2, 3), shaped(2, 4)), failsWith('fisher-mismatch', /\[2,4\]/));
  assert.throws(() => distanceContributions(shaped(2), shaped(2, 1)), failsWith('fisher-mismatch'));
});

test('a Fisher of zero trace is refused where it would be scaled', () => {
  for (const normalise of ['trace', 'layer'] as const) {
    const d = (f: number[], g: number[]) => () => fisherDistance(diagonal(f), diagonal(g), { normalise });
    assert.throws(d([0, 0], [1, 0]), failsWith('fisher-zero', /source/));
    assert.throws(d([1, 0], [0, 0]), failsWith('fisher-zero', /target/));
  }
});

test('the closest source of a target is read down its column, itself left out', () => {
  const matrix = [
    [0, 0.3, 0.9],
    [0.2, 0, 0.8],
    [0.1, 0.4, 0],
  ];
  assert.deepEqual(closestSources(matrix), [2, 0, 1]);
  assert.deepEqual(closestSources([[0]]), [-1]);
});
