import { FathomError } from './errors.ts';

/**
 * `register` uses no workgroup memory (software adapters, tiny shapes); `quad` is the same with loads shared by four
 * neighbouring invocations (subgroup operations); `tiled` stages tiles in workgroup memory (GPUs).
 */
export type Family = 'register' | 'quad' | 'tiled';

/**
 * Choices that decide the speed of a plan and no bit of its results: which of them an invocation owns, not in which order
 * their sums run. What is left out stays the planner's own.
 */
export interface Tile {
  /** How loads are made; `tiled` sums in another order. */
  family?: 'register' | 'quad';
  /** Of a product; 7 where it is direct. */
  tileRows?: 4 | 7 | 8;
  tileColumns?: 1 | 2 | 4;
  /** Of a weight gradient that is not direct. */
  tileGroups?: 1 | 2;
  /** Of one that is. */
  tilePixels?: 4 | 7;
  workgroup?: 16 | 64;
}

/** Of each member of a {@link Tile} the values that a shape allows. */
export type TileChoices = { readonly [K in keyof Tile]: readonly NonNullable<Tile[K]>[] };

/** What the planner may know of the adapter. */
export interface AdapterFacts {
  software: boolean;
  /** The least invocations of a subgroup; 0 where there are no subgroup operations. */
  subgroupSize: number;
  /** Forces a family, for tests and benches. */
  family?: Family;
}

export interface GemmFacts extends AdapterFacts {
  /** They do not decide the family: a sample's bits must not depend on its batch. */
  rows: number;
  columns: number;
  /** Terms of a sum in groups of four. */
  steps: number;
  /** Rows of a sample. */
  pixels: number;
  /** Set for a convolution at stride and dilation 1. */
  line?: Line | undefined;
}

/** A line of a convolution at stride and dilation 1. */
export interface Line {
  taps: number;
  /** Lines of the kernel. */
  kernelHeight: number;
  outWidth: number;
  channels: number;
}

type TileColumns = 1 | 2 | 4 | 8;

export interface GemmPlan {
  family: Family;
  /** vec4 columns of a tile: the blocking of the packed weights. */
  tileColumns: TileColumns;
  columnTiles: number;
  /** Rows of an invocation, or of a workgroup of the tiled family. */
  tileRows: 4 | 7 | 8 | 32;
  /** Whether rows are neighbouring pixels of one line (direct_convolution.wgsl) instead of any (gemm_*.wgsl). */
  direct: boolean;
  /** Parts into which the sum is cut, each with a result of its own; they divide the steps. */
  splits: number;
  /** Invocations of a workgroup. */
  workgroup: 16 | 64;
  workgroups: number;
}

export interface WeightGradientFacts extends AdapterFacts {
  /** Rows of the weight gradient in groups of four: ceil(kernel height x width x in channels / 4). */
  steps: number;
  outChannels: number;
  /** Output pixels of a sample; 1 where samples are rows of a matrix. */
  pixels: number;
  /** Entries of the weight: what one lane holds. */
  size: number;
  maxBindingBytes: number;
  /** Set for a convolution at stride and dilation 1. */
  line?: Line | undefined;
}

export interface WeightGradientPlan {
  family: Family;
  tileColumns: TileColumns;
  columnTiles: number;
  /** Whether the taps of a line are taken together (wgrad_direct.wgsl). */
  direct: boolean;
  /** Pixels that it takes at a time. */
  tilePixels: 4 | 7 | undefined;
  /** Groups of four rows that an invocation owns where it is not direct, or a workgroup of the tiled family. */
  tileGroups: 1 | 2 | 8;
  /** Sample n is added to lane n mod `lanes`; does not depend on the batch. */
  lanes: number;
  /** Invocations of a workgroup. */
  workgroup: 16 | 64;
  /** For so many lanes. */
  workgroups(lanes: number): number;
}

const WORKGROUP = 64;
/** Small ones spread better over the few cores of a software adapter. */
const SOFTWARE_WORKGROUP = 16;
/** Invocations that keep a software adapter's few cores busy and balanced. */
const SOFTWARE_INVOCATIONS = 512;
/** Workgroups that fill a GPU of middling size. */
const GPU_WORKGROUPS = 256;
/** All lanes of a sum may take this share of a binding. */
const LANES_SHARE = 0.25;
const MOST_LANES = 64;
/** Pixels computed for each one wanted, up to which direct convolution is faster; measured. */
const DIRECT_WASTE = 1.2;
/** The fewest steps that are worth a pass over their sums. */
const SPLIT_STEPS = 16;
/** Steps up to which a narrow tile, which compiles sooner, is no slower. */
const FEW_STEPS = 4;
/** Invocations for each one wanted, up to which quads are faster. */
const QUAD_WASTE = 1.25;

/**
 * Tiles and grid of C = A B for [rows, columns]; see shaders/gemm_*.wgsl.
 * @param tile choices to take instead of the planner's own
 * @throws FathomError `bad-plan` where the shape does not allow one
 */
export function planGemm(facts: GemmFacts, tile: Tile = {}): GemmPlan {
  const columns4 = Math.ceil(facts.columns / 4);
  const family = facts.family ?? (facts.software || columns4 < 4 ? untiled(facts) : 'tiled');
  if (family === 'tiled') {
    const columnTiles = Math.ceil(columns4 / 8);
    const workgroups = Math.ceil(facts.rows / 32) * columnTiles;
    return withTile(
      {
        ...{ family, tileColumns: 8, columnTiles, tileRows: 32, direct: false, splits: 1 },
        ...{ workgroup: WORKGROUP, workgroups },
      },
      tile,
      {},
    );
  }
  const wide = hasWideRegisters(facts, family);
  const width = lineTile(facts.line, wide ? [4] : [8, 7]);
  const direct = width !== undefined && !(wide && facts.line!.channels % 4 === 0);
  const most = facts.steps <= FEW_STEPS ? 2 : mostColumns(direct, facts.line);
  const ownColumns = registerColumns(columns4, most);
  const splits = direct ? 1 : planSplits(facts, Math.ceil(columns4 / ownColumns));
  const { tileRows, tileColumns, workgroup, ...rest } = withTile(
    {
      family,
      tileRows: direct ? width : wide ? 4 : 8,
      tileColumns: ownColumns,
      workgroup: workgroupOf(facts),
    },
    tile,
    { ...commonChoices(facts, columns4), tileRows: direct ? [4, 7, 8] : [4, 8] },
  );
  const columnTiles = Math.ceil(columns4 / tileColumns);
  const tiles = direct
    ? (facts.rows / facts.line!.outWidth) * Math.ceil(facts.line!.outWidth / tileRows)
    : Math.ceil(facts.rows / tileRows);
  const workgroups = Math.ceil((splits * Math.ceil(tiles / 4) * columnTiles * 4) / workgroup);
  return { ...rest, tileRows, tileColumns, columnTiles, direct, splits, workgroup, workgroups };
}

/** @throws FathomError `bad-plan` */
function withTile<P extends object>(own: P, tile: Tile, choices: TileChoices): P {
  for (const [name, value] of Object.entries(tile)) {
    const allowed: readonly unknown[] = choices[name as keyof Tile] ?? [];
    if (value !== undefined && !allowed.includes(value)) {
      throw new FathomError({
        code: 'bad-plan',
        message: `A plan cannot have ${name} ${value} for this shape on this adapter`,
        fix: allowed.length > 0 ? `Take one of ${allowed.join(', ')}` : `Leave ${name} out`,
      });
    }
  }
  return { ...own, ...tile };
}

/** What products and weight gradients have in common. */
function commonChoices({ subgroupSize }: AdapterFacts, columns4: number): TileChoices {
  const tileColumns = ([1, 2, 4] as const).filter((count) => count <= columns4);
  return {
    family: subgroupSize >= 4 ? ['register', 'quad'] : ['register'],
    tileColumns,
    workgroup: [16, 64],
  };
}

function workgroupOf({ software }: AdapterFacts): 16 | 64 {
  return software ? SOFTWARE_WORKGROUP : WORKGROUP;
}

/** Parts of a linear layer's sums. Neither rows nor the adapter decide: a sample's bits must not depend on them. */
function planSplits({ pixels, steps }: GemmFacts, columnTiles: number): number {
  if (pixels > 1 || columnTiles > 2) return 1;
  const parts = [8, 4, 2].find((count) => steps % count === 0 && steps / count >= SPLIT_STEPS);
  return parts ?? 1;
}

/**
 * Of the tile widths that direct convolution offers the one that overhangs lines the least, the first of equals;
 * undefined where it is not possible or costs more pixels than it saves loads. On wide registers it is left alone where
 * it would hold more values than they do.
 */
function lineTile<W extends number>(line: Line | undefined, widths: readonly W[]): W | undefined {
  if (!line || (line.taps !== 3 && line.taps !== 5)) return undefined;
  const covered = (width: number) => Math.ceil(line.outWidth / width) * width;
  const best = widths.reduce((a, b) => (covered(b) < covered(a) ? b : a));
  return covered(best) <= DIRECT_WASTE * line.outWidth ? best : undefined;
}

/**
 * Tiles, lanes and grid of a weight gradient; see shaders/wgrad_*.wgsl. A tile leaves the lanes as they are.
 * @param tile choices to take instead of the planner's own
 * @throws FathomError `bad-plan` where the shape does not allow one
 */
export function planWeightGradient(facts: WeightGradientFacts, tile: Tile = {}): WeightGradientPlan {
  const columns4 = Math.ceil(facts.outChannels / 4);
  const small = (facts.pixels > 1 && facts.pixels < 8) || facts.steps < 4 || columns4 < 4;
  const family = facts.family ?? (facts.software || small ? untiled(facts) : 'tiled');
  // On wide registers a step would gain little for the time it takes to compile.
  const isCandidate = family !== 'tiled' && !hasWideRegisters(facts, family);
  const tilePixels = isCandidate ? lineTile(facts.line, [4, 7]) : undefined;
  const direct = tilePixels !== undefined;
  const own: Choice = {
    family: direct && !hasWholeQuads(facts.line!) ? 'register' : family,
    tileColumns: family === 'tiled' ? 8 : registerColumns(columns4, mostColumns(direct, facts.line)),
    tileGroups: family === 'tiled' ? 8 : hasWideRegisters(facts, family) ? 1 : 2,
    tilePixels,
    workgroup: family === 'tiled' ? WORKGROUP : workgroupOf(facts),
  };
  const invocations = ({ tileColumns, ...plan }: Choice) =>
    weightRows(facts, direct, plan) * Math.ceil(columns4 / tileColumns);
  const lanes = facts.pixels === 1 ? 1 : planLanes(invocations(own), facts);
  const choices: TileChoices =
    family === 'tiled'
      ? {}
      : {
          ...commonChoices(facts, columns4),
          ...(direct ? { tilePixels: [4, 7] as const } : { tileGroups: [1, 2] as const }),
        };
  const plan = withTile(own, tile, choices);
  return {
    ...plan,
    columnTiles: Math.ceil(columns4 / plan.tileColumns),
    direct,
    lanes,
    workgroups: (count) => Math.ceil((count * invocations(plan)) / plan.workgroup),
  };
}

type Choice = Pick<WeightGradientPlan, 'family' | 'tileColumns' | 'tileGroups' | 'tilePixels' | 'workgroup'>;

/** Invocations of one lane and one tile of columns. */
function weightRows(
  { steps, line }: WeightGradientFacts,
  direct: boolean,
  { family, tileGroups }: Pick<Choice, 'family' | 'tileGroups'>,
): number {
  if (family === 'tiled') return Math.ceil(steps / 8) * WORKGROUP;
  if (!direct) return Math.ceil(steps / (4 * tileGroups)) * 4;
  return family === 'quad' ? wholeQuads(directRows(line!)) : directRows(line!);
}

/** Row tiles of a direct weight gradient. */
function directRows({ kernelHeight, channels }: Line): number {
  return kernelHeight * (channels % 4 === 0 ? channels / 4 : channels);
}

function wholeQuads(tiles: number): number {
  return 4 * Math.ceil(tiles / 4);
}

/** Quads that are not whole cost more than shared loads save. */
function hasWholeQuads(line: Line): boolean {
  return wholeQuads(directRows(line)) <= QUAD_WASTE * directRows(line);
}

/**
 * Lanes over which a sum over samples is spread so that it fills the adapter: a power of two, which does not depend
 * on the batch (see `SampleSum`).
 * @param invocations those of one lane
 */
export function planLanes(
  invocations: number,
  facts: { size: number; software: boolean; maxBindingBytes: number },
): number {
  const enough = facts.software ? SOFTWARE_INVOCATIONS : GPU_WORKGROUPS * WORKGROUP;
  const affordable = Math.max(1, Math.floor((facts.maxBindingBytes * LANES_SHARE) / (facts.size * 4)));
  const wanted = Math.min(
    MOST_LANES,
    affordable,
    2 ** Math.ceil(Math.log2(Math.max(1, enough / invocations))),
  );
  return 2 ** Math.floor(Math.log2(wanted));
}

function untiled({ subgroupSize }: AdapterFacts): Family {
  return subgroupSize >= 4 ? 'quad' : 'register';
}

/** Whether half the tile does: an adapter of eight values a register keeps up, and compiles it in half the time. */
function hasWideRegisters({ subgroupSize }: AdapterFacts, family: Family): boolean {
  return family === 'quad' && subgroupSize >= 8;
}

/** vec4 columns of a tile. Where five taps are unrolled, instructions for four would overflow their cache. */
function mostColumns(direct: boolean, line: Line | undefined): 2 | 4 {
  return direct && line?.taps === 5 ? 2 : 4;
}

function registerColumns(columns4: number, most: 2 | 4): 1 | 2 | 4 {
  return columns4 >= 4 && most === 4 ? 4 : columns4 >= 2 ? 2 : 1;
}

/** Splits samples (or rows) into runs whose every binding fits and starts where a binding may start. */
export function batchRuns(
  count: number,
  bytesPerItem: readonly number[],
  maxBindingBytes: number,
): { start: number; count: number }[] {
  const widest = Math.max(...bytesPerItem);
  if (widest * count <= maxBindingBytes) return [{ start: 0, count }];
  const alignment = Math.max(...bytesPerItem.map((bytes) => 256 / gcd(256, bytes)));
  const fitting = Math.floor(maxBindingBytes / widest / alignment) * alignment;
  // Where not even one aligned run fits, the whole is returned and the dispatch says what is too large.
  if (fitting === 0) return [{ start: 0, count }];
  const runs = [];
  for (let start = 0; start < count; start += fitting) {
    runs.push({ start, count: Math.min(fitting, count - start) });
  }
  return runs;
}

export function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
