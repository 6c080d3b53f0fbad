import { agnes, type Cluster } from 'ml-hclust';
import { EigenvalueDecomposition, Matrix, pseudoInverse, SingularValueDecomposition } from 'ml-matrix';

/** Dissimilarities, [source][target]; null where there is none, the diagonal is not looked at. */
export type Dissimilarities = readonly (readonly (number | null)[])[];

export type Point = readonly [x: number, y: number];

/** Where tasks lie in the plane. */
export interface Placement {
  points: Point[];
  /** Kruskal's stress-1: 0 where the plane holds the distances, above 0.2 it misleads. */
  stress: number;
}

/** A join of a dendrogram; leaves are tasks. */
export type Tree = { task: number } | { height: number; children: [Tree, Tree] };

/** The mean of both directions, one of them where the other is missing; null where both are. */
export function symmetrised(values: Dissimilarities): (number | null)[][] {
  return values.map((row, i) =>
    row.map((value, j) => {
      if (i === j) return 0;
      const other = values[j]![i]!;
      return value === null || other === null ? (value ?? other) : (value + other) / 2;
    }),
  );
}

/**
 * Average linkage of the symmetrised dissimilarities; the children of a join are ordered by their lowest task. A pair
 * without a value in either direction counts the mean of what its two tasks have with the others.
 */
export function cluster(values: Dissimilarities): Tree {
  const full = completed(symmetrised(values));
  if (full.length === 1) return { task: 0 };
  return asTree(agnes(full, { method: 'average', isDistanceMatrix: true }));
}

function asTree({ isLeaf, index, height, children }: Cluster): Tree {
  if (isLeaf) return { task: index };
  const [a, b] = children.map(asTree) as [Tree, Tree];
  return { height, children: Math.min(...leaves(a)) < Math.min(...leaves(b)) ? [a, b] : [b, a] };
}

/** The tasks under a join, from its first child to its last. */
export function leaves(tree: Tree): number[] {
  return 'task' in tree ? [tree.task] : tree.children.flatMap(leaves);
}

/** The tasks of each group when the tree is cut into so many, the highest joins first. */
export function cut(tree: Tree, groups: number): number[][] {
  const parts = [tree];
  while (parts.length < groups) {
    const highest = parts.reduce((best, part, i) => (heightOf(part) > heightOf(parts[best]!) ? i : best), 0);
    const part = parts[highest]!;
    if ('task' in part) break;
    parts.splice(highest, 1, ...part.children);
  }
  return parts.map(leaves);
}

export function heightOf(tree: Tree): number {
  return 'task' in tree ? 0 : tree.height;
}

function completed(values: readonly (readonly (number | null)[])[]): number[][] {
  const centre = values.map((row, i) => {
    const known = row.filter((value, j): value is number => value !== null && j !== i);
    return known.length === 0 ? 1 : known.reduce((a, b) => a + b) / known.length;
  });
  return values.map((row, i) => row.map((value, j) => value ?? (centre[i]! + centre[j]!) / 2));
}

/**
 * The plane in which distances fit the symmetrised dissimilarities best: classical scaling, then majorisation of the
 * stress (SMACOF), in which pairs without a value have no say.
 * @param start where to begin instead of at the classical solution
 */
export function place(values: Dissimilarities, start?: readonly Point[]): Placement {
  const wanted = symmetrised(values);
  const n = wanted.length;
  const weight = new Matrix(
    wanted.map((row, i) => row.map((value, j) => (value === null || i === j ? 0 : 1))),
  );
  const delta = new Matrix(completed(wanted));
  const laplacian = Matrix.diag(weight.sum('row')).sub(weight);
  const solve = pseudoInverse(laplacian);
  let points = start ? new Matrix(start.map((point) => [...point])) : classical(delta);
  let stress = stressOf(points, delta, weight);
  for (let step = 0; step < 500 && n > 1; step++) {
    const guttman = new Matrix(n, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        const d = between(points, i, j);
        if (i === j || d === 0) continue;
        const value = (weight.get(i, j) * delta.get(i, j)) / d;
        guttman.set(i, j, -value);
        guttman.set(i, i, guttman.get(i, i) + value);
      }
    }
    const next = solve.mmul(guttman).mmul(points);
    const better = stressOf(next, delta, weight);
    points = next;
    if (stress - better < 1e-9) break;
    stress = better;
  }
  return { points: points.to2DArray() as unknown as Point[], stress: stressOf(points, delta, weight) };
}

/** Torgerson's scaling; an axis points where its largest coordinate does. */
function classical(delta: Matrix): Matrix {
  const n = delta.rows;
  if (n === 1) return Matrix.zeros(1, 2);
  const centring = Matrix.eye(n).sub(Matrix.ones(n, n).div(n));
  const inner = centring.mmul(Matrix.mul(delta, delta)).mmul(centring).mul(-0.5);
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(inner, {
    assumeSymmetric: true,
  });
  const axes = [n - 1, n - 2].map((axis) => {
    const vector = eigenvectorMatrix.getColumn(axis);
    const largest = vector.reduce(
      (best, value) => (Math.abs(value) > Math.abs(best) + 1e-9 ? value : best),
      0,
    );
    const scale = Math.sqrt(Math.max(0, realEigenvalues[axis]!)) * (largest < 0 ? -1 : 1);
    return vector.map((value) => value * scale);
  });
  return new Matrix(axes).transpose();
}

function stressOf(points: Matrix, delta: Matrix, weight: Matrix): number {
  let [missed, all] = [0, 0];
  for (let i = 0; i < points.rows; i++) {
    for (let j = 0; j < i; j++) {
      const d = between(points, i, j);
      missed += weight.get(i, j) * (d - delta.get(i, j)) ** 2;
      all += weight.get(i, j) * d ** 2;
    }
  }
  return all === 0 ? 0 : Math.sqrt(missed / all);
}

function between(points: Matrix, i: number, j: number): number {
  return Math.hypot(points.get(i, 0) - points.get(j, 0), points.get(i, 1) - points.get(j, 1));
}

/** Turns, mirrors and shifts points until they lie as near as they can to others (Procrustes, without scaling). */
export function aligned(points: readonly Point[], onto: readonly Point[]): Point[] {
  const [from, to] = [points, onto].map((each) => new Matrix(each.map((point) => [...point])));
  const centre = to!.mean('column');
  const moved = from!.subRowVector(from!.mean('column'));
  const { leftSingularVectors, rightSingularVectors } = new SingularValueDecomposition(
    moved.transpose().mmul(to!.clone().subRowVector(centre)),
  );
  const turned = moved.mmul(leftSingularVectors.mmul(rightSingularVectors.transpose()));
  return turned.addRowVector(centre).to2DArray() as unknown as Point[];
}

/** The outline of points at so many of their standard deviations in every direction. */
export function ellipse(points: readonly Point[], deviations: number, corners = 48): Point[] {
  const n = points.length;
  const [x, y] = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis]!, 0) / n) as [
    number,
    number,
  ];
  const covariance = (a: 0 | 1, b: 0 | 1) =>
    points.reduce((sum, point) => sum + (point[a] - [x, y][a]!) * (point[b] - [x, y][b]!), 0) / (n - 1);
  const [xx, xy, yy] = [covariance(0, 0), covariance(0, 1), covariance(1, 1)];
  // The covariance's Cholesky factor carries the unit circle onto the outline.
  const across = Math.sqrt(xx);
  const slant = across === 0 ? 0 : xy / across;
  const upright = Math.sqrt(Math.max(0, yy - slant ** 2));
  return Array.from({ length: corners }, (_, i) => {
    const [u, v] = [Math.cos((2 * Math.PI * i) / corners), Math.sin((2 * Math.PI * i) / corners)];
    return [x + deviations * across * u, y + deviations * (slant * u + upright * v)];
  });
}
