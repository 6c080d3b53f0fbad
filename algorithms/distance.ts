import { FathomError } from '../engine/index.ts';
import { type FisherDiagonal, trace } from './fisher.ts';

/**
 * Directed Fisher task distance from a source to a target (paper section 1.3, diagonal form): both diagonals are
 * taken of networks of one architecture on the *target's* data, scaled to unit trace over the whole network, and
 *   d = (1 / sqrt 2) * || sqrt(F_source) - sqrt(F_target) ||,  so  d^2 = 1 - sum of sqrt(F_source F_target).
 * Where first axes differ (task heads of unequal class counts) the smaller is continued by zero rows (section 1.4).
 * Computed in float64; exactly 0 for equal diagonals, at most 1.
 * @throws FathomError `fisher-mismatch` for other differences in names or shapes, `fisher-zero` for a zero trace
 */
export function fisherDistance(source: FisherDiagonal, target: FisherDiagonal): number {
  const problems = differences(source, target);
  if (problems.length > 0) {
    throw new FathomError({
      code: 'fisher-mismatch',
      message: `The two Fishers are of different networks: ${problems.join('; ')}`,
      fix: 'Measure source and target with the same architecture',
    });
  }
  const sourceTrace = positiveTrace(source, 'source');
  const targetTrace = positiveTrace(target, 'target');
  let twice = 0;
  for (const [name, { data: f }] of source.entries) {
    const g = target.entries.get(name)!.data;
    // PyTorch's layout has the padded axis first, so zero rows are a zero tail.
    for (let i = 0; i < Math.max(f.length, g.length); i++) {
      const difference = Math.sqrt((f[i] ?? 0) / sourceTrace) - Math.sqrt((g[i] ?? 0) / targetTrace);
      twice += difference * difference;
    }
  }
  return Math.min(1, Math.sqrt(twice / 2));
}

function positiveTrace(fisher: FisherDiagonal, role: string): number {
  const total = trace(fisher);
  if (total > 0) return total;
  throw new FathomError({
    code: 'fisher-zero',
    message: `The ${role} Fisher has trace ${total}, so it cannot be scaled to unit trace`,
    fix: 'Use a network whose loss has not reached exactly zero, or more samples',
  });
}

function differences(source: FisherDiagonal, target: FisherDiagonal): string[] {
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
