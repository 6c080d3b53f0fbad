export {
  checkLabels,
  type DataSet,
  type Examples,
  gatherImages,
  gatherLabels,
  gatherTargets,
  hashImages,
  type ImageSet,
  type ImageSets,
  imageAt,
  type Pixels,
  type StoredPixels,
  type Task,
} from './dataset.ts';
export { type IdxArray, type IdxKind, imageSetFromIdx, parseIdx } from './idx.ts';
export { loadMnist } from './mnist.ts';
export { type DataOptions, type DataSpec, dataSpec, openData } from './sources.ts';
export { allClassesTask, type ClassGroup, groupTask, mnistTasks, type SplitOptions } from './tasks.ts';
