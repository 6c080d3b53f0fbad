import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import process from 'node:process';
import envPaths from 'env-paths';
import { FathomError } from '../errors.ts';
import { cacheFileIn } from './cache-file.ts';
import { hasEmbeddedDriver, withEmbeddedDriver } from './node-embedded.ts';
import {
  type AdapterSource,
  adapterKind,
  chooseAdapter,
  fetchText,
  oneLine,
  type Runtime,
  unreadable,
} from './runtime.ts';

type Dawn = typeof import('webgpu');

const REMEDY =
  process.platform === 'linux'
    ? "Install a Vulkan driver (the GPU maker's, or the package mesa-vulkan-drivers; Mesa 22 is too old for Dawn)"
    : 'Update the GPU driver, or use a browser with WebGPU';

/** Node: Dawn out of the npm package `webgpu`. */
export const nodeRuntime: Runtime = {
  name: 'node',
  version: `Node ${process.versions.node} (webgpu ${dawnVersion()})`,
  async openAdapter(mode, options) {
    const dawn = await loadDawn();
    calmPolling();
    const flags = options?.exactTimestamps ? ['disable-dawn-features=timestamp_quantization'] : [];
    const sources = [systemSource(dawn, flags)];
    if (hasEmbeddedDriver()) sources.push(embeddedSource(dawn, flags));
    return chooseAdapter(mode, process.env.FATHOM_ADAPTER, sources, REMEDY);
  },
  async readText(url) {
    if (url.protocol !== 'file:') return fetchText(url);
    return readFile(url, 'utf8').catch((error: unknown) => {
      throw unreadable(url, error);
    });
  },
  cacheDirectory: () => envPaths('fathom', { suffix: '' }).cache,
  cacheFile: (name) => cacheFileIn(nodeRuntime.cacheDirectory()!, name),
};

/**
 * Dawn's instances, one per driver and set of flags and never released: a device whose instance was collected
 * crashes the process, and an instance keeps the driver it met at its first request.
 */
const instances = new Map<string, GPU>();

function instance(dawn: Dawn, driver: string, flags: string[]): GPU {
  const key = instanceKey(driver, flags);
  let gpu = instances.get(key);
  if (!gpu) {
    gpu = dawn.create(flags);
    instances.set(key, gpu);
  }
  return gpu;
}

function instanceKey(driver: string, flags: readonly string[]): string {
  return [driver, ...flags].join(' ');
}

let calm = false;

/**
 * While anything is pending Dawn polls by `setImmediate` without pause, which takes a whole core from a software
 * adapter that runs on the same ones. Its callbacks are known by being native and nameless; they are put off by a
 * millisecond, everyone else's are passed on untouched.
 */
function calmPolling(): void {
  if (calm) return;
  calm = true;
  const immediately = globalThis.setImmediate;
  const isDawns = (callback: unknown) =>
    typeof callback === 'function' &&
    callback.name === '' &&
    Function.prototype.toString.call(callback).includes('[native code]');
  const patched = (callback: (...args: unknown[]) => void, ...args: unknown[]) =>
    isDawns(callback) ? setTimeout(callback, 1) : immediately(callback, ...args);
  globalThis.setImmediate = Object.assign(patched, immediately) as unknown as typeof setImmediate;
}

/** Whether the system has a Vulkan loader; asked before the embedded one answers to the same name. */
let hasLoader: boolean | undefined;

function systemSource(dawn: Dawn, flags: string[]): AdapterSource {
  hasLoader ??= process.platform !== 'linux' || canLoad('libvulkan.so.1');
  return {
    driver: 'system',
    name: 'system driver',
    async request(wanted) {
      if (!hasLoader) throw new Error('no Vulkan loader (libvulkan.so.1) is installed');
      const gpu = instance(dawn, 'system', flags);
      const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
      if (!adapter) throw new Error('Dawn accepts none of the drivers installed, if there are any');
      if (wanted !== 'software' || adapterKind(adapter.info) === 'software') return { gpu, adapter };
      return systemSoftware(dawn, flags);
    },
  };
}

/** The software driver beside a GPU. Dawn's fallback means SwiftShader or WARP; lavapipe it finds by name only. */
async function systemSoftware(dawn: Dawn, flags: string[]): Promise<{ gpu: GPU; adapter: GPUAdapter }> {
  const linux = process.platform === 'linux';
  const gpu = linux
    ? instance(dawn, 'llvmpipe', [...flags, 'adapter=llvmpipe'])
    : instance(dawn, 'system', flags);
  const adapter = await gpu.requestAdapter({ forceFallbackAdapter: !linux });
  if (!adapter) throw new Error('no software driver beside the GPU');
  return { gpu, adapter };
}

function embeddedSource(dawn: Dawn, flags: string[]): AdapterSource {
  return {
    driver: 'embedded',
    name: 'embedded SwiftShader',
    async request() {
      const request = async () => {
        const gpu = instance(dawn, 'embedded', flags);
        return { gpu, adapter: await gpu.requestAdapter() };
      };
      const { gpu, adapter } = instances.has(instanceKey('embedded', flags))
        ? await request()
        : await withEmbeddedDriver(nodeRuntime.cacheDirectory()!, loadLibrary, request);
      if (!adapter) throw new Error('it was loaded, but Dawn finds no adapter in it');
      return { gpu, adapter };
    },
  };
}

/** Keeps a library loaded after its handle is closed (dlfcn.h; the same in glibc and musl). */
const RTLD_NODELETE = 0x1000;

/**
 * Loads a library for the whole process. Node then looks for an addon in it, finds none, and throws: that
 * throw is the sign of success.
 */
function loadLibrary(path: string): void {
  const flags = RTLD_NODELETE | constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL;
  try {
    process.dlopen({ exports: {} }, path, flags);
  } catch (error) {
    if (!/did not self-register/.test(oneLine(error))) throw error;
  }
}

function canLoad(library: string): boolean {
  try {
    loadLibrary(library);
    return true;
  } catch {
    return false;
  }
}

async function loadDawn(): Promise<Dawn> {
  try {
    const dawn = await import('webgpu');
    Object.assign(globalThis, dawn.globals);
    return dawn;
  } catch (error) {
    throw explainLoadFailure(error);
  }
}

/** What a failed import of the native package `webgpu` means to its reader: `webgpu-not-loaded`. */
export function explainLoadFailure(cause: unknown): FathomError {
  const reason = oneLine(cause);
  const host = `${process.platform} ${process.arch}`;
  const parts = { code: 'webgpu-not-loaded', cause };
  if (/GLIBC/.test(reason)) {
    return new FathomError({
      ...parts,
      message: `The npm package webgpu does not load: this system's C or C++ library is too old (${reason})`,
      fix: 'Use webgpu 0.6.2, a newer Linux (glibc 2.34 or later), or run Fathom on Deno',
    });
  }
  if (/dawn\.node/.test(reason)) {
    return new FathomError({
      ...parts,
      message: `The npm package webgpu has no working binary for ${host} (${reason})`,
      fix: 'Run npm ci again on this machine; where the platform is not covered, run Fathom on Deno or in a browser',
    });
  }
  return new FathomError({
    ...parts,
    message: `The npm package webgpu does not load on ${host} (${reason})`,
    fix: 'Run npm ci again on this machine, or run Fathom on Deno',
  });
}

function dawnVersion(): string {
  try {
    return (createRequire(import.meta.url)('webgpu/package.json') as { version: string }).version;
  } catch {
    return 'not installed';
  }
}
