import fc from 'fast-check';
import type { Family, GemmFacts, WeightGradientFacts } from '../engine/planner.ts';

const MIB = 2 ** 20;
const adapter = {
  software: fc.boolean(),
  subgroupSize: fc.constantFrom(0, 4, 8, 32),
  family: fc.option(fc.constantFrom<Family>('register', 'quad', 'tiled'), { nil: undefined }),
};

function defined<T extends { family?: Family | undefined }>({ family, ...facts }: T) {
  return family ? { ...facts, family } : facts;
}

const line = fc.option(
  fc.record({
    taps: fc.integer({ min: 1, max: 7 }),
    kernelHeight: fc.integer({ min: 1, max: 7 }),
    channels: fc.integer({ min: 1, max: 300 }),
  }),
  { nil: undefined },
);

/** Facts of any product. */
export const gemms: fc.Arbitrary<GemmFacts> = fc
  .record({
    lines: fc.integer({ min: 1, max: 1e5 }),
    outWidth: fc.integer({ min: 1, max: 70 }),
    steps: fc.integer({ min: 1, max: 2000 }),
    pixels: fc.constantFrom(1, 1, 49),
    columns: fc.integer({ min: 1, max: 5000 }),
    line,
    ...adapter,
  })
  .map(({ lines, outWidth, line, ...facts }) => ({
    ...defined(facts),
    rows: lines * outWidth,
    line: line && { ...line, outWidth },
  })) as fc.Arbitrary<GemmFacts>;

/** Facts of any weight gradient. */
export const weightGradients: fc.Arbitrary<WeightGradientFacts> = fc
  .record({
    taps: fc.integer({ min: 1, max: 49 }),
    inChannels: fc.integer({ min: 1, max: 300 }),
    outChannels: fc.integer({ min: 1, max: 300 }),
    outHeight: fc.integer({ min: 1, max: 70 }),
    outWidth: fc.integer({ min: 1, max: 70 }),
    maxBindingBytes: fc.integer({ min: 64 * 1024, max: 1024 * MIB }),
    line,
    ...adapter,
  })
  .map(({ taps, inChannels, outHeight, outWidth, line, ...facts }) => {
    const all = line ? line.taps * line.kernelHeight * line.channels : taps * inChannels;
    return {
      ...defined(facts),
      steps: Math.ceil(all / 4),
      pixels: outHeight * outWidth,
      size: all * facts.outChannels,
      line: line && { ...line, outWidth },
    };
  }) as fc.Arbitrary<WeightGradientFacts>;
