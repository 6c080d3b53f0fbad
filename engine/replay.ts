import { FathomError } from './errors.ts';
import { type Array64, afterBias, array64, type ReferenceOp, reference } from './reference.ts';
import type { Operation, Tape } from './tape.ts';
import { sizeOf, Tensor } from './tensor.ts';

/** A tape's operations run again in float64 on the CPU, by the ops' references. */
export class Replay {
  private constructor(
    private readonly steps: readonly { operation: Operation; op: ReferenceOp }[],
    private readonly values: ReadonlyMap<Tensor, Array64>,
  ) {}

  /**
   * Reads what the tape's operations started from, and runs them.
   * @param kinks a tape of the same operations: rectifiers take the side of the kink that they took there on the
   * adapter. Where an input is zero but for rounding float64 may fall on the other side, which is no less right but
   * far off in the gradients of a deep network
   * @throws FathomError `no-reference` naming an op that has none
   */
  static async run({ operations }: Tape, kinks?: Tape): Promise<Replay> {
    const made = new Set<Tensor>(operations.map(({ output }) => output));
    const leaves = new Set(operations.flatMap(({ inputs }) => inputs.filter((input) => !made.has(input))));
    const [starts, references] = await Promise.all([
      Promise.all([...leaves].map(async (leaf) => [leaf, array64(leaf.shape, await leaf.read())] as const)),
      Promise.all(
        operations.map((operation, i) =>
          kinks && RECTIFIERS.has(operation.op) ? rectifierOf(kinks.operations[i]!) : referenceOf(operation),
        ),
      ),
    ]);
    const values = new Map<Tensor, Array64>(starts);
    const steps = operations.map((operation, i) => {
      const op = references[i]!;
      values.set(operation.output, op.forward(...operation.inputs.map((input) => values.get(input)!)));
      return { operation, op };
    });
    return new Replay(steps, values);
  }

  /** The value of an input or output of the tape's operations. */
  value(tensor: Tensor): Array64 {
    return this.values.get(tensor)!;
  }

  /** Gradients of the sum of `output`'s entries by each of `parameters`; zeros where it does not depend on one. */
  gradients(output: Tensor, parameters: readonly Tensor[]): Array64[] {
    const upstreams = new Map<Tensor, Array64>([
      [output, array64(output.shape, new Float64Array(sizeOf(output.shape)).fill(1))],
    ]);
    for (const { operation, op } of this.steps.toReversed()) {
      const upstream = upstreams.get(operation.output);
      if (!upstream) continue;
      const terms = op.gradient(
        operation.inputs.map((input) => this.values.get(input)!),
        upstream,
      );
      upstreams.delete(operation.output);
      for (const [i, input] of operation.inputs.entries()) {
        const before = upstreams.get(input);
        const term = terms[i]!;
        if (before)
          term.data.forEach((value, at) => {
            before.data[at]! += value;
          });
        else upstreams.set(input, { shape: term.shape, data: term.data.slice() });
      }
    }
    return parameters.map((parameter) => upstreams.get(parameter) ?? array64(parameter.shape));
  }
}

/** Ops with kinks, and the value they rise to. */
const RECTIFIERS: ReadonlyMap<string, number> = new Map([
  ['relu', Number.POSITIVE_INFINITY],
  ['biasRelu', Number.POSITIVE_INFINITY],
  ['relu6', 6],
]);

/** A rectifier with every entry on the side of the kinks on which it was. */
async function rectifierOf({ op, output }: Operation): Promise<ReferenceOp> {
  const y = await output.read();
  const most = RECTIFIERS.get(op)!;
  const slope = (i: number) => Number(y[i]! > 0 && y[i]! < most);
  const offset = (i: number) => (y[i]! >= most ? most : 0);
  const rectifier: ReferenceOp = {
    forward: (x) =>
      array64(
        x!.shape,
        x!.data.map((value, i) => slope(i) * value + offset(i)),
      ),
    gradient: (_, upstream) => [
      array64(
        upstream.shape,
        upstream.data.map((g, i) => slope(i) * g),
      ),
    ],
  };
  return op === 'biasRelu' ? afterBias(rectifier) : rectifier;
}

async function onCpu(setting: unknown): Promise<unknown> {
  if (setting instanceof Tensor) return setting.read();
  if (setting === null || typeof setting !== 'object' || Array.isArray(setting)) return setting;
  const entries = Object.entries(setting).map(async ([key, value]) => [key, await onCpu(value)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

async function referenceOf({ op, settings }: Operation): Promise<ReferenceOp> {
  const made = Promise.all(settings.map(onCpu));
  const make = (
    reference as unknown as Record<string, ((...settings: unknown[]) => ReferenceOp) | undefined>
  )[op];
  if (!make) {
    throw new FathomError({
      code: 'no-reference',
      message: `The op ${op} has no float64 reference, so it cannot be run again on the CPU`,
      fix: 'Build it from ops the engine has, or add its reference to engine/reference',
    });
  }
  return make(...(await made));
}
