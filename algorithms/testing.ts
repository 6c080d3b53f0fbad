/**
 * `fathom/testing`: the axioms of a task distance as fast-check properties, with arbitraries for Fisher diagonals,
 * networks and tasks, so that other measures can be tested as Fathom's own is. Needs `fast-check` installed; works
 * with any test runner. See docs/distance.md.
 */
export {
  type AxiomName,
  type AxiomOptions,
  type DirectednessOptions,
  type DirectedPair,
  directedPair,
  distanceAxioms,
  type FisherMeasure,
  type Measured,
  type Property,
} from './testing/axioms.ts';
export { type FisherArbitraryOptions, fisherDiagonals, fisherPair, fisherTriple } from './testing/fishers.ts';
export { type SampleAxiomName, type SampleMeasure, sampleAxioms } from './testing/samples.ts';
export { architectures, labelledExamples, tasks } from './testing/tasks.ts';
