import type { Gpu } from './gpu.ts';
import { convTranspose2d } from './ops/conv_transpose2d.ts';
import { conv2d } from './ops/conv2d.ts';
import { linear } from './ops/linear.ts';
import type { Tile } from './planner.ts';
import { Random } from './random.ts';
import { SampleSum } from './sample_sums.ts';
import { Tape } from './tape.ts';
import { type Shape, sizeOf, type Tensor } from './tensor.ts';
import { candidates, type Planned, shapeClass } from './tuning.ts';

type F32 = Tensor<'f32'>;

/** Ops whose kernels are planned. */
const OPS = { conv2d, convTranspose2d, linear } as const;

/** An op whose kernels are to be tuned, with the shapes of its input and its weights. */
export interface TunedLayer {
  op: keyof typeof OPS;
  input: Shape;
  weights: Shape;
  settings: readonly unknown[];
}

/** What was found for a class of shapes. */
export interface Tuned {
  class: string;
  /** The planner's own tile, and the one that is taken: another only where it is clearly faster. */
  own: Tile;
  chosen: Tile;
  /** Time of the planner's own over that of the chosen one. */
  gain: number;
  /** Tiles that were timed. */
  timed: number;
  /** Tiles left out because their results had other bits, which a driver's compiler may cause. */
  unequal: Tile[];
}

/** A tile that is not faster than the planner's own by this share is not taken: noise would choose. */
const LEAST_GAIN = 1.05;
/** Runs are waited for together until they take so long, for a wait ends up to a millisecond late. */
const SAMPLE_MS = 15;
const MOST_REPEATS = 200;
/** Of all tiles in turns, then of the best and the planner's own. */
const ROUNDS = 3;
const LAST_ROUNDS = 4;

/** The layers of a network to tune, each once: those that a tape has recorded (of a dry run, too). */
export function layersOn({ operations }: Tape): TunedLayer[] {
  const layers = new Map<string, TunedLayer>();
  for (const { op, inputs, settings } of operations) {
    if (!(op in OPS)) continue;
    const [input, weights] = inputs.map(({ shape }) => shape);
    const layer = { op: op as keyof typeof OPS, input: input!, weights: weights!, settings };
    layers.set(JSON.stringify(layer), layer);
  }
  return [...layers.values()];
}

/**
 * Times the candidate tiles of every class of shapes that the layers have, forwards, backwards and in the Fisher, on
 * random values. A tile whose results are not the same bits as those of the planner's own is never chosen.
 * @param onProgress called before each class is timed
 */
export async function tune(
  gpu: Gpu,
  layers: readonly TunedLayer[],
  onProgress?: (progress: { layer: number; layers: number; class: string }) => void,
): Promise<Tuned[]> {
  const before = gpu.forced;
  const found = new Map<string, Tuned>();
  try {
    for (const [i, layer] of layers.entries()) {
      using work = new LayerWork(gpu, layer);
      for (const pass of work.passes) {
        for (const [name, shape] of planned(gpu, pass)) {
          if (found.has(name)) continue;
          onProgress?.({ layer: i, layers: layers.length, class: name });
          const tuned = await tuneClass(gpu, name, shape, pass);
          if (tuned) found.set(name, tuned);
        }
      }
    }
  } finally {
    gpu.forced = before;
  }
  return [...found.values()];
}

/** Runs part of a layer and gives its result. */
type Pass = () => F32;

/** A layer on random values. */
class LayerWork implements Disposable {
  readonly passes: readonly Pass[];
  private readonly tensors: F32[];

  constructor(gpu: Gpu, { op, input, weights, settings }: TunedLayer) {
    const random = new Random(1);
    const noise = (shape: Shape) => gpu.keep(gpu.tensor(random.normal(sizeOf(shape)), shape));
    const [x, w] = [noise(input), noise(weights)];
    const apply = OPS[op] as (tape: Tape, x: F32, w: F32, ...settings: readonly unknown[]) => F32;
    const tape = new Tape(gpu).watch([w]);
    const y = apply(tape, x, w, ...settings);
    const dy = noise(y.shape);
    const { rule } = tape.operations[0]!;
    this.tensors = [x, w, y, dy];
    this.passes = [
      () => apply(new Tape(gpu), x, w, ...settings),
      () => rule.gradient(0, dy),
      () => rule.gradient(1, dy),
      () => {
        const sum = new SampleSum(gpu, w.shape, 'square', () => 0);
        rule.parameters![1]!.accumulate(dy, sum);
        const total = sum.total();
        sum.dispose();
        return total;
      },
    ];
  }

  [Symbol.dispose](): void {
    for (const tensor of this.tensors) tensor.dispose();
  }
}

/** What a pass plans, by class. */
function planned(gpu: Gpu, pass: Pass): Map<string, Planned> {
  const shapes = new Map<string, Planned>();
  gpu.forced = (shape) => {
    shapes.set(shapeClass(shape), shape);
    return undefined;
  };
  pass().dispose();
  return shapes;
}

async function tuneClass(gpu: Gpu, name: string, shape: Planned, pass: Pass): Promise<Tuned | undefined> {
  const [own, ...others] = candidates(shape);
  if (!own) return undefined;
  const timeOf = async (tile: Tile, repeats: number): Promise<number> => {
    force(gpu, name, tile);
    const begin = performance.now();
    for (let i = 0; i < repeats; i++) pass().dispose();
    await gpu.finish();
    return (performance.now() - begin) / repeats;
  };
  const expected = await resultOf(gpu, name, own, pass);
  const unequal: Tile[] = [];
  const best = new Map([[own, Number.POSITIVE_INFINITY]]);
  for (const tile of others) {
    const same = sameBits(await resultOf(gpu, name, tile, pass), expected);
    if (same) best.set(tile, Number.POSITIVE_INFINITY);
    else unequal.push(tile);
  }
  const repeats = Math.min(MOST_REPEATS, Math.ceil(SAMPLE_MS / (await timeOf(own, 2))));
  const race = async (tiles: readonly Tile[], rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      for (const tile of tiles) best.set(tile, Math.min(best.get(tile)!, await timeOf(tile, repeats)));
    }
  };
  await race([...best.keys()], ROUNDS);
  const [leader] = [...best].reduce((a, b) => (b[1] < a[1] ? b : a));
  if (leader !== own) {
    // The fastest of many is partly luck.
    best.set(own, Number.POSITIVE_INFINITY).set(leader, Number.POSITIVE_INFINITY);
    await race([own, leader], LAST_ROUNDS);
  }
  const gain = best.get(own)! / best.get(leader)!;
  const isTaken = gain > LEAST_GAIN;
  return {
    ...{ class: name, own, chosen: isTaken ? leader : own, gain: isTaken ? gain : 1 },
    ...{ timed: best.size, unequal },
  };
}

/** Plans the shapes of one class with a tile. */
function force(gpu: Gpu, name: string, tile: Tile): void {
  gpu.forced = (shape) => (shapeClass(shape) === name ? tile : undefined);
}

async function resultOf(gpu: Gpu, name: string, tile: Tile, pass: Pass): Promise<Uint32Array> {
  force(gpu, name, tile);
  using result = pass();
  return new Uint32Array((await result.read()).buffer);
}

function sameBits(a: Uint32Array, b: Uint32Array): boolean {
  return a.every((word, i) => word === b[i]);
}
