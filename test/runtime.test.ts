import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { FathomError } from '../engine/errors.ts';
import {
  type AdapterFacts,
  type AdapterSource,
  adapterKind,
  adapterLabel,
  chooseAdapter,
  currentRuntime,
  type Wanted,
} from '../engine/runtime/runtime.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DENO = 'Deno' in globalThis;
const EMBEDDED = process.platform === 'linux' && process.arch === 'x64';
const skip = EMBEDDED ? false : 'the embedded driver exists for Linux x64 only';

const scratch = mkdtempSync(join(tmpdir(), 'fathom-runtime-test-'));
const removeScratch = () => rmSync(scratch, { recursive: true, force: true });
if (DENO) addEventListener('unload', removeScratch);
else process.on('exit', removeScratch);

function freshFolder(): string {
  return mkdtempSync(join(scratch, 'case-'));
}

/** A folder that cannot be made by anyone, root included: its parent is a file. */
function impossibleFolder(): string {
  const file = join(freshFolder(), 'file');
  writeFileSync(file, '');
  return join(file, 'folder');
}

/** One cache for the cases that are not about the cache. */
const sharedCache = join(scratch, 'shared');
/** Hides whatever drivers the machine has, which makes the cases alike everywhere. */
const NO_DRIVERS = {
  VK_ICD_FILENAMES: join(scratch, 'none.json'),
  VK_DRIVER_FILES: join(scratch, 'none.json'),
};

interface Opened {
  label: string;
  kind: string;
  driver: string;
  tried: string[];
  values: number[];
  environment: string | undefined;
}
interface Refused {
  code: string;
  message: string;
  fix: string;
}
interface Outcome {
  exit: number | null;
  opened?: Opened;
  refused?: Refused;
}

const PRELUDE = `
import process from 'node:process';
import { currentRuntime } from '${new URL('../engine/runtime/runtime.ts', import.meta.url).href}';
const runtime = await currentRuntime();
async function open(mode) {
  const { adapter, gpu, ...facts } = await runtime.openAdapter(mode);
  const device = await adapter.requestDevice();
  globalThis.kept = gpu;
  const module = device.createShaderModule({ code: \`
    @group(0) @binding(0) var<storage, read_write> x: array<f32>;
    @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {
      x[id.x] = f32(id.x) * 2.5 + 1.0;
    }\` });
  const pipeline = device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const buffer = device.createBuffer({ size: 32, usage: STORAGE | COPY_SRC });
  const read = device.createBuffer({ size: 32, usage: COPY_DST | MAP_READ });
  const entries = [{ binding: 0, resource: { buffer } }];
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(2);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, read, 0, 32);
  device.queue.submit([encoder.finish()]);
  await read.mapAsync(GPUMapMode.READ);
  const values = [...new Float32Array(read.getMappedRange())];
  return { device, facts: { ...facts, values, environment: process.env.VK_ICD_FILENAMES } };
}
async function report(mode, destroy) {
  try {
    const { device, facts } = await open(mode);
    if (destroy) device.destroy();
    console.log(JSON.stringify({ opened: facts }));
  } catch (error) {
    if (error.name !== 'FathomError') throw error;
    console.log(JSON.stringify({ refused: { code: error.code, message: error.message, fix: error.fix } }));
  }
}
`;

/** Runs a module in a fresh process of this runtime; a hanging one is killed and so has no exit code. */
function runModule(
  code: string,
  env: Record<string, string>,
): Promise<{ exit: number | null; stdout: string }> {
  const args = DENO
    ? ['eval', '--no-check', '--ext=ts', PRELUDE + code]
    : ['--import', 'tsx', '--input-type=module', '-e', PRELUDE + code];
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, FATHOM_ADAPTER: '', XDG_CACHE_HOME: sharedCache, ...NO_DRIVERS, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => {
      if (exit !== 0) console.error(stderr);
      resolve({ exit, stdout });
    });
  });
}

/** Opens an adapter in a fresh process and dispatches once; its stdout must hold the report and no more. */
async function openInChild(mode: string, env: Record<string, string> = {}, destroy = true): Promise<Outcome> {
  const { exit, stdout } = await runModule(`await report('${mode}', ${destroy});`, env);
  return { exit, ...(JSON.parse(stdout) as Omit<Outcome, 'exit'>) };
}

const EXPECTED = [1, 3.5, 6, 8.5, 11, 13.5, 16, 18.5];

function assertEmbedded(outcome: Outcome): Opened {
  assert.equal(outcome.refused, undefined);
  const opened = outcome.opened!;
  assert.deepEqual([opened.driver, opened.kind], ['embedded', 'software']);
  assert.match(opened.label, /^google, .*SwiftShader/i);
  assert.deepEqual(opened.values, EXPECTED);
  assert.equal(outcome.exit, 0);
  return opened;
}

function assertRefused(outcome: Outcome, code: string): Refused {
  assert.equal(outcome.opened, undefined);
  assert.equal(outcome.refused?.code, code);
  const { message, fix } = outcome.refused;
  for (const line of [message, fix]) assert.match(line, /^[^\n]+[^.\n]$/);
  assert.equal(outcome.exit, 0);
  return outcome.refused;
}

/** The folder the driver was unpacked into, and the hash of each file in it. */
function unpackedFiles(parent: string): { folder: string; hashes: Record<string, string> } {
  const names = readdirSync(parent);
  assert.equal(names.length, 1);
  const folder = join(parent, names[0]!);
  const hash = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex');
  return {
    folder,
    hashes: Object.fromEntries(
      readdirSync(folder)
        .sort()
        .map((name) => [name, hash(name)]),
    ),
  };
}

for (const destroy of [true, false]) {
  test(`the embedded adapter computes, and the process ends by itself (destroy: ${destroy})`, {
    skip,
  }, async () => {
    const opened = assertEmbedded(await openInChild('embedded', {}, destroy));
    assert.deepEqual(opened.tried, []);
    assert.equal(opened.environment, NO_DRIVERS.VK_ICD_FILENAMES, 'the environment is put back');
  });
}

test('auto falls back to the embedded adapter and says why', { skip }, async () => {
  const opened = assertEmbedded(await openInChild('auto'));
  assert.equal(opened.tried.length, 1);
  assert.match(opened.tried[0]!, /^system driver: ./);
});

test('software falls back to the embedded adapter too', { skip }, async () => {
  assertEmbedded(await openInChild('software'));
});

test("a software driver of the system is taken before the embedded one, and the user's choice kept", {
  skip,
}, async () => {
  assertEmbedded(await openInChild('embedded'));
  const { folder } = unpackedFiles(join(sharedCache, 'fathom'));
  const icd = join(folder, 'vk_swiftshader_icd.json');
  const env = { LD_LIBRARY_PATH: folder, VK_ICD_FILENAMES: icd, VK_DRIVER_FILES: icd };
  for (const mode of ['auto', 'software']) {
    const { exit, opened } = await openInChild(mode, env);
    assert.equal(exit, 0);
    assert.deepEqual([opened?.driver, opened?.kind, opened?.tried], ['system', 'software', []]);
    assert.deepEqual(opened?.values, EXPECTED);
  }
  const refused = assertRefused(await openInChild('hardware', env), 'no-adapter');
  assert.match(refused.message, /system driver: google, .* is a software adapter/);
});

test('two processes unpack into one empty cache at once', { skip }, async () => {
  const cache = freshFolder();
  const env = { XDG_CACHE_HOME: cache };
  for (const outcome of await Promise.all([openInChild('embedded', env), openInChild('embedded', env)])) {
    assertEmbedded(outcome);
  }
  const { hashes } = unpackedFiles(join(cache, 'fathom'));
  assert.deepEqual(Object.keys(hashes), [
    'libvk_swiftshader.so',
    'libvulkan.so.1',
    'vk_swiftshader_icd.json',
  ]);
});

test('damaged and missing cache files are repaired', { skip }, async () => {
  const cache = freshFolder();
  const env = { XDG_CACHE_HOME: cache };
  assertEmbedded(await openInChild('embedded', env));
  const { folder, hashes } = unpackedFiles(join(cache, 'fathom'));
  const library = readFileSync(join(folder, 'libvk_swiftshader.so'));
  library[library.length >> 1]! ^= 1;
  writeFileSync(join(folder, 'libvk_swiftshader.so'), library);
  writeFileSync(join(folder, 'libvulkan.so.1'), '');
  rmSync(join(folder, 'vk_swiftshader_icd.json'));
  assertEmbedded(await openInChild('embedded', env));
  assert.deepEqual(unpackedFiles(join(cache, 'fathom')).hashes, hashes);
});

test('a cache that cannot be written gives way to a private temporary folder', { skip }, async () => {
  const TMPDIR = freshFolder();
  assertEmbedded(await openInChild('embedded', { XDG_CACHE_HOME: impossibleFolder(), TMPDIR }));
  const name = `fathom-${process.getuid!()}`;
  assert.deepEqual(
    readdirSync(TMPDIR).filter((entry) => entry.startsWith('fathom-')),
    [name],
  );
  assert.equal(Object.keys(unpackedFiles(join(TMPDIR, name)).hashes).length, 3);
});

test('a temporary folder that others may write is not trusted', { skip }, async () => {
  const TMPDIR = freshFolder();
  const open = join(TMPDIR, `fathom-${process.getuid!()}`);
  mkdirSync(open);
  chmodSync(open, 0o777);
  const refused = assertRefused(
    await openInChild('embedded', { XDG_CACHE_HOME: impossibleFolder(), TMPDIR }),
    'no-adapter',
  );
  assert.match(refused.message, /others may write/);
  assert.deepEqual(readdirSync(open), []);
});

test('no adapter at all: the error lists what was tried and the remedies', { skip }, async () => {
  const env = { XDG_CACHE_HOME: impossibleFolder(), TMPDIR: freshFolder() };
  writeFileSync(join(env.TMPDIR, `fathom-${process.getuid!()}`), '');
  const refused = assertRefused(await openInChild('auto', env), 'no-adapter');
  assert.match(refused.message, /^No WebGPU adapter \(system driver: .+; embedded SwiftShader: .+\)$/);
  assert.ok(refused.message.includes(env.XDG_CACHE_HOME) && refused.message.includes(env.TMPDIR));
  assert.match(refused.fix, /^Set XDG_CACHE_HOME .+; or install a Vulkan driver/);
});

test('hardware without hardware is refused with a remedy', { skip }, async () => {
  const refused = assertRefused(await openInChild('hardware'), 'no-adapter');
  assert.match(refused.message, /^No hardware adapter \(system driver: /);
  assert.match(refused.fix, /Vulkan driver.*; or ask for the adapter mode auto$/);
});

test('FATHOM_ADAPTER stands in for auto, and only for auto', { skip }, async () => {
  const opened = assertEmbedded(await openInChild('auto', { FATHOM_ADAPTER: 'embedded' }));
  assert.deepEqual(opened.tried, []);
  assertRefused(await openInChild('auto', { FATHOM_ADAPTER: 'hardware' }), 'no-adapter');
  assertRefused(await openInChild('hardware', { FATHOM_ADAPTER: 'embedded' }), 'no-adapter');
  const refused = assertRefused(await openInChild('auto', { FATHOM_ADAPTER: 'fast' }), 'bad-adapter-mode');
  assert.match(refused.message, /'fast'/);
  assert.match(refused.fix, /FATHOM_ADAPTER/);
});

test('one process may ask again: refused, then opened, then opened twice at once', { skip }, async () => {
  const code = `
    await runtime.openAdapter('hardware').then(() => { throw new Error('opened'); }, () => {});
    const first = await open('embedded');
    const both = await Promise.all([open('embedded'), open('auto')]);
    first.device.destroy();
    console.log(JSON.stringify([first, ...both].map(({ facts }) => facts)));`;
  const { exit, stdout } = await runModule(code, {});
  assert.equal(exit, 0);
  const opened = JSON.parse(stdout) as Opened[];
  assert.equal(opened.length, 3);
  for (const facts of opened) assertEmbedded({ exit, opened: facts });
});

test('a platform without a binary of webgpu is named', {
  skip: DENO && 'Deno has its own WebGPU',
}, async () => {
  const code = `
    Object.defineProperty(process, 'arch', { value: 'mips' });
    await report('auto', true);`;
  const { exit, stdout } = await runModule(code, {});
  const outcome = { exit, ...(JSON.parse(stdout) as Omit<Outcome, 'exit'>) };
  assert.match(assertRefused(outcome, 'webgpu-not-loaded').message, /no working binary for \w+ mips/);
});

test('a C library that is too old is named', { skip: DENO && 'Deno has its own WebGPU' }, async () => {
  const { explainLoadFailure } = await import('../engine/runtime/node.ts');
  const cause = new Error(
    "libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by dawn.node)\nstack",
  );
  const error = explainLoadFailure(cause);
  assert.equal(error.code, 'webgpu-not-loaded');
  assert.equal(error.cause, cause);
  assert.match(error.message, /too old \(.*GLIBCXX_3\.4\.32.*\)$/);
});

test('the runtime knows its name, version and cache folder', async () => {
  const runtime = await currentRuntime();
  assert.equal(runtime.name, DENO ? 'deno' : 'node');
  assert.match(runtime.version, DENO ? /^Deno \d+\.\d+/ : /^Node \d+\.\d+\.\d+ \(webgpu \d+\.\d+\.\d+\)$/);
  assert.match(runtime.cacheDirectory()!, /fathom/);
  assert.equal(await currentRuntime(), runtime);
});

test('readText reads file and data URLs, and names what it cannot read', async () => {
  const runtime = await currentRuntime();
  const path = join(freshFolder(), 'a b.wgsl');
  writeFileSync(path, 'fn é() {}');
  assert.equal(await runtime.readText(pathToFileURL(path)), 'fn é() {}');
  assert.equal(await runtime.readText(new URL('data:text/plain,fn%20f()')), 'fn f()');
  const missing = pathToFileURL(`${path}.no`);
  await assert.rejects(runtime.readText(missing), (error: unknown) => {
    assert.ok(error instanceof FathomError);
    assert.equal(error.code, 'unreadable');
    assert.ok(error.message.includes(missing.href));
    return true;
  });
});

test('a browser uses its own WebGPU, or says that it has none', async () => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  const asked: unknown[] = [];
  const gpu = {
    async requestAdapter(options: unknown) {
      asked.push(options);
      return { info: { ...NONE, vendor: 'apple', architecture: 'metal-3' } };
    },
  };
  const setNavigator = (value: object) => {
    Object.defineProperty(globalThis, 'navigator', { value, configurable: true });
  };
  try {
    setNavigator({ userAgent: 'Browser 1', gpu });
    const { browserRuntime } = await import('../engine/runtime/browser.ts');
    const opened = await browserRuntime.openAdapter('auto');
    assert.deepEqual([opened.driver, opened.kind, opened.label], ['browser', 'hardware', 'apple, metal-3']);
    assert.deepEqual(asked, [{ powerPreference: 'high-performance' }]);
    assert.deepEqual([browserRuntime.version, browserRuntime.cacheDirectory()], ['Browser 1', undefined]);
    setNavigator({});
    await assert.rejects(
      browserRuntime.openAdapter('auto'),
      /No WebGPU adapter \(browser: it has no WebGPU here\)/,
    );
  } finally {
    if (before) Object.defineProperty(globalThis, 'navigator', before);
    else Reflect.deleteProperty(globalThis, 'navigator');
  }
});

const NONE = { vendor: '', architecture: '', device: '', description: '', isFallbackAdapter: false };

test('software adapters are told by flag or name', () => {
  const software: Partial<AdapterFacts>[] = [
    { isFallbackAdapter: true },
    { architecture: 'swiftshader' },
    { device: 'llvmpipe-llvm-15-0-6-256-bits-' },
    { description: 'llvmpipe (LLVM 15.0.6, 256 bits)' },
    { description: 'Microsoft Basic Render Driver' },
    { description: 'softpipe' },
  ];
  for (const facts of software) assert.equal(adapterKind({ ...NONE, ...facts }), 'software');
  assert.equal(adapterKind({ ...NONE, vendor: 'nvidia', architecture: 'hopper' }), 'hardware');
});

test('labels leave out numbers and what is empty', () => {
  const dawn = { ...NONE, vendor: 'google', device: 'swiftshader-device-', description: 'SwiftShader 5' };
  assert.equal(adapterLabel(dawn), 'google, swiftshader-device, SwiftShader 5');
  assert.equal(
    adapterLabel({ ...NONE, vendor: '4318', device: '9008', description: 'H100' }),
    'nvidia, H100',
  );
  assert.equal(adapterLabel({ ...NONE, vendor: 'apple', architecture: 'metal-3' }), 'apple, metal-3');
  assert.equal(adapterLabel(NONE), 'unnamed adapter');
});

/** A source with the adapters given; it answers like WebGPU: hardware first, unless software is asked for. */
function fakeSource(driver: AdapterSource['driver'], kinds: string[], asked: string[]): AdapterSource {
  return {
    driver,
    name: driver,
    async request(wanted: Wanted) {
      asked.push(driver);
      const kind = kinds.includes('hardware') && wanted !== 'software' ? 'hardware' : kinds.at(-1);
      if (!kind) throw new Error('nothing\nmore');
      const info = { ...NONE, description: `${driver} ${kind}`, isFallbackAdapter: kind === 'software' };
      return { gpu: {} as GPU, adapter: { info } as unknown as GPUAdapter };
    },
  };
}

test('the order is hardware, software of the system, embedded', async () => {
  const cases: [kinds: string[], mode: 'auto' | 'hardware' | 'software' | 'embedded', label: string][] = [
    [['hardware', 'software'], 'auto', 'system hardware'],
    [['software'], 'auto', 'system software'],
    [[], 'auto', 'embedded software'],
    [['hardware', 'software'], 'software', 'system software'],
    [['hardware'], 'software', 'embedded software'],
    [['hardware'], 'hardware', 'system hardware'],
    [['hardware', 'software'], 'embedded', 'embedded software'],
  ];
  for (const [kinds, mode, label] of cases) {
    const asked: string[] = [];
    const sources = [fakeSource('system', kinds, asked), fakeSource('embedded', ['software'], asked)];
    const opened = await chooseAdapter(mode, undefined, sources, 'Remedy');
    assert.equal(opened.label, label);
    assert.equal(opened.tried.length, asked.length - 1);
  }
});

test('hardware never touches the embedded driver, and a failed opening does not block the next', async () => {
  const asked: string[] = [];
  const sources = [fakeSource('system', ['software'], asked), fakeSource('embedded', ['software'], asked)];
  const refused = chooseAdapter('hardware', undefined, sources, 'Remedy');
  const next = chooseAdapter('auto', '', sources, 'Remedy');
  await assert.rejects(refused, (error: unknown) => {
    assert.ok(error instanceof FathomError);
    assert.equal(error.message, 'No hardware adapter (system: system software is a software adapter)');
    assert.equal(error.fix, 'Remedy; or ask for the adapter mode auto');
    return true;
  });
  assert.equal((await next).label, 'system software');
  assert.deepEqual(asked, ['system', 'system']);
});

test("Node: Dawn's polls are put off, everyone else's callbacks pass through setImmediate untouched", {
  skip: (DENO && 'Dawn runs on Node alone') || skip,
}, async () => {
  await (await currentRuntime()).openAdapter('auto');
  assert.deepEqual(
    await new Promise((resolve) => setImmediate((...values: number[]) => resolve(values), 1, 2)),
    [1, 2],
  );
  assert.equal(await promisify(setImmediate)('kept'), 'kept');
  clearImmediate(setImmediate(() => assert.fail('it was cleared')));
  await new Promise((resolve) => setTimeout(resolve, 5));
  // Native and nameless, as Dawn's callbacks are.
  const deferred = setImmediate(Function.prototype as () => void);
  assert.equal(deferred.constructor.name, 'Timeout');
});
