import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { dendrogramChart } from '../report/dendrogram.ts';
import {
  cluster,
  cut,
  type Dissimilarities,
  heightOf,
  leaves,
  place,
  type Tree,
} from '../report/geometry.ts';
import { graphChart, nearestSources } from '../report/graph.ts';
import { mapChart, taskMap } from '../report/map.ts';
import { toSvg } from '../report/render.ts';

const SHARED = process.env.FATHOM_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url));
const PATH = `${SHARED}/data/taskonomy-affinities.json`;
const skip = existsSync(PATH) ? false : "Taskonomy's affinities are not beside this checkout";

/**
 * The groups of Taskonomy's tree of tasks (Zamir et al. 2018, figure 13) under the names of its files. Colorization,
 * which has no values as a target, and point matching, which stands between groups, are in none.
 */
const GROUPS = {
  flat: ['autoencoder', 'denoise', 'impainting_whole', 'edge2d', 'keypoint2d', 'segment2d'],
  solid: [
    'curvature',
    'edge3d',
    'keypoint3d',
    'reshade',
    'rgb2depth',
    'rgb2mist',
    'rgb2sfnorm',
    'segment25d',
  ],
  geometric: [
    'ego_motion',
    'fix_pose',
    'jigsaw',
    'non_fixated_pose',
    'room_layout',
    'vanishing_point_well_defined',
  ],
  semantic: ['class_1000', 'class_selected', 'segmentsemantic_rb'],
};

/**
 * The affinities as dissimilarities: for each target the place of a source among all others, from 0 for the one that
 * transfers best to 1. Affinities of different targets are on different scales, places are not. Sources that are no
 * targets have values in one direction only; pairs of two such have none.
 */
function taskonomy(): { names: string[]; values: Dissimilarities } {
  const affinity = JSON.parse(readFileSync(PATH, 'utf8')) as Record<string, Record<string, number>>;
  const names = Object.keys(affinity).filter((name) => name !== 'self' && name !== 'random');
  const values: (number | null)[][] = names.map(() => names.map(() => null));
  for (const [t, target] of names.entries()) {
    const sources = [...names.keys()].filter((s) => s !== t && affinity[names[s]!]![target] !== undefined);
    sources.sort((a, b) => affinity[names[b]!]![target]! - affinity[names[a]!]![target]!);
    for (const [place, s] of sources.entries()) values[s]![t] = place / (sources.length - 1);
  }
  return { names, values };
}

/** Height at which two tasks come into one group. */
function joined(tree: Tree, a: number, b: number): number {
  if ('task' in tree) return 0;
  const inner = tree.children.find((child) => leaves(child).includes(a) && leaves(child).includes(b));
  return inner ? joined(inner, a, b) : heightOf(tree);
}

test("Taskonomy's affinities fall into its groups: any two of a group join before either joins another", {
  skip,
}, () => {
  const { names, values } = taskonomy();
  assert.equal(names.length, 25);
  const tree = cluster(values);
  const groups = Object.values(GROUPS).map((members) => members.map((name) => names.indexOf(name)));
  assert.ok(groups.flat().every((task) => task >= 0));
  for (const [g, group] of groups.entries()) {
    const others = groups.filter((_, i) => i !== g).flat();
    for (const a of group) {
      const foreign = Math.min(...others.map((b) => joined(tree, a, b)));
      for (const b of group) {
        const own = a === b ? 0 : joined(tree, a, b);
        assert.ok(own < foreign, `${names[a]} joins ${names[b]} at ${own}, another group at ${foreign}`);
      }
    }
  }
  // The highest join parts the 2D tasks, with colorization, from all others.
  const [first] = cut(tree, 2);
  const flat = [...GROUPS.flat, 'colorization'].map((name) => names.indexOf(name)).sort((a, b) => a - b);
  assert.deepEqual(
    first!.toSorted((a, b) => a - b),
    flat,
  );
});

test("Taskonomy's tasks transfer best within their group, and lie nearer to its centre than to others'", {
  skip,
}, () => {
  const { names, values } = taskonomy();
  const groupOf = (task: number) =>
    Object.values(GROUPS).findIndex((members) => members.includes(names[task]!));
  const within = nearestSources(values, 1).filter(
    ({ source, target }) => groupOf(target) >= 0 && groupOf(source) >= 0,
  );
  const own = within.filter(({ source, target }) => groupOf(source) === groupOf(target)).length;
  assert.ok(own >= 0.75 * within.length, `${own} of ${within.length} best sources are of the target's group`);
  const { points } = place(values);
  const centres = Object.values(GROUPS).map((members) => {
    const of = members.map((name) => points[names.indexOf(name)]!);
    return [0, 1].map((axis) => of.reduce((sum, point) => sum + point[axis]!, 0) / of.length);
  });
  const tasks = names.map((_, i) => i).filter((i) => groupOf(i) >= 0);
  const right = tasks.filter((task) => {
    const away = centres.map(([x, y]) => Math.hypot(points[task]![0] - x!, points[task]![1] - y!));
    return away.indexOf(Math.min(...away)) === groupOf(task);
  }).length;
  assert.ok(
    right >= 0.8 * tasks.length,
    `${right} of ${tasks.length} tasks are nearest to their group's centre`,
  );
});

test("Taskonomy's graph, tree and map are drawn", { skip }, async () => {
  const { names, values } = taskonomy();
  for (const width of [352, 1080]) {
    const charts = [
      graphChart({ names, values }, width),
      dendrogramChart({ names, values, measure: 'place of a source, mean of both directions' }, width),
      mapChart({ names, map: taskMap(values, []) }, width),
    ];
    for (const chart of charts) {
      const svg = await toSvg(chart);
      assert.doesNotMatch(svg, /NaN|undefined/);
      for (const name of ['denoise', 'jigsaw', 'reshade']) assert.ok(svg.includes(name));
    }
  }
});
