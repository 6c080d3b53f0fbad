export { cnn, cnnWithHead } from './cnn.ts';
export {
  chain,
  conv2dLayer,
  flattenLayer,
  type Lookup,
  linearLayer,
  type Module,
  maxpoolLayer,
  type ParameterSpec,
  reluLayer,
} from './module.ts';
export { type Architecture, Network, type StateDict } from './network.ts';
