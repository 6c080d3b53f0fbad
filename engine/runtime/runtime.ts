import { FathomError } from '../errors.ts';

/**
 * Which adapter to open. `auto`: hardware, else a software driver installed on the system, else the embedded
 * one; `hardware` and `software` accept only that kind; `embedded` asks for SwiftShader out of this package.
 */
export type AdapterMode = 'auto' | 'hardware' | 'software' | 'embedded';

export interface OpenedAdapter {
  adapter: GPUAdapter;
  /** The object that gave the adapter; on Node it must be kept alive as long as the device. */
  gpu: GPU;
  kind: 'hardware' | 'software';
  driver: 'system' | 'embedded' | 'browser';
  /** One line for people: vendor, device, description. */
  label: string;
  /** What was tried before, and why it was not taken; one line each. */
  tried: string[];
}

export interface OpenOptions {
  /** Timestamps to the nanosecond; Dawn rounds them to 65,536 unless told otherwise. */
  exactTimestamps?: boolean;
}

/** What Fathom needs of Node, Deno or a browser. */
export interface Runtime {
  name: 'node' | 'deno' | 'browser';
  /** For people, such as `Node 20.20.2 (webgpu 0.6.2)`. */
  version: string;
  /**
   * Opens an adapter; the environment variable FATHOM_ADAPTER, where set, stands in for `auto`.
   * @throws FathomError `no-adapter`, `bad-adapter-mode`, or `webgpu-not-loaded` (Node)
   */
  openAdapter(mode: AdapterMode, options?: OpenOptions): Promise<OpenedAdapter>;
  /** Reads `file:` URLs from disk, others by fetch. @throws FathomError `unreadable` */
  readText(url: URL): Promise<string>;
  /** The user's cache folder for Fathom; undefined in a browser. It need not exist. */
  cacheDirectory(): string | undefined;
  /** A file in that folder, which need not exist; undefined in a browser. */
  cacheFile(name: string): CacheFile | undefined;
}

/** A small text file that may be lost. */
export interface CacheFile {
  path: string;
  /** Its text, undefined where it does not exist. Rejects where it cannot be read. */
  read(): Promise<string | undefined>;
  /** Replaces it, whole or not at all. @throws FathomError `cache-unusable` */
  write(text: string): Promise<void>;
}

/** The kind of adapter a source is asked for. */
export type Wanted = 'any' | 'hardware' | 'software';

/** One place adapters come from, such as the drivers installed on the system. */
export interface AdapterSource {
  driver: OpenedAdapter['driver'];
  /** For the lines in {@link OpenedAdapter.tried}. */
  name: string;
  /** Its best adapter. Where there is none it throws, with the reason as the message. */
  request(wanted: Wanted): Promise<{ gpu: GPU; adapter: GPUAdapter }>;
}

let runtime: Promise<Runtime> | undefined;

/** The runtime this process runs in, found once. */
export function currentRuntime(): Promise<Runtime> {
  runtime ??= load();
  return runtime;
}

async function load(): Promise<Runtime> {
  if ('Deno' in globalThis) return (await import('./deno.ts')).denoRuntime;
  if (globalThis.process?.versions?.node) return (await import('./node.ts')).nodeRuntime;
  return (await import('./browser.ts')).browserRuntime;
}

const MODES: readonly string[] = ['auto', 'hardware', 'software', 'embedded'] satisfies AdapterMode[];

let queue: Promise<unknown> = Promise.resolve();

/**
 * Opens the first adapter of `sources`, in their order, that suits the mode. One opening at a time: the
 * embedded driver is chosen through the environment, which the whole process shares.
 * @param override value of FATHOM_ADAPTER, which stands in for the mode `auto`
 * @param remedy what the reader can do where nothing suits; no full stop
 */
export function chooseAdapter(
  mode: AdapterMode,
  override: string | undefined,
  sources: readonly AdapterSource[],
  remedy: string,
): Promise<OpenedAdapter> {
  const opening = queue.then(() => choose(effectiveMode(mode, override), sources, remedy));
  queue = opening.catch(() => undefined);
  return opening;
}

async function choose(
  mode: AdapterMode,
  sources: readonly AdapterSource[],
  remedy: string,
): Promise<OpenedAdapter> {
  const wanted: Wanted = mode === 'hardware' || mode === 'software' ? mode : 'any';
  const tried: string[] = [];
  const fixes: string[] = [];
  let cause: unknown;
  for (const source of sources) {
    const embedded = source.driver === 'embedded';
    if (embedded ? mode === 'hardware' : mode === 'embedded') continue;
    try {
      const { gpu, adapter } = await source.request(wanted);
      const kind = adapterKind(adapter.info);
      const label = adapterLabel(adapter.info);
      if (wanted === 'any' || wanted === kind)
        return { adapter, gpu, kind, driver: source.driver, label, tried };
      tried.push(`${source.name}: ${label} is a ${kind} adapter`);
    } catch (error) {
      cause = error;
      tried.push(`${source.name}: ${oneLine(error)}`);
      if (error instanceof FathomError) fixes.push(error.fix);
    }
  }
  const reasons = tried.length > 0 ? tried.join('; ') : 'this runtime has no such driver';
  if (mode !== 'embedded' || fixes.length === 0) fixes.push(remedy);
  if (mode === 'hardware') fixes.push('Ask for the adapter mode auto');
  throw new FathomError({
    code: 'no-adapter',
    message: `No ${wanted === 'any' ? 'WebGPU' : wanted} adapter (${reasons})`,
    fix: fixes.map((fix, i) => (i === 0 ? fix : fix[0]!.toLowerCase() + fix.slice(1))).join('; or '),
    cause,
  });
}

function effectiveMode(mode: AdapterMode, override: string | undefined): AdapterMode {
  const effective = mode === 'auto' && override ? override : mode;
  if (MODES.includes(effective)) return effective as AdapterMode;
  throw new FathomError({
    code: 'bad-adapter-mode',
    message: `'${effective}' is not an adapter mode`,
    fix: `Use one of ${MODES.join(', ')}${mode === 'auto' ? ' in FATHOM_ADAPTER' : ''}`,
  });
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|swrast|microsoft basic render/i;

/** What {@link adapterKind} and {@link adapterLabel} look at; a `GPUAdapterInfo` is one. */
export type AdapterFacts = Pick<
  GPUAdapterInfo,
  'vendor' | 'architecture' | 'device' | 'description' | 'isFallbackAdapter'
>;

/** Whether a processor or a GPU is behind the adapter: by its flag, else by the known software drivers' names. */
export function adapterKind(info: AdapterFacts): OpenedAdapter['kind'] {
  const names = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return info.isFallbackAdapter || SOFTWARE.test(names) ? 'software' : 'hardware';
}

/** Deno gives PCI and Khronos vendor numbers where Dawn and browsers give names. */
const VENDORS: Readonly<Record<string, string>> = {
  4098: 'amd',
  4203: 'apple',
  4318: 'nvidia',
  5045: 'arm',
  5140: 'microsoft',
  6880: 'google',
  20803: 'qualcomm',
  32902: 'intel',
  65541: 'mesa',
};

/** Vendor, device and description in one line, leaving out what is empty or a bare number. */
export function adapterLabel(info: AdapterFacts): string {
  const device = /^\d*$/.test(info.device) ? info.architecture : info.device.replace(/-+$/, '');
  const parts = [VENDORS[info.vendor] ?? info.vendor, device, info.description].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : 'unnamed adapter';
}

/** The first line of an error's message. */
export function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.trim();
}

/** `unreadable`, for {@link Runtime.readText}. */
export function unreadable(url: URL, cause: unknown): FathomError {
  return new FathomError({
    code: 'unreadable',
    message: `Cannot read ${url.href} (${oneLine(cause)})`,
    fix: 'Check that it exists and may be read; where it is part of Fathom, install the package again',
    cause,
  });
}

/** Text of a URL that is not on disk. @throws FathomError `unreadable` */
export async function fetchText(url: URL): Promise<string> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return await response.text();
  } catch (error) {
    throw unreadable(url, error);
  }
}
