/** `register` uses no workgroup memory (software adapters, tiny shapes); `tiled` stages tiles in it (GPUs). */
export type Family = 'register' | 'tiled';

/** What the planner may know of the adapter. */
export interface AdapterFacts {
  software: boolean;
  /** Forces a family, for tests and benches. */
  family?: Family;
}

export interface GemmFacts extends AdapterFacts {
  /** They do not decide the family: a sample's bits must not depend on its batch. */
  rows: number;
  columns: number;
}

export interface GemmPlan {
  family: Family;
  /** vec4 columns of a tile: the blocking of the packed weights. */
  tileColumns: 1 | 2 | 4 | 8;
  columnTiles: number;
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
}

export interface WeightGradientPlan {
  family: Family;
  tileColumns: 1 | 2 | 4 | 8;
  columnTiles: number;
  /** Sample n is added to lane n mod `lanes`; does not depend on the batch. */
  lanes: number;
  /** For so many lanes. */
  workgroups(lanes: number): number;
}

const WORKGROUP = 64;
/** Invocations that keep a software adapter's few cores busy and balanced. */
const SOFTWARE_INVOCATIONS = 1536;
/** Workgroups that fill a GPU of middling size. */
const GPU_WORKGROUPS = 256;
/** All lanes of a sum may take this share of a binding. */
const LANES_SHARE = 0.25;
const MOST_LANES = 64;

/** Tiles and grid of C = A B for [rows, columns]; see shaders/gemm_*.wgsl. */
export function planGemm(facts: GemmFacts): GemmPlan {
  const columns4 = Math.ceil(facts.columns / 4);
  const family = facts.family ?? (facts.software || columns4 < 4 ? 'register' : 'tiled');
  if (family === 'tiled') {
    const columnTiles = Math.ceil(columns4 / 8);
    return { family, tileColumns: 8, columnTiles, workgroups: Math.ceil(facts.rows / 32) * columnTiles };
  }
  const tileColumns = registerColumns(columns4);
  const columnTiles = Math.ceil(columns4 / tileColumns);
  const invocations = Math.ceil(facts.rows / (tileColumns === 4 ? 8 : 16)) * columnTiles;
  return { family, tileColumns, columnTiles, workgroups: Math.ceil(invocations / WORKGROUP) };
}

/** Tiles, lanes and grid of a weight gradient; see shaders/wgrad_*.wgsl. */
export function planWeightGradient(facts: WeightGradientFacts): WeightGradientPlan {
  const columns4 = Math.ceil(facts.outChannels / 4);
  const small = (facts.pixels > 1 && facts.pixels < 8) || facts.steps < 4 || columns4 < 4;
  const family = facts.family ?? (facts.software || small ? 'register' : 'tiled');
  const tileColumns = family === 'tiled' ? 8 : registerColumns(columns4);
  const columnTiles = Math.ceil(columns4 / tileColumns);
  const tiles = Math.ceil(facts.steps / (family === 'tiled' ? 8 : 2)) * columnTiles;
  const lanes = facts.pixels === 1 ? 1 : planLanes(family === 'tiled' ? tiles * WORKGROUP : tiles, facts);
  const workgroups = (count: number) =>
    family === 'tiled' ? count * tiles : Math.ceil((count * tiles) / WORKGROUP);
  return { family, tileColumns, columnTiles, lanes, workgroups };
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

function registerColumns(columns4: number): 1 | 2 | 4 {
  return columns4 >= 4 ? 4 : columns4 >= 2 ? 2 : 1;
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

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
