import { FathomError } from './errors.ts';
import type { Gpu } from './gpu.ts';
import { addTensors, fill } from './ops/elementwise.ts';
import type { Shape, Tensor } from './tensor.ts';

/** How an op hands a gradient on to its inputs. `upstream` has the output's shape. */
export interface Rule {
  /** Gradient for input `i`, summed over the batch where the input is a parameter. */
  gradient(i: number, upstream: Tensor<'f32'>): Tensor<'f32'>;
  /** The one input that is a parameter; without it the op has none, and no per-sample rules. */
  parameter?: {
    input: number;
    /** Explicit per-sample gradients, [samples, ...shape of the parameter]. */
    perSample(upstream: Tensor<'f32'>): Tensor<'f32'>;
    /** Sum over samples of the squared per-sample gradients, in the parameter's shape. */
    fisher(upstream: Tensor<'f32'>): Tensor<'f32'>;
  };
}

interface Entry {
  op: string;
  inputs: readonly Tensor[];
  output: Tensor<'f32'>;
  rule: Rule;
}

type ParameterRule = 'gradient' | 'perSample' | 'fisher';

/**
 * Records ops for reverse-mode differentiation. Only what depends on a watched tensor is recorded; a tape on which
 * nothing is watched costs nothing and serves evaluation.
 */
export class Tape {
  private readonly entries: Entry[] = [];
  private readonly tracked = new Set<Tensor>();

  constructor(readonly gpu: Gpu) {}

  /** Marks tensors to differentiate by. */
  watch(tensors: Iterable<Tensor>): this {
    for (const tensor of tensors) this.tracked.add(tensor);
    return this;
  }

  /** Called by ops: notes how `output` came from `inputs`. */
  record(op: string, inputs: readonly Tensor[], output: Tensor<'f32'>, rule: Rule): Tensor<'f32'> {
    if (inputs.some((input) => this.tracked.has(input))) {
      this.tracked.add(output);
      this.entries.push({ op, inputs, output, rule });
    }
    return output;
  }

  /** Gradients of the sum of `output`'s entries by each of `parameters`; zeros where it does not depend on one. */
  gradients(output: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    return this.walk(output, parameters, 'gradient', (parameter) => parameter.shape);
  }

  /**
   * Explicit gradients of each sample's loss, [samples, ...parameter shape]: samples x parameters in memory, an
   * oracle for tests and small networks. `losses` is [samples]; samples must not interact.
   */
  perSampleGradients(losses: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    return this.walk(losses, parameters, 'perSample', (parameter) => [losses.size, ...parameter.shape]);
  }

  /**
   * Sum over samples of squared per-sample gradients, in each parameter's shape, without storing a per-sample
   * gradient. `losses` is [samples]; samples must not interact.
   * @throws FathomError `shared-parameter` when a parameter is used twice: its per-sample gradient is a sum, whose
   * square the fused kernels cannot form
   */
  squaredGradients(losses: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    return this.walk(losses, parameters, 'fisher', (parameter) => parameter.shape);
  }

  private walk(
    output: Tensor<'f32'>,
    parameters: readonly Tensor<'f32'>[],
    mode: ParameterRule,
    shapeOf: (parameter: Tensor) => Shape,
  ): Tensor<'f32'>[] {
    return this.gpu.scope(() => {
      const wanted = new Set<Tensor>(parameters);
      const downstream = this.outputsFrom(wanted);
      const results = new Map<Tensor, Tensor<'f32'>>();
      const upstreams = new Map<Tensor, Tensor<'f32'>>([[output, fill(this.gpu, output.shape, 1)]]);
      for (const entry of this.entries.toReversed()) {
        const upstream = upstreams.get(entry.output);
        if (!upstream) continue;
        upstreams.delete(entry.output);
        for (const [i, input] of entry.inputs.entries()) {
          if (wanted.has(input)) {
            const term = parameterTerm(entry, i, upstream, mode);
            const before = results.get(input);
            if (before && mode === 'fisher') throw sharedParameter(entry.op, input);
            results.set(input, before ? replace(before, term) : term);
          }
          if (downstream.has(input)) {
            const term = entry.rule.gradient(i, upstream);
            const before = upstreams.get(input);
            upstreams.set(input, before ? replace(before, term) : term);
          }
        }
        upstream.dispose();
      }
      return parameters.map((parameter) => results.get(parameter) ?? fill(this.gpu, shapeOf(parameter), 0));
    });
  }

  /** Outputs that depend on one of `sources`. */
  private outputsFrom(sources: ReadonlySet<Tensor>): Set<Tensor> {
    const reached = new Set<Tensor>();
    for (const entry of this.entries) {
      if (entry.inputs.some((input) => sources.has(input) || reached.has(input))) reached.add(entry.output);
    }
    return reached;
  }
}

function replace(before: Tensor<'f32'>, term: Tensor<'f32'>): Tensor<'f32'> {
  const sum = addTensors(before, term);
  before.dispose();
  term.dispose();
  return sum;
}

function parameterTerm(entry: Entry, i: number, upstream: Tensor<'f32'>, mode: ParameterRule): Tensor<'f32'> {
  if (mode === 'gradient') return entry.rule.gradient(i, upstream);
  const { parameter } = entry.rule;
  if (parameter?.input !== i) {
    throw new FathomError({
      code: 'no-per-sample-rule',
      message: `The op ${entry.op} has no per-sample rule for its input ${i}`,
      fix: 'Differentiate by parameters of layers that have one, or add the rule to the op',
    });
  }
  return parameter[mode](upstream);
}

function sharedParameter(op: string, parameter: Tensor): FathomError {
  return new FathomError({
    code: 'shared-parameter',
    message: `A parameter of shape [${parameter.shape}] is used more than once (here by ${op}), so its squared per-sample gradient cannot be accumulated in one pass`,
    fix: 'Use perSampleGradients and square its sum, or give each use its own parameter',
  });
}
