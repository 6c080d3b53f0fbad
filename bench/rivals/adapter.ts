import { currentRuntime } from '../../engine/runtime/runtime.ts';

/**
 * Gives libraries written for browsers the adapter Fathom would take, as `navigator.gpu`. Call it before they load.
 * @returns the adapter's label
 */
export async function offerAdapter(): Promise<string> {
  const runtime = await currentRuntime();
  const { gpu, label } = await runtime.openAdapter('auto');
  const offered = {
    // An adapter gives one device only, so each request opens it anew.
    requestAdapter: async () => (await runtime.openAdapter('auto')).adapter,
    getPreferredCanvasFormat: () => gpu.getPreferredCanvasFormat(),
    wgslLanguageFeatures: gpu.wgslLanguageFeatures,
  };
  const value = { gpu: offered, userAgent: 'node', hardwareConcurrency: 2 };
  Object.defineProperty(globalThis, 'navigator', { value, configurable: true, writable: true });
  return label;
}
