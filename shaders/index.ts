/** Every WGSL module in this folder; the kernels among them are the ones with an entry point. */
export const shaderNames = [
  'accurate_log',
  'adam',
  'bias_gradient',
  'broadcast',
  'count_nonfinite',
  'dispatch',
  'elementwise',
  'gemm_register',
  'gemm_tiled',
  'maxpool2d',
  'maxpool2d_gradient',
  'maxpool2d_scatter',
  'pack_weights',
  'partial_sum',
  'patches',
  'pooling',
  'random_bits',
  'result_store',
  'segment_sum',
  'sgd',
  'softmax_cross_entropy',
  'softmax_cross_entropy_gradient',
  'transpose',
  'weight_gradient',
  'wgrad_register',
  'wgrad_tiled',
] as const;

export type ShaderName = (typeof shaderNames)[number];

/** Where a module's text lies, beside this file. */
export function shaderUrl(name: ShaderName): URL {
  return new URL(`./${name}.wgsl`, import.meta.url);
}
