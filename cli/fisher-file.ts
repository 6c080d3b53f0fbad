import { z } from 'zod';
import { type FisherDiagonal, trace } from '../algorithms/index.ts';
import { FathomError, parseSafetensors, serializeSafetensors } from '../engine/index.ts';
import type { SafetensorsTensor } from '../engine/safetensors.ts';
import { stateOf } from '../models/index.ts';
import { version } from './command.ts';
import { readInput, writeOutput } from './files.ts';

const facts = z.object({
  format: z.literal('fathom-fisher'),
  net: z.string().min(1),
  estimator: z.string().min(1),
  samples: z.string().regex(/^[1-9]\d*$/),
  adapter: z.string(),
  head: z.string().optional(),
});

/** A Fisher as it lies in a file, with what tells whether two may be compared. */
export interface FisherFile {
  fisher: FisherDiagonal;
  net: string;
  /** How the Fisher was taken: `empirical` is the diagonal with true labels. */
  estimator: string;
  /** The adapter it was taken on. */
  adapter: string;
  /** Names of the parameters that belong to the task's head. */
  head: readonly string[];
}

/**
 * Writes one F32 tensor a parameter, in PyTorch's name and layout, with the facts as metadata.
 * @throws FathomError `unwritable`
 */
export async function writeFisherFile(path: string, file: FisherFile): Promise<void> {
  const { fisher, net, estimator, adapter, head } = file;
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, { shape, data }] of fisher.entries) {
    tensors.set(name, { dtype: 'F32', shape: [...shape], data });
  }
  const metadata = { net, estimator, samples: String(fisher.samples), adapter, head: head.join(',') };
  const bytes = serializeSafetensors(tensors, {
    format: 'fathom-fisher',
    version,
    ...metadata,
    trace: String(trace(fisher)),
  });
  await writeOutput(path, bytes);
}

/**
 * Reads what {@link writeFisherFile} writes.
 * @throws FathomError `not-a-fisher`, or what {@link readInput} and `parseSafetensors` throw
 */
export async function readFisherFile(path: string): Promise<FisherFile> {
  const { tensors, metadata } = parseSafetensors(await readInput(path), path);
  const parsed = facts.safeParse(metadata);
  if (!parsed.success) {
    const fields = [...new Set(parsed.error.issues.map((issue) => issue.path.join('.')))];
    throw notAFisher(path, `its metadata lack a proper ${fields.join(', ')}`, parsed.error);
  }
  const entries = stateOf(tensors, path).state;
  for (const [name, { data }] of entries) {
    const broken = data.find((value) => !(value >= 0 && Number.isFinite(value)));
    if (broken !== undefined) throw notAFisher(path, `${name} holds ${broken}`);
  }
  const { net, estimator, adapter, samples, head } = parsed.data;
  const fisher = { entries, samples: Number(samples) };
  return { fisher, net, estimator, adapter, head: head ? head.split(',') : [] };
}

/** Each parameter's share of the trace. */
export function traceShares(
  fisher: FisherDiagonal,
): { name: string; shape: number[]; sum: number; share: number }[] {
  const total = trace(fisher);
  return [...fisher.entries].map(([name, { shape, data }]) => {
    const sum = data.reduce((a, b) => a + b, 0);
    return { name, shape: [...shape], sum, share: total > 0 ? sum / total : 0 };
  });
}

function notAFisher(path: string, what: string, cause?: unknown): FathomError {
  return new FathomError({
    code: 'not-a-fisher',
    message: `${path} is not a file of \`fathom fisher\`: ${what}`,
    fix: 'Make it with `fathom fisher`',
    cause,
  });
}
