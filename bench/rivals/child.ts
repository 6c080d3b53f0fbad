import { createWriteStream } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { contests, type Side, type Values } from './contests.ts';

/** A contest made ready on one side: library loaded, device open, values uploaded. */
export interface Prepared {
  /** The whole work once, waited for. */
  step(): Promise<unknown>;
  /** What {@link step} computes, after its first call, to hold against the other sides'. */
  check(): Promise<number[]>;
}

/** One side of the race, in a process of its own. */
export interface Contender {
  /** Where it computes, for people. */
  device: string;
  prepare(contest: string, inputs: Map<string, Values>): Promise<Prepared>;
}

const sides: Readonly<Record<Exclude<Side, 'torch'>, () => Promise<Contender>>> = {
  ours: async () => (await import('./ours.ts')).contender(),
  tfjs: async () => (await import('./tfjs.ts')).contender(),
  jax: async () => (await import('./jax.ts')).contender(),
  gpujs: async () => (await import('./gpujs.ts')).contender('webgpu'),
  'gpujs-cpu': async () => (await import('./gpujs.ts')).contender('cpu'),
};

// What a library prints must not come between the answers, so these go to a descriptor of their own.
const answers = createWriteStream('', { fd: 3 });
const answer = (message: object) => answers.write(`${JSON.stringify(message)}\n`);

async function serve(side: keyof typeof sides, contest: string): Promise<void> {
  const contender = await sides[side]();
  const { step, check } = await contender.prepare(contest, contests[contest]!.inputs());
  answer({ device: contender.device });
  for await (const line of createInterface({ input: process.stdin })) {
    const { command, milliseconds } = JSON.parse(line) as { command: string; milliseconds: number };
    if (command === 'check') answer({ values: await check() });
    else answer({ times: await timed(step, milliseconds) });
  }
}

async function timed(step: Prepared['step'], milliseconds: number): Promise<number[]> {
  const times: number[] = [];
  for (let spent = 0; times.length === 0 || spent < milliseconds; ) {
    const begin = performance.now();
    await step();
    const took = performance.now() - begin;
    times.push(took);
    spent += took;
  }
  return times;
}

try {
  await serve(process.argv[2] as keyof typeof sides, process.argv[3]!);
} catch (error) {
  answer({ failure: error instanceof Error ? error.message : String(error) });
}
answers.end(() => process.exit());
