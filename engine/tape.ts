import { type ErrorParts, FathomError } from './errors.ts';
import type { Gpu } from './gpu.ts';
import { notCapturable } from './gpu_errors.ts';
import { addTensors, fill } from './ops/elementwise.ts';
import { type SampleSum, SampleSums } from './sample_sums.ts';
import type { Tensor } from './tensor.ts';

/** How an op hands a gradient on to its inputs. `upstream` has the output's shape. */
export interface Rule {
  /**
   * Gradient for input `i`, summed over the batch where the input is a parameter.
   * @param masked of a rectifier: whether `upstream` is zero already wherever the output is not positive
   */
  gradient(i: number, upstream: Tensor<'f32'>, masked?: boolean): Tensor<'f32'>;
  /** Set for a rectifier: whose input gets no gradient where the output is not positive, and else all of it. */
  rectifies?: boolean;
  /** The gradient for input 0, zero wherever that is not positive: for inputs that a rectifier gave. */
  maskedGradient?(upstream: Tensor<'f32'>): Tensor<'f32'>;
  /** Per-sample rules by input position; an input without one can be no parameter of a Fisher. */
  parameters?: Readonly<Record<number, ParameterRule>>;
  /** Set where a sample's output depends on other samples too: what to tell who asks for a sample's own gradient. */
  mixesSamples?: ErrorParts;
}

/**
 * What an op does with one sample's gradient by a parameter at a time; samples are the first axis of `upstream`, and
 * `masked` is as in {@link Rule.gradient}.
 */
export interface ParameterRule {
  /** Explicit per-sample gradients, [samples, ...shape of the parameter]. */
  perSample(upstream: Tensor<'f32'>, masked?: boolean): Tensor<'f32'>;
  /** Adds each sample's gradient, or its square, to a running sum, without storing it. */
  accumulate(upstream: Tensor<'f32'>, sum: SampleSum, masked?: boolean): void;
}

/** An op that was run: what the tape keeps of it. */
export interface Operation {
  /** Its name, also in {@link reference}. */
  readonly op: string;
  readonly inputs: readonly Tensor[];
  /** Holds no values of its own where the kernel went on to what the next operation gives, such as a bias. */
  readonly output: Tensor<'f32'>;
  readonly rule: Rule;
  /** What the op was given beside its inputs, as its reference takes it. */
  readonly settings: readonly unknown[];
}

/**
 * Records ops for reverse-mode differentiation. Only what depends on a watched tensor is recorded; a tape on which
 * nothing is watched costs nothing and serves evaluation.
 */
export class Tape {
  /** What was recorded, in order. */
  readonly operations: Operation[] = [];
  private readonly tracked = new Set<Tensor>();

  constructor(readonly gpu: Gpu) {}

  /** Marks tensors to differentiate by. */
  watch(tensors: Iterable<Tensor>): this {
    for (const tensor of tensors) this.tracked.add(tensor);
    return this;
  }

  /** Called by ops: notes how `output` came from `inputs`. */
  record(
    op: string,
    inputs: readonly Tensor[],
    output: Tensor<'f32'>,
    rule: Rule,
    settings: readonly unknown[] = [],
  ): Tensor<'f32'> {
    if (inputs.some((input) => this.tracked.has(input))) {
      this.tracked.add(output);
      this.operations.push({ op, inputs, output, rule, settings });
    }
    return output;
  }

  /** Gradients of the sum of `output`'s entries by each of `parameters`; zeros where it does not depend on one. */
  gradients(output: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    return this.gpu.scope(() => {
      const results = new Map<Tensor, Tensor<'f32'>>();
      this.walk(output, parameters, undefined, ({ operation, i, upstream, masked }, parameter) => {
        const term = gradientOf(operation, i, upstream, masked);
        const before = results.get(parameter);
        results.set(parameter, before ? replace(before, term) : term);
      });
      return parameters.map((parameter) => results.get(parameter) ?? fill(this.gpu, parameter.shape, 0));
    });
  }

  /**
   * Explicit gradients of each sample's loss, [samples, ...parameter shape]: samples x parameters in memory, an
   * oracle for tests and small networks. `losses` is [samples]; samples must not interact.
   * @throws FathomError `no-per-sample-rule`, or that of an op whose samples interact
   */
  perSampleGradients(losses: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    this.requireSeparateSamples(losses);
    return this.gpu.scope(() => {
      const results = new Map<Tensor, Tensor<'f32'>>();
      this.walk(losses, parameters, undefined, ({ operation, i, upstream, masked }, parameter) => {
        const term = parameterRule(operation, i).perSample(upstream, masked);
        const before = results.get(parameter);
        results.set(parameter, before ? replace(before, term) : term);
      });
      const shape = (parameter: Tensor) => [losses.size, ...parameter.shape];
      return parameters.map((parameter) => results.get(parameter) ?? fill(this.gpu, shape(parameter), 0));
    });
  }

  /**
   * Sum over samples of squared per-sample gradients, in each parameter's shape, without storing a per-sample
   * gradient. `losses` is [samples]; samples must not interact.
   * @throws FathomError as {@link accumulate}; `not-capturable`, for a replay would add to the sums
   */
  squaredGradients(losses: Tensor<'f32'>, parameters: readonly Tensor<'f32'>[]): Tensor<'f32'>[] {
    if (this.gpu.isCapturing) {
      throw notCapturable(
        'squaredGradients was called',
        'Accumulate into SampleSums made before the capture',
      );
    }
    using sums = new SampleSums(this.gpu, parameters, 'square');
    this.accumulate(losses, sums);
    return sums.totals();
  }

  /**
   * Adds every sample's gradients by the sums' parameters, or their squares, to running sums, whose bits do not
   * depend on how samples are cut into batches.
   * @param output [samples, ...]; samples must not interact
   * @param upstream what to multiply the output's derivatives by, of its shape: ones if left out
   * @throws FathomError `no-per-sample-rule`; `shared-parameter` when a parameter is used twice and squares are
   * wanted: its per-sample gradient is a sum, whose square the fused kernels cannot form; or that of an op whose
   * samples interact
   */
  accumulate(output: Tensor<'f32'>, sums: SampleSums, upstream?: Tensor<'f32'>): void {
    this.requireSeparateSamples(output);
    this.gpu.scope(() => {
      const seen = new Set<Tensor>();
      this.walk(output, sums.parameters, upstream, ({ operation, i, ...use }, parameter) => {
        if (seen.has(parameter) && sums.summand === 'square') throw sharedParameter(operation.op, parameter);
        seen.add(parameter);
        parameterRule(operation, i).accumulate(use.upstream, sums.of(parameter)!, use.masked);
      });
    });
    sums.advance(output.shape[0]!);
  }

  /** Takes gradients back from `output`; `visit` gets each use of a parameter. */
  private walk(
    output: Tensor<'f32'>,
    parameters: readonly Tensor<'f32'>[],
    seed: Tensor<'f32'> | undefined,
    visit: (use: Use, parameter: Tensor<'f32'>) => void,
  ): void {
    const { gpu, operations } = this;
    const wanted = new Set<Tensor>(parameters);
    const downstream = this.outputsFrom(wanted);
    const ones = () => gpu.once(`ones ${output.shape}`, [], () => fill(gpu, output.shape, 1));
    const upstreams = new Map<Tensor, Tensor<'f32'>>([[output, seed ? seed.reshape(output.shape) : ones()]]);
    const rectified = new Set<Tensor>(
      operations.flatMap(({ rule, output }) => (rule.rectifies ? output : [])),
    );
    /** Rectifiers' outputs all of whose gradients so far are zero where they are not positive. */
    const masked = new Set<Tensor>();
    for (const operation of operations.toReversed()) {
      const upstream = upstreams.get(operation.output);
      if (!upstream) continue;
      upstreams.delete(operation.output);
      const use = { operation, upstream, masked: masked.has(operation.output) };
      for (const [i, input] of operation.inputs.entries()) {
        if (wanted.has(input)) visit({ ...use, i }, input as Tensor<'f32'>);
        if (downstream.has(input)) {
          const masks = i === 0 && rectified.has(input) && operation.rule.maskedGradient;
          const term = masks ? masks(upstream) : gradientOf(operation, i, upstream, use.masked);
          const before = upstreams.get(input);
          upstreams.set(input, before ? replace(before, term) : term);
          if (!masks) masked.delete(input);
          else if (!before) masked.add(input);
        }
      }
      upstream.dispose();
    }
  }

  /** Throws the error of a recorded op that mixes samples and that `result` depends on. */
  private requireSeparateSamples(result: Tensor): void {
    const reached = new Set<Tensor>([result]);
    for (const { inputs, output, rule } of this.operations.toReversed()) {
      if (!reached.has(output)) continue;
      if (rule.mixesSamples) throw new FathomError(rule.mixesSamples);
      for (const input of inputs) reached.add(input);
    }
  }

  /** Outputs that depend on one of `sources`. */
  private outputsFrom(sources: ReadonlySet<Tensor>): Set<Tensor> {
    const reached = new Set<Tensor>();
    for (const operation of this.operations) {
      if (operation.inputs.some((input) => sources.has(input) || reached.has(input))) {
        reached.add(operation.output);
      }
    }
    return reached;
  }
}

/** A use of a parameter as input `i`, with the gradient that reaches it. */
interface Use {
  operation: Operation;
  i: number;
  upstream: Tensor<'f32'>;
  masked: boolean;
}

/** What a rule gives, in a handle of its own: a rule may hand the upstream on as it is. */
function gradientOf({ rule }: Operation, i: number, upstream: Tensor<'f32'>, masked: boolean): Tensor<'f32'> {
  const gradient = rule.gradient(i, upstream, masked);
  return gradient === upstream ? upstream.reshape(upstream.shape) : gradient;
}

function replace(before: Tensor<'f32'>, term: Tensor<'f32'>): Tensor<'f32'> {
  const sum = addTensors(before, term);
  before.dispose();
  term.dispose();
  return sum;
}

function parameterRule({ op, rule }: Operation, i: number): ParameterRule {
  const found = rule.parameters?.[i];
  if (found) return found;
  throw new FathomError({
    code: 'no-per-sample-rule',
    message: `The op ${op} has no per-sample rule for its input ${i}`,
    fix: 'Differentiate by parameters of layers that have one, or add the rule to the op',
  });
}

function sharedParameter(op: string, parameter: Tensor): FathomError {
  return new FathomError({
    code: 'shared-parameter',
    message: `A parameter of shape [${parameter.shape}] is used more than once (here by ${op}), so its squared per-sample gradient cannot be accumulated in one pass`,
    fix: 'Use perSampleGradients and square its sum, or give each use its own parameter',
  });
}
