/** `register` uses no workgroup memory (software adapters, tiny shapes); `tiled` stages tiles in it (GPUs). */
export type Family = 'register' | 'tiled';

/** What the planner may know of the adapter. */
export interface AdapterFacts {
  software: boolean;
  /** Forces a family, for tests and benches. */
  family?: Family;
}

export interface GemmFacts extends AdapterFacts {
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
  samples: number;
  /** Output pixels of a sample. */
  pixels: number;
  /** Entries of the weight: what one chunk's partial result holds. */
  size: number;
  maxBindingBytes: number;
}

export interface WeightGradientPlan {
  family: Family;
  tileColumns: 1 | 2 | 4 | 8;
  columnTiles: number;
  /** Samples are split into this many runs of `samplesPerChunk`, each with its own partial result. */
  chunks: number;
  samplesPerChunk: number;
  workgroups: number;
}

const WORKGROUP = 64;
/** Invocations that keep a software adapter's few cores busy and balanced. */
const SOFTWARE_INVOCATIONS = 1536;
/** Workgroups that fill a GPU of middling size. */
const GPU_WORKGROUPS = 256;
/** Partial results may take this share of a binding. */
const PARTIAL_SHARE = 0.25;

/** Tiles and grid of C = A B for [rows, columns]; see shaders/gemm_*.wgsl. */
export function planGemm(facts: GemmFacts): GemmPlan {
  const columns4 = Math.ceil(facts.columns / 4);
  const family = facts.family ?? (facts.software || facts.rows < 32 || columns4 < 4 ? 'register' : 'tiled');
  if (family === 'tiled') {
    const columnTiles = Math.ceil(columns4 / 8);
    return { family, tileColumns: 8, columnTiles, workgroups: Math.ceil(facts.rows / 32) * columnTiles };
  }
  const tileColumns = registerColumns(columns4);
  const columnTiles = Math.ceil(columns4 / tileColumns);
  const invocations = Math.ceil(facts.rows / (tileColumns === 4 ? 8 : 16)) * columnTiles;
  return { family, tileColumns, columnTiles, workgroups: Math.ceil(invocations / WORKGROUP) };
}

/** Tiles, grid and split over samples of a weight gradient; see shaders/wgrad_*.wgsl. */
export function planWeightGradient(facts: WeightGradientFacts): WeightGradientPlan {
  const columns4 = Math.ceil(facts.outChannels / 4);
  const small = facts.pixels < 8 || facts.steps < 4 || columns4 < 4;
  const family = facts.family ?? (facts.software || small ? 'register' : 'tiled');
  const tileColumns = family === 'tiled' ? 8 : registerColumns(columns4);
  const columnTiles = Math.ceil(columns4 / tileColumns);
  const tiles = Math.ceil(facts.steps / (family === 'tiled' ? 8 : 2)) * columnTiles;
  const enough =
    family === 'tiled' ? GPU_WORKGROUPS : facts.software ? SOFTWARE_INVOCATIONS : GPU_WORKGROUPS * WORKGROUP;
  const affordable = Math.max(1, Math.floor((facts.maxBindingBytes * PARTIAL_SHARE) / (facts.size * 4)));
  const wanted = Math.min(facts.samples, affordable, Math.ceil(enough / tiles));
  const samplesPerChunk = Math.ceil(facts.samples / wanted);
  return withChunks({ family, tileColumns, columnTiles }, tiles, facts.samples, samplesPerChunk);
}

/** The plan whose partial results are the explicit per-sample gradients: one chunk a sample. */
export function planPerSampleGradient(facts: WeightGradientFacts): WeightGradientPlan {
  const { family, tileColumns, columnTiles } = planWeightGradient(facts);
  const tiles = Math.ceil(facts.steps / (family === 'tiled' ? 8 : 2)) * columnTiles;
  return withChunks({ family, tileColumns, columnTiles }, tiles, facts.samples, 1);
}

function withChunks(
  tile: Pick<WeightGradientPlan, 'family' | 'tileColumns' | 'columnTiles'>,
  tiles: number,
  samples: number,
  samplesPerChunk: number,
): WeightGradientPlan {
  const chunks = Math.ceil(samples / samplesPerChunk);
  const workgroups = tile.family === 'tiled' ? chunks * tiles : Math.ceil((chunks * tiles) / WORKGROUP);
  return { ...tile, chunks, samplesPerChunk, workgroups };
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

/** Samples a chunk of a bias gradient sums, so that chunks x channels invocations fill the adapter. */
export function planBiasGradient(samples: number, channels: number, software: boolean): number {
  const enough = software ? SOFTWARE_INVOCATIONS : GPU_WORKGROUPS * WORKGROUP;
  return Math.ceil(samples / Math.min(samples, Math.ceil(enough / channels)));
}
