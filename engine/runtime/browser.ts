import { chooseAdapter, fetchText, type Runtime } from './runtime.ts';

const REMEDY = 'Use a browser with WebGPU, over https or localhost, and update the GPU driver';

/** A browser: its own WebGPU, and no disk. */
export const browserRuntime: Runtime = {
  name: 'browser',
  version: navigator.userAgent,
  openAdapter: (mode) =>
    chooseAdapter(
      mode,
      undefined,
      [
        {
          driver: 'browser',
          name: 'browser',
          async request(wanted) {
            const gpu = navigator.gpu as GPU | undefined;
            if (!gpu) throw new Error('it has no WebGPU here');
            const adapter = await gpu.requestAdapter(
              wanted === 'software'
                ? { forceFallbackAdapter: true }
                : { powerPreference: 'high-performance' },
            );
            if (!adapter) throw new Error('it offers no such adapter');
            return { gpu, adapter };
          },
        },
      ],
      REMEDY,
    ),
  readText: fetchText,
  cacheDirectory: () => undefined,
  cacheFile: () => undefined,
};
