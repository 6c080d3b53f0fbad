import { FathomError, type Shape } from '../engine/index.ts';
import { trace } from './fisher.ts';

/** The entries of a diagonal Fisher, or of a sum of several in float64. */
export interface DiagonalEntries {
  entries: ReadonlyMap<string, { shape: Shape; data: Float32Array | Float64Array }>;
}

/** How two Fishers are made comparable. */
export interface ComparisonOptions {
  /**
   * `trace` (default): one scalar for the whole network scales each Fisher to unit trace, as in the paper.
   * `layer`: each layer is scaled to unit trace and d^2 is the mean over layers of their squared Hellinger distances,
   * so it stays in [0, 1]. A layer is the parameters of one module: names up to the last dot. Layers of zero trace
   * in both Fishers are left out of the mean; a layer of zero trace in one counts 1.
   * `none`: the Fishers as they are; then the distance has no upper bound and depends on their scale.
   */
  normalise?: 'trace' | 'layer' | 'none';
  /**
   * `zero-pad` (default): where first axes differ (heads of unequal class counts) the smaller is continued by zero
   * rows (section 1.4). `drop`: the parameters of `headNames` are left out of both, before any scaling.
   */
  head?: 'zero-pad' | 'drop';
  /** For `drop`: the head's parameters, by name (`Architecture.head`) or by a predicate on names. */
  headNames?: readonly string[] | ((name: string) => boolean);
}

export interface DistanceOptions extends ComparisonOptions {
  /** `d` (default) or its square `d2`. Only `d` obeys the triangle inequality. */
  value?: 'd' | 'd2';
}

/** What one parameter adds to the squared distance. */
export interface Contribution {
  name: string;
  contribution: number;
  /** Of the squared distance; 0 where that is 0. */
  share: number;
}

/** What one layer adds: the sum over its parameters. */
export interface LayerContribution extends Contribution {
  parameters: Contribution[];
}

/** Layers in the source's order, their contributions summing to `squared`. */
export interface DistanceContributions {
  /** The squared distance. */
  squared: number;
  layers: LayerContribution[];
}

/**
 * Directed Fisher task distance from a source to a target (paper section 1.3, diagonal form): both diagonals are
 * taken of networks of one architecture on the *target's* data, scaled to unit trace over the whole network, and
 *   d = (1 / sqrt 2) * || sqrt(F_source) - sqrt(F_target) ||,  so  d^2 = 1 - sum of sqrt(F_source F_target).
 * Computed in float64 from entries of either width; exactly 0 for equal diagonals, at most 1 unless `normalise` is `none`.
 * @throws FathomError `fisher-mismatch` for differences in names or shapes (but for first axes), `fisher-zero` for a
 * zero trace that is to be scaled, `no-head` where the head to drop is not named or not there
 */
export function fisherDistance(
  source: DiagonalEntries,
  target: DiagonalEntries,
  options: DistanceOptions = {},
): number {
  const parts = comparedParts(source, target, options);
  const squared = bounded(
    parts.reduce((sum, part) => addSquares(part, sum), 0),
    options,
  );
  return options.value === 'd2' ? squared : Math.sqrt(squared);
}

/**
 * What each layer and each parameter adds to the squared distance. The sum equals `fisherDistance` with `value: 'd2'`
 * up to float64 rounding. In a layer whose trace is zero on one side, a parameter adds by its share of the other's.
 * @throws FathomError as {@link fisherDistance}
 */
export function distanceContributions(
  source: DiagonalEntries,
  target: DiagonalEntries,
  options: ComparisonOptions = {},
): DistanceContributions {
  const parameters = comparedParts(source, target, options).map((part) => {
    return { name: part.name, layer: part.layer, contribution: addSquares(part, 0) };
  });
  const total = sum(parameters.map(({ contribution }) => contribution));
  const shared = (name: string, contribution: number): Contribution => {
    return { name, contribution, share: total > 0 ? contribution / total : 0 };
  };
  const layers = [...grouped(parameters)].map(([name, members]): LayerContribution => {
    return {
      ...shared(name, sum(members.map(({ contribution }) => contribution))),
      parameters: members.map((member) => shared(member.name, member.contribution)),
    };
  });
  return { squared: bounded(total, options), layers };
}

/** One parameter of both networks, with the divisors of its entries and the weight of their squared differences. */
interface Part {
  name: string;
  layer: string;
  f: Float32Array | Float64Array;
  g: Float32Array | Float64Array;
  sourceScale: number;
  targetScale: number;
  weight: number;
}

/** Adds weight * (sqrt(f / scale) - sqrt(g / scale))^2 over a parameter to `total`, entry after entry. */
function addSquares({ f, g, sourceScale, targetScale, weight }: Part, total: number): number {
  // PyTorch's layout has the padded axis first, so zero rows are a zero tail.
  const shared = Math.min(f.length, g.length);
  let result = total;
  for (let i = 0; i < shared; i++) {
    const difference = Math.sqrt(f[i]! / sourceScale) - Math.sqrt(g[i]! / targetScale);
    result += weight * (difference * difference);
  }
  const [tail, scale] = f.length > shared ? [f, sourceScale] : [g, targetScale];
  for (let i = shared; i < tail.length; i++) {
    const root = Math.sqrt(tail[i]! / scale);
    result += weight * (root * root);
  }
  return result;
}

/** Rounding may carry the sum of a scaled comparison past its bound. */
function bounded(squared: number, { normalise }: ComparisonOptions): number {
  return normalise === 'none' ? squared : Math.min(1, squared);
}

function comparedParts(source: DiagonalEntries, target: DiagonalEntries, options: ComparisonOptions): Part[] {
  const [f, g] = options.head === 'drop' ? withoutHead(source, target, options.headNames) : [source, target];
  const problems = differences(f, g);
  if (problems.length > 0) {
    throw new FathomError({
      code: 'fisher-mismatch',
      message: `The two Fishers are of different networks: ${problems.join('; ')}`,
      fix: 'Measure source and target with the same architecture',
    });
  }
  const { normalise = 'trace' } = options;
  const scaled = normalise !== 'none';
  const sourceScale = scaled ? positiveTrace(f, 'source') : 1;
  const targetScale = scaled ? positiveTrace(g, 'target') : 1;
  const parts = [...f.entries].map(([name, { data }]): Part => {
    const whole = { sourceScale, targetScale, weight: 0.5 };
    return { name, layer: layerOf(name), f: data, g: g.entries.get(name)!.data, ...whole };
  });
  if (normalise === 'layer') scaleByLayer(parts);
  return parts;
}

/** The module a parameter belongs to; a parameter without a dot in its name is a layer of its own. */
function layerOf(name: string): string {
  const dot = name.lastIndexOf('.');
  return dot < 0 ? name : name.slice(0, dot);
}

function scaleByLayer(parts: readonly Part[]): void {
  const layers = [...grouped(parts).values()].map((members) => ({
    members,
    source: sum(members.map(({ f }) => sum(f))),
    target: sum(members.map(({ g }) => sum(g))),
  }));
  const counted = layers.filter(({ source, target }) => source > 0 || target > 0).length;
  for (const { members, source, target } of layers) {
    // On one side alone the squares sum to 1, not to the 2 of disjoint supports.
    const weight = (source > 0 && target > 0 ? 0.5 : 1) / counted;
    for (const part of members) {
      part.sourceScale = source || 1;
      part.targetScale = target || 1;
      part.weight = weight;
    }
  }
}

function grouped<T extends { layer: string }>(parts: readonly T[]): Map<string, T[]> {
  const layers = new Map<string, T[]>();
  for (const part of parts) {
    const members = layers.get(part.layer);
    if (members) members.push(part);
    else layers.set(part.layer, [part]);
  }
  return layers;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}

function withoutHead(
  source: DiagonalEntries,
  target: DiagonalEntries,
  headNames: ComparisonOptions['headNames'] = [],
): [DiagonalEntries, DiagonalEntries] {
  const all = new Set([...source.entries.keys(), ...target.entries.keys()]);
  const names = typeof headNames === 'function' ? [...all].filter(headNames) : headNames;
  const unknown = names.filter((name) => !all.has(name));
  if (names.length === 0 || unknown.length > 0) {
    throw new FathomError({
      code: 'no-head',
      message:
        unknown.length > 0
          ? `The head cannot be left out: neither Fisher has ${unknown.join(', ')}`
          : "The head cannot be left out: no parameter of either Fisher is named as the head's",
      fix: "Give the names of the head's parameters, such as architecture.head, or keep the head with 'zero-pad'",
    });
  }
  const head = new Set(names);
  const body = ({ entries }: DiagonalEntries): DiagonalEntries => {
    return { entries: new Map([...entries].filter(([name]) => !head.has(name))) };
  };
  if (head.size < all.size) return [body(source), body(target)];
  throw new FathomError({
    code: 'no-backbone',
    message: 'Nothing is left to compare: every parameter is named as part of the head',
    fix: "Name only the parameters of the task's head, such as architecture.head",
  });
}

function positiveTrace(fisher: DiagonalEntries, role: string): number {
  const total = trace(fisher);
  if (total > 0) return total;
  throw new FathomError({
    code: 'fisher-zero',
    message: `The ${role} Fisher has trace ${total}, so it cannot be scaled to unit trace`,
    fix: 'Use a network whose loss has not reached exactly zero, or more samples',
  });
}

function differences(source: DiagonalEntries, target: DiagonalEntries): string[] {
  const problems: string[] = [];
  for (const name of target.entries.keys()) {
    if (!source.entries.has(name)) problems.push(`${name} is missing in the source`);
  }
  for (const [name, { shape }] of source.entries) {
    const other = target.entries.get(name)?.shape;
    if (!other) problems.push(`${name} is missing in the target`);
    else if (shape.slice(1).join() !== other.slice(1).join() || shape.length !== other.length) {
      problems.push(`${name} has shape [${shape}] in the source and [${other}] in the target`);
    }
  }
  return problems;
}
