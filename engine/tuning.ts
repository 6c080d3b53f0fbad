import { FathomError } from './errors.ts';
import {
  type GemmFacts,
  planGemm,
  planWeightGradient,
  type Tile,
  type WeightGradientFacts,
} from './planner.ts';
import { type CacheFile, oneLine, type Runtime } from './runtime/runtime.ts';

/** Something to plan: a product, a weight gradient, or the squares of one. */
export type Planned =
  | { kind: 'product'; facts: GemmFacts }
  | { kind: 'gradient' | 'squares'; facts: WeightGradientFacts };

/** Which tile to take for a shape; undefined leaves it to the planner. */
export type TileChoice = (shape: Planned) => Tile | undefined;

/** Tiles by {@link shapeClass}; an empty one says that the planner's own was the fastest. */
export type Answers = Readonly<Record<string, Tile>>;

/** The file of an adapter's answers. */
export interface Tuning {
  version: number;
  adapter: string;
  runtime: string;
  /** SHA-256 of the shaders, in hexadecimal. */
  kernels: string;
  answers: Answers;
}

/** Goes up when what a class or a tile means is changed. */
const VERSION = 1;

/** Values held in registers and instructions of a step: beyond them a tile takes long to compile and is no faster. */
const MOST_VECTORS = 32;
const MOST_VECTORS_OF_FIVE_TAPS = 16;
/** Pixels computed for each that the planner's own tile computes. */
const MOST_WASTE = 1.2;

/** Whether direct, and the tile that the planner takes by itself. */
function ownPlan({ kind, facts }: Planned): { direct: boolean; tile: Tile | undefined } {
  if (kind === 'product') {
    const { direct, family, tileRows, tileColumns, workgroup } = planGemm(facts);
    if (family === 'tiled') return { direct, tile: undefined };
    return { direct, tile: { family, tileRows, tileColumns, workgroup } as Tile };
  }
  const { direct, family, tileGroups, tilePixels, tileColumns, workgroup } = planWeightGradient(facts);
  if (family === 'tiled') return { direct, tile: undefined };
  return {
    direct,
    tile: { family, tileColumns, ...(direct ? { tilePixels } : { tileGroups }), workgroup } as Tile,
  };
}

/**
 * Shapes that share a tuned tile: by what is computed, and powers of two of its sizes. The batch is no part of it, but the
 * width of a line is, which decides how well tiles fit.
 */
export function shapeClass(shape: Planned): string {
  const { kind, facts } = shape;
  const { direct } = ownPlan(shape);
  const columns = kind === 'product' ? facts.columns : facts.outChannels;
  const power = (count: number) => 2 ** Math.floor(Math.log2(Math.max(1, count)));
  const { line } = facts;
  return [
    direct ? `direct ${kind}` : kind,
    `${4 * power(Math.ceil(columns / 4))} columns`,
    `${power(facts.steps)} steps`,
    `${power(facts.pixels)} pixels`,
    ...(direct ? [`${line!.taps} taps`, `width ${line!.outWidth}`] : []),
    ...(direct && line!.channels % 4 === 0 ? ['vec4'] : []),
  ].join(', ');
}

/** The few tiles worth timing for a shape, the planner's own first; none where it has no choice. */
export function candidates(shape: Planned): Tile[] {
  const { direct, tile: own } = ownPlan(shape);
  if (!own) return [];
  const { line } = shape.facts;
  const waste = (width: number) => (direct ? Math.ceil(line!.outWidth / width) * width : 1);
  const long = (tile: Tile) => tile.tileRows ?? tile.tilePixels ?? 4 * tile.tileGroups!;
  const most = direct && line!.taps === 5 ? MOST_VECTORS_OF_FIVE_TAPS : MOST_VECTORS;
  const shaped = lengths(own, direct)
    .flatMap((length) => ([1, 2, 4] as const).map((tileColumns) => ({ ...own, ...length, tileColumns })))
    .filter((tile) => long(tile) * tile.tileColumns <= most)
    .filter((tile) => waste(long(tile)) <= MOST_WASTE * waste(long(own)))
    .filter((tile) => Math.abs(Math.log2(tile.tileColumns / own.tileColumns!)) <= 1);
  const others: Tile[] = [
    { ...own, workgroup: own.workgroup === 16 ? 64 : 16 },
    { ...own, family: own.family === 'quad' ? 'register' : 'quad' },
  ];
  const fitting = [...shaped, ...others].filter((tile) => fits(shape, tile));
  const text = JSON.stringify(own);
  return [own, ...fitting.filter((tile) => JSON.stringify(tile) !== text)];
}

function lengths(own: Tile, direct: boolean): Tile[] {
  if (own.tileGroups) return [{ tileGroups: 1 }, { tileGroups: 2 }];
  if (own.tilePixels) return [{ tilePixels: 4 }, { tilePixels: 7 }];
  return direct ? [{ tileRows: 4 }, { tileRows: 7 }, { tileRows: 8 }] : [{ tileRows: 4 }, { tileRows: 8 }];
}

/** Whether a shape allows a tile. */
export function fits({ kind, facts }: Planned, tile: Tile): boolean {
  try {
    if (kind === 'product') planGemm(facts, tile);
    else planWeightGradient(facts, tile);
    return true;
  } catch (error) {
    if (error instanceof FathomError && error.code === 'bad-plan') return false;
    throw error;
  }
}

/** An adapter's tuned tiles, and the file in the user's cache folder that keeps them. */
export class TuningStore {
  private constructor(
    private readonly identity: Omit<Tuning, 'answers'>,
    private readonly file: CacheFile | undefined,
    /** What is known so far. */
    readonly answers: Answers,
    /** Why a file that is there was left aside. */
    readonly problem: string | undefined,
  ) {}

  /**
   * Finds the file of an adapter, a runtime and shaders, and reads it where it is sound. One of another adapter, version
   * or state of the shaders counts as none.
   * @param read whether its answers are wanted
   */
  static async open(
    runtime: Runtime,
    adapter: string,
    sources: ReadonlyMap<string, string>,
    read: boolean,
  ): Promise<TuningStore> {
    const kernels = await sha256([...sources].flat().join('\0'));
    const identity = { version: VERSION, adapter, runtime: runtime.version, kernels };
    const name = await sha256(JSON.stringify(identity));
    const file = runtime.cacheFile(`tuning-${name.slice(0, 16)}.json`);
    if (!file || !read) return new TuningStore(identity, file, {}, undefined);
    try {
      const text = await file.read();
      const answers = text === undefined ? {} : answersIn(text, identity);
      return new TuningStore(identity, file, answers, undefined);
    } catch (error) {
      return new TuningStore(identity, file, {}, oneLine(error));
    }
  }

  /** How many classes of shapes have an answer. */
  get classes(): number {
    return Object.keys(this.answers).length;
  }

  /** Where the answers are kept; undefined in a browser. */
  get path(): string | undefined {
    return this.file?.path;
  }

  tileOf(shape: Planned): Tile | undefined {
    if (this.classes === 0) return undefined;
    const tile = this.answers[shapeClass(shape)];
    return tile && fits(shape, tile) ? tile : undefined;
  }

  /** Writes answers beside those already known. @throws FathomError `cache-unusable` */
  async save(answers: Answers): Promise<void> {
    const tuning: Tuning = { ...this.identity, answers: { ...this.answers, ...answers } };
    await this.file?.write(`${JSON.stringify(tuning, null, 1)}\n`);
  }
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

const VALUES: Record<string, readonly unknown[]> = {
  family: ['register', 'quad'],
  tileRows: [4, 7, 8],
  tileColumns: [1, 2, 4],
  tileGroups: [1, 2],
  tilePixels: [4, 7],
  workgroup: [16, 64],
} satisfies { [K in keyof Required<Tile>]: readonly Tile[K][] };

/** The answers in a file's text. Throws where it is damaged or of something else. */
function answersIn(text: string, identity: Omit<Tuning, 'answers'>): Answers {
  const read = JSON.parse(text) as Partial<Tuning> | null;
  for (const [name, value] of Object.entries(identity)) {
    if (read?.[name as keyof Tuning] !== value) throw new Error(`its ${name} is another`);
  }
  const { answers } = read as Partial<Tuning>;
  if (!isRecord(answers) || !Object.values(answers).every(isTile)) throw new Error('its answers are damaged');
  return answers as Answers;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isTile(value: unknown): boolean {
  return isRecord(value) && Object.entries(value).every(([name, choice]) => VALUES[name]?.includes(choice));
}
