/**
 * Holds the distances of a study whose tasks have the same classes against how well each network does on the other
 * tasks as it is: the accuracy of a source's network on the target's test images.
 *
 *   node --import tsx --conditions=fathom-source bench/style_transfer.ts STUDY.yaml RESULTS-FOLDER
 */
import { join } from 'node:path';
import process from 'node:process';
import { evaluate, FileStore, StudyGraph, spearman } from '../algorithms/index.ts';
import { openStudy } from '../cli/study.ts';
import { Gpu } from '../engine/index.ts';
import { Network, stateOf } from '../models/index.ts';

const [file, folder] = process.argv.slice(2);
if (!file || !folder) throw new Error('Give a study and the folder of its results');
using gpu = await Gpu.create();
const plan = await openStudy(file, { warn: console.error, gpu: async () => gpu });
const graph = new StudyGraph(plan);
const store = new FileStore(join(folder, 'store'));
const { tasks } = plan;

const accuracy = tasks.map(() => tasks.map(() => 0));
const distance = tasks.map(() => tasks.map(() => 0));
for (const trial of graph.trials) {
  for (const [source, { classes }] of tasks.entries()) {
    const { state, batches } = stateOf((await store.get(graph.train(source, trial)))!.tensors, folder);
    using network = Network.fromState(gpu, plan.architecture(classes), state, folder, batches);
    for (const [target, task] of tasks.entries()) {
      accuracy[source]![target]! += (await evaluate(network, task.test)).accuracy! / graph.trials.length;
      if (source === target) continue;
      const job = graph.distance({ source, target, trial }, graph.looks[target]!.at(-1)!);
      const { distance: d } = (await store.get(job))!.values as { distance: number };
      distance[source]![target]! += d / graph.trials.length;
    }
  }
}
const pairs = tasks.flatMap((_, s) => tasks.flatMap((_, t) => (s === t ? [] : [[s, t] as const])));
const show = (matrix: number[][]) =>
  matrix
    .map((row, s) => `${tasks[s]!.name.padEnd(22)} ${row.map((value) => value.toFixed(3)).join('  ')}`)
    .join('\n');
console.log(
  `accuracy of a source (row) on a target (column)\n${show(accuracy)}\n\ndistance\n${show(distance)}`,
);
console.log(
  `\nSpearman of accuracy with minus the distance, ${pairs.length} pairs: ${spearman(
    pairs.map(([s, t]) => accuracy[s]![t]!),
    pairs.map(([s, t]) => -distance[s]![t]!),
  ).toFixed(3)}`,
);
