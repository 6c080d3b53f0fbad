export { costOf, type NetworkCost } from './cost.ts';
export {
  type ComparisonOptions,
  type Contribution,
  type DistanceContributions,
  type DistanceOptions,
  distanceContributions,
  fisherDistance,
  type LayerContribution,
} from './distance.ts';
export { type Estimator, estimatorLabel, type Reduction } from './estimators.ts';
export { type Evaluation, evaluate } from './evaluate.ts';
export {
  diagonalFisher,
  type FisherDiagonal,
  type FisherOptions,
  fishersOf,
  trace,
} from './fisher.ts';
export {
  closestSources,
  type DistanceMatrix,
  distanceMatrix,
  type MatrixOptions,
  type MatrixProgress,
  type Trial,
} from './matrix.ts';
export { defaultBudget, fisherBytes, trainingBytes } from './memory.ts';
export { type Batch, sampleLosses, uploadBatch } from './objective.ts';
export * from './statistics/index.ts';
export {
  type TrainingOptions,
  type TrainingProgress,
  type TrainingResult,
  type TrainingState,
  train,
  trainingStep,
} from './train.ts';
export { type Deviation, type Verification, type VerifyCheck, verify } from './verify.ts';
