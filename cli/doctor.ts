import process from 'node:process';
import type { Command } from 'commander';
import { FathomError, type Gpu } from '../engine/index.ts';
import { addCommand, type CommonOptions, openGpu, printResult, version } from './command.ts';
import { type Check, selfCheck } from './self-check.ts';

const LIMITS = {
  maxStorageBufferBindingSize: 'largest binding',
  maxBufferSize: 'largest buffer',
  maxComputeWorkgroupStorageSize: 'workgroup memory',
  maxComputeInvocationsPerWorkgroup: 'invocations a workgroup',
} as const satisfies Partial<Record<keyof GPUSupportedLimits, string>>;

/** What `fathom doctor` finds, as its JSON. */
export interface Diagnosis {
  version: string;
  runtime: string;
  adapter: { label: string; kind: string; driver: string };
  /** What was asked before this adapter, and why it was not taken. */
  tried: string[];
  /** How many classes of shapes `fathom tune` has answers for, and why a file of them was left aside. */
  tuning: { file: string | undefined; classes: number; problem: string | undefined };
  limits: Record<string, number>;
  features: string[];
  /** How to get a faster adapter. */
  advice: string | undefined;
  checks: Check[];
  ok: boolean;
}

export function addDoctor(program: Command): void {
  addCommand(program, 'doctor', {
    description: 'say what Fathom runs on here, and check that it computes correctly',
    example: 'doctor --adapter software',
    adapter: 'the adapter to examine',
  }).action(run);
}

async function run(options: CommonOptions): Promise<void> {
  using gpu = await openGpu(options);
  const { label, kind, driver, tried } = gpu.opened;
  const checks = await selfCheck(gpu);
  const diagnosis: Diagnosis = {
    version,
    runtime: gpu.runtime.version,
    adapter: { label, kind, driver },
    tried,
    tuning: { file: gpu.tuning.path, classes: gpu.tuning.classes, problem: gpu.tuning.problem },
    limits: Object.fromEntries(
      Object.keys(LIMITS).map((key) => [key, gpu.device.limits[key as keyof typeof LIMITS]]),
    ),
    features: [...gpu.device.features].sort(),
    advice: advice(gpu),
    checks,
    ok: checks.every((check) => check.ok),
  };
  printResult(options, diagnosis, () => describeDiagnosis(diagnosis));
  if (diagnosis.ok) return;
  throw new FathomError({
    code: 'self-check-failed',
    message: `${label} fails the self-check, so its results cannot be trusted`,
    fix: driver === 'embedded' ? 'Install a Vulkan driver' : 'Update the driver, or use --adapter embedded',
  });
}

function advice({ opened, software }: Gpu): string | undefined {
  if (!software) return undefined;
  const gpu = "With a GPU, install its maker's Vulkan driver";
  if (opened.driver !== 'embedded') return `${gpu}; this one runs on the processor`;
  return `${gpu}. Without one, install a Vulkan driver; Mesa 25's lavapipe from your distribution's backports is about 3 times faster`;
}

/** The diagnosis as lines for a terminal. */
export function describeDiagnosis(diagnosis: Diagnosis): string {
  const { adapter, tried, limits, features, checks } = diagnosis;
  const rows: [string, string][] = [
    ['fathom', diagnosis.version],
    ['runtime', `${diagnosis.runtime}, ${process.platform} ${process.arch}`],
    ['adapter', adapter.label],
    ['kind', `${adapter.kind}, ${adapter.driver} driver`],
    ...tried.map((line): [string, string] => ['not taken', line]),
    ...Object.entries(LIMITS).map(([key, name]): [string, string] => {
      return [name, key.endsWith('Size') ? bytes(limits[key]!) : String(limits[key])];
    }),
    ['tuning', describeTuning(diagnosis.tuning)],
    ['features', features.join(', ') || 'none'],
    ...(diagnosis.advice ? [['faster', diagnosis.advice] as [string, string]] : []),
    ...checks.map((check): [string, string] => [check.ok ? 'ok' : 'FAILED', describeCheck(check)]),
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}

function describeTuning({ file, classes, problem }: Diagnosis['tuning']): string {
  if (problem !== undefined) return `${file} is left aside: ${problem}; run fathom tune`;
  if (classes === 0) return file ? 'none; fathom tune may make kernels faster' : 'none here';
  return `${classes} shapes, ${file}`;
}

function describeCheck({ name, error, tolerance }: Check): string {
  return `${name}: off by ${error.toExponential(1)} of the largest entry (${tolerance.toExponential(0)} allowed)`;
}

function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(count) / 10));
  return `${Number((count / 1024 ** power).toFixed(1))} ${units[power]}`;
}
