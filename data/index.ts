export {
  checkLabels,
  type Examples,
  gatherImages,
  gatherLabels,
  gatherTargets,
  type ImageSet,
  type ImageSets,
  type Pixels,
  type Task,
} from './dataset.ts';
export { type IdxArray, type IdxKind, imageSetFromIdx, parseIdx } from './idx.ts';
export { loadMnist } from './mnist.ts';
export { allClassesTask, type ClassGroup, groupTask, mnistTasks, type SplitOptions } from './tasks.ts';
