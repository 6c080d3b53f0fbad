import envPaths from 'env-paths';
import { FathomError } from '../errors.ts';
import { cacheFileIn } from './cache-file.ts';
import { hasEmbeddedDriver, withEmbeddedDriver, withEnvironment } from './node-embedded.ts';
import {
  type AdapterFacts,
  type AdapterSource,
  adapterKind,
  adapterLabel,
  chooseAdapter,
  fetchText,
  type Runtime,
  unreadable,
  type Wanted,
} from './runtime.ts';

/** The part of Deno's global used here. */
interface DenoGlobal {
  version: { deno: string };
  build: { os: string };
  env: { get(name: string): string | undefined };
  readTextFile(url: URL): Promise<string>;
  dlopen(path: string, symbols: object): unknown;
}

const deno = (globalThis as unknown as { Deno: DenoGlobal }).Deno;

const REMEDY =
  deno.build.os === 'linux'
    ? "Install a Vulkan driver (the GPU maker's, or the package mesa-vulkan-drivers)"
    : 'Update the GPU driver, or use a browser with WebGPU';

/** Deno: its own WebGPU (wgpu). */
export const denoRuntime: Runtime = {
  name: 'deno',
  version: `Deno ${deno.version.deno}`,
  openAdapter(mode) {
    const sources = [systemSource];
    if (hasEmbeddedDriver()) sources.push(embeddedSource);
    return chooseAdapter(mode, deno.env.get('FATHOM_ADAPTER'), sources, REMEDY);
  },
  async readText(url) {
    if (url.protocol !== 'file:') return fetchText(url);
    return deno.readTextFile(url).catch((error: unknown) => {
      throw unreadable(url, error);
    });
  },
  cacheDirectory: () => envPaths('fathom', { suffix: '' }).cache,
  cacheFile: (name) => cacheFileIn(denoRuntime.cacheDirectory()!, name),
};

/**
 * The driver that wgpu's one instance in this thread has met. The instance is made at the first request and
 * keeps its drivers, so what the system has is first asked in a worker, which has an instance of its own.
 */
let bound: 'system' | 'embedded' | undefined;

function refuseIfBoundTo(other: 'system' | 'embedded'): void {
  if (bound !== other) return;
  throw new FathomError({
    code: 'driver-bound',
    message: `this process already uses the ${other} driver`,
    fix: 'Use one driver in each Deno process',
  });
}

const systemSource: AdapterSource = {
  driver: 'system',
  name: 'system driver',
  async request(wanted) {
    refuseIfBoundTo('embedded');
    return withEnvironment(systemEnvironment(), async () => {
      const found = await probe(wanted);
      if (!found) throw new Error('wgpu finds no adapter in the drivers installed, if there are any');
      if (wanted !== 'any' && adapterKind(found) !== wanted) {
        throw new Error(`${adapterLabel(found)} is a ${adapterKind(found)} adapter`);
      }
      bound = 'system';
      const adapter = await navigator.gpu.requestAdapter(options(wanted));
      if (!adapter) throw new Error('wgpu lost the adapter it had found');
      return { gpu: navigator.gpu, adapter };
    });
  },
};

const embeddedSource: AdapterSource = {
  driver: 'embedded',
  name: 'embedded SwiftShader',
  async request() {
    refuseIfBoundTo('system');
    const request = () => {
      bound = 'embedded';
      return navigator.gpu.requestAdapter();
    };
    const adapter = bound
      ? await request()
      : await withEmbeddedDriver(
          denoRuntime.cacheDirectory()!,
          (path) => deno.dlopen(path, {}),
          () => withEnvironment({ DENO_WEBGPU_BACKEND: 'vulkan' }, request),
        );
    if (!adapter) throw new Error('it was loaded, but wgpu finds no adapter in it');
    return { gpu: navigator.gpu, adapter };
  },
};

/** On Linux Vulkan alone, unless the user asked otherwise: wgpu's OpenGL fallback is not full WebGPU. */
function systemEnvironment(): Record<string, string> {
  const keep = deno.build.os !== 'linux' || deno.env.get('DENO_WEBGPU_BACKEND');
  return keep ? {} : { DENO_WEBGPU_BACKEND: 'vulkan' };
}

function options(wanted: Wanted): GPURequestAdapterOptions {
  return wanted === 'software' ? { forceFallbackAdapter: true } : { powerPreference: 'high-performance' };
}

const PROBE = `onmessage = async ({ data }) => {
  const adapter = await navigator.gpu.requestAdapter(data);
  if (!adapter) return postMessage(undefined);
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  postMessage({ vendor, architecture, device, description, isFallbackAdapter });
};`;

/** What a request on the system's drivers would give, without binding this thread's instance to them. */
async function probe(wanted: Wanted): Promise<AdapterFacts | undefined> {
  const source = URL.createObjectURL(new Blob([PROBE], { type: 'text/javascript' }));
  const worker = new Worker(source, { type: 'module' });
  try {
    return await new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data as AdapterFacts | undefined);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      worker.postMessage(options(wanted));
    });
  } finally {
    worker.terminate();
    URL.revokeObjectURL(source);
  }
}
