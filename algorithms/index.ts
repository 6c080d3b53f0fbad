export { fisherDistance } from './distance.ts';
export { type Evaluation, evaluate } from './evaluate.ts';
export { diagonalFisher, type FisherDiagonal, type FisherOptions, trace } from './fisher.ts';
export {
  closestSources,
  type DistanceMatrix,
  distanceMatrix,
  type MatrixOptions,
  type MatrixProgress,
  type Trial,
} from './matrix.ts';
export { type TrainingOptions, type TrainingProgress, type TrainingResult, train } from './train.ts';
