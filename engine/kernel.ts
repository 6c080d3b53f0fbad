import { _linkSync } from 'wesl/core';
import type { ShaderName } from '../shaders/index.ts';
import { FathomError } from './errors.ts';

/** The conditions (`@if(NAME)`) a shader module is specialised with; those not named are false. */
export type Conditions = Readonly<Record<string, boolean>>;

interface Binding {
  name: string;
  index: number;
  writable: boolean;
}

export interface Field {
  name: string;
  offset: number;
  type: 'u32' | 'f32';
}

/** A specialised shader module with its explicit layout, ready to be dispatched. */
export interface Kernel {
  /** Module name and true conditions: the key of the pipeline cache, and its label in errors. */
  name: string;
  code: string;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  /** Storage buffers by their WGSL names. */
  bindings: Binding[];
  /** Members of the uniform `params`, if there is one. */
  params: { index: number; bytes: number; fields: Field[] } | undefined;
}

/** Names the kernel a module and its true conditions make. */
export function kernelName(module: ShaderName, conditions: Conditions): string {
  const set = Object.keys(conditions).filter((key) => conditions[key]);
  return set.length === 0 ? module : `${module}[${set.sort().join(' ')}]`;
}

/**
 * Links a WESL module with its imports for the given conditions into plain WGSL.
 * @throws FathomError `shader-link` when a module or import is missing
 */
export function linkShader(
  sources: ReadonlyMap<ShaderName, string>,
  module: ShaderName,
  conditions: Conditions,
): string {
  const used = imported(sources, module);
  const every = new Set([...used.values()].flatMap((text) => [...conditionNames(text)]));
  const values = Object.fromEntries([...every].map((name) => [name, conditions[name] ?? false]));
  const weslSrc = Object.fromEntries([...used].map(([name, text]) => [`${name}.wgsl`, text]));
  try {
    return _linkSync({ weslSrc, rootModuleName: module, conditions: values }).dest.text;
  } catch (cause) {
    throw new FathomError({
      code: 'shader-link',
      message: `The shader ${kernelName(module, conditions)} does not link: ${String(cause)}`,
      fix: 'Report this; it is a defect of Fathom',
      cause,
    });
  }
}

/** A module and those it imports, directly or not: the linker parses all it is given. */
function imported(sources: ReadonlyMap<ShaderName, string>, root: ShaderName): Map<ShaderName, string> {
  const found = new Map<ShaderName, string>();
  const waiting = [root];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const text = sources.get(name);
    if (text === undefined || found.has(name)) continue;
    found.set(name, text);
    for (const [, other] of text.matchAll(/^import package::(\w+)/gm)) waiting.push(other as ShaderName);
  }
  return found;
}

function* conditionNames(text: string): Generator<string> {
  for (const match of text.matchAll(/@(?:if|elif)\(([^)]*)\)/g)) {
    yield* match[1]!.match(/[A-Z][A-Z0-9_]*/g) ?? [];
  }
}

/**
 * What a linked shader declares, by this project's conventions: group 0, storage buffers, and one uniform `params`
 * whose struct `Params` holds u32 and f32 members only.
 */
function declarations(code: string): Pick<Kernel, 'bindings' | 'params'> {
  const bindings: Binding[] = [];
  for (const [, index, access, name] of code.matchAll(
    /@group\(0\)\s*@binding\((\d+)\)\s*var<storage,\s*(read|read_write)>\s*(\w+)/g,
  )) {
    bindings.push({ name: name!, index: Number(index), writable: access === 'read_write' });
  }
  const uniform = code.match(/@group\(0\)\s*@binding\((\d+)\)\s*var<uniform>\s*params/);
  if (!uniform) return { bindings, params: undefined };
  const members = code.match(/struct Params\s*\{([^}]*)\}/)?.[1] ?? '';
  const fields = [...members.matchAll(/(\w+)\s*:\s*(u32|f32)/g)].map(([, name, type], i) => ({
    name: name!,
    offset: 4 * i,
    type: type as Field['type'],
  }));
  return { bindings, params: { index: Number(uniform[1]), bytes: 4 * fields.length, fields } };
}

/** Compiles linked WGSL with an explicit layout. */
export function compileKernel(device: GPUDevice, name: string, code: string): Kernel {
  const { bindings, params } = declarations(code);
  const entries: GPUBindGroupLayoutEntry[] = bindings.map((binding) => ({
    binding: binding.index,
    visibility: GPUShaderStage.COMPUTE,
    buffer: { type: binding.writable ? 'storage' : 'read-only-storage' },
  }));
  if (params) {
    entries.push({
      binding: params.index,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: params.bytes },
    });
  }
  const layout = device.createBindGroupLayout({ label: name, entries });
  const pipeline = device.createComputePipeline({
    label: name,
    layout: device.createPipelineLayout({ label: name, bindGroupLayouts: [layout] }),
    compute: { module: device.createShaderModule({ label: name, code }), entryPoint: 'main' },
  });
  return { name, code, pipeline, layout, bindings, params };
}

/** A uniform parameter of a dispatch; a function is asked anew whenever the dispatch is replayed. */
export type Param = number | (() => number);
export type Params = Readonly<Record<string, Param>>;

export function paramValue(param: Param): number {
  return typeof param === 'function' ? param() : param;
}

/** Writes one member of a kernel's parameters. */
export function writeParam(view: DataView, { type, offset }: Field, value: number): void {
  if (type === 'f32') view.setFloat32(offset, value, true);
  else view.setUint32(offset, value, true);
}

/**
 * Writes uniform parameters by name.
 * @throws FathomError `kernel-params` when a member is missing or an unknown one is given
 */
export function writeParams(kernel: Kernel, values: Params, view: DataView): void {
  const fields = kernel.params?.fields ?? [];
  for (const field of fields) {
    const value = values[field.name];
    if (value === undefined) {
      throw kernelParamError(kernel.name, `lacks the parameter ${field.name}`);
    }
    writeParam(view, field, paramValue(value));
  }
  if (Object.keys(values).length > fields.length) {
    throw kernelParamError(kernel.name, `was given parameters it does not declare: ${Object.keys(values)}`);
  }
}

function kernelParamError(name: string, what: string): FathomError {
  return new FathomError({
    code: 'kernel-params',
    message: `The dispatch of ${name} ${what}`,
    fix: 'Report this; it is a defect of Fathom',
  });
}
