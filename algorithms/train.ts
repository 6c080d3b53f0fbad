import type { Task } from '../data/index.ts';
import {
  adam,
  CapturedLoop,
  countNonFinite,
  FathomError,
  mean,
  type Optimizer,
  type OptimizerState,
  type Random,
  ScalarLog,
  sgd,
  Tape,
  type Tensor,
} from '../engine/index.ts';
import type { BatchCounts, Network, StateDict } from '../models/index.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { type Batch, BatchSlots, sampleLosses } from './objective.ts';

export interface TrainingOptions {
  /** Passes over the training split at the most. */
  epochs: number;
  /** Images a step. */
  batch: number;
  learningRate: number;
  /** Adam (default), with PyTorch's other settings, or descent with a momentum of 0.9. */
  optimizer?: 'adam' | 'sgd';
  /** Stop once the validation accuracy reaches 1 - epsilon (paper section 1.1); a network that gives images has none. */
  targetAccuracy?: number;
  /** Gives the order of images in each epoch. */
  random: Random;
  onProgress?: (progress: TrainingProgress) => void;
  /** Called after every epoch but the last with a function that takes a checkpoint. */
  onEpoch?: (take: () => Promise<TrainingState>) => Promise<void>;
  /** A checkpoint to go on from, with the same bits as if training had not been interrupted. */
  resume?: TrainingState;
}

/** All that training depends on after an epoch. */
export interface TrainingState {
  epochs: Evaluation[];
  best: { epoch: number; score: number; state: StateDict };
  state: StateDict;
  batches: BatchCounts;
  optimizer: OptimizerState;
  /** Of {@link TrainingOptions.random}. */
  randomPosition: number;
}

const MOMENTUM = 0.9;

export interface TrainingProgress {
  /** From 1. */
  epoch: number;
  epochs: number;
  /** Images seen in this epoch, and in it altogether. */
  seen: number;
  images: number;
  /** Mean training loss since the last report. */
  loss: number;
  /** On the validation split, at the end of an epoch. */
  validation?: Evaluation;
}

export interface TrainingResult {
  /** Validation results, one an epoch. */
  epochs: Evaluation[];
  /**
   * The epoch (from 1) whose weights the network now holds: the first of the best validation accuracy, or of the
   * lowest validation loss where the network gives images.
   */
  bestEpoch: number;
  /** Whether the target accuracy was reached; true where none was set. */
  reached: boolean;
}

/** Steps whose losses are read together; also bounds how far the CPU runs ahead of the GPU. */
const STEPS_PER_READ = 8;

/**
 * Trains a network on a task until it is an epsilon-approximation network (paper section 1.1) or the epochs are
 * used up; the network ends with the weights of its best epoch by validation accuracy, or by validation loss where it
 * gives images.
 * @throws FathomError `diverged` when a loss or weight is no longer finite
 */
export async function train(network: Network, task: Task, options: TrainingOptions): Promise<TrainingResult> {
  const { gpu } = network;
  const parameters = [...network.parameters.values()];
  const { learningRate, resume } = options;
  using optimizer =
    options.optimizer === 'sgd'
      ? sgd(gpu, parameters, { learningRate, momentum: MOMENTUM })
      : adam(gpu, parameters, { learningRate });
  const images = task.train.index.length;
  using slots = BatchSlots.of(network, task.train, Math.min(options.batch, images));
  using loop = new CapturedLoop<number, void>(gpu);
  using log = new ScalarLog(gpu, STEPS_PER_READ);
  const target = options.targetAccuracy ?? Number.POSITIVE_INFINITY;
  let reached = options.targetAccuracy === undefined;
  const epochs: Evaluation[] = [...(resume?.epochs ?? [])];
  let best = resume?.best;
  if (resume) {
    network.load(resume.state, resume.batches);
    optimizer.restore(resume.optimizer);
    options.random.position = resume.randomPosition;
  }

  for (let epoch = epochs.length + 1; epoch <= options.epochs; epoch++) {
    await gpu.span('training epoch', () => pass(epoch));
    const broken = await countNonFinite(gpu, parameters);
    if (broken.some((count) => count > 0)) throw diverged(task.name, epoch, learningRate);
    const validation = await evaluate(network, task.validation);
    epochs.push(validation);
    options.onProgress?.({
      epoch,
      epochs: options.epochs,
      seen: images,
      images,
      loss: Number.NaN,
      validation,
    });
    const { accuracy, loss } = validation;
    const score = accuracy ?? -loss;
    if (!best || score > best.score) best = { epoch, score, state: await network.state() };
    if (accuracy !== undefined && accuracy >= target) {
      reached = true;
      break;
    }
    if (epoch < options.epochs) await options.onEpoch?.(checkpoint);
  }

  if (best && best.epoch < epochs.length) network.load(best.state);
  return { epochs, bestEpoch: best?.epoch ?? 0, reached };

  async function checkpoint(): Promise<TrainingState> {
    return {
      epochs: [...epochs],
      best: best!,
      state: await network.state(),
      batches: network.batchCounts,
      optimizer: await optimizer.save(),
      randomPosition: options.random.position,
    };
  }

  /** One over the images. */
  async function pass(epoch: number): Promise<void> {
    const order = options.random.permutation(images);
    let waiting = 0;
    for (let start = 0; start < images; start += options.batch) {
      const positions = order.subarray(start, start + options.batch);
      step(positions);
      const seen = start + positions.length;
      if (++waiting === STEPS_PER_READ || seen === images) {
        const losses = await log.read();
        waiting = 0;
        const loss = losses.reduce((a, b) => a + b, 0) / losses.length;
        if (!Number.isFinite(loss)) throw diverged(task.name, epoch, learningRate);
        options.onProgress?.({ epoch, epochs: options.epochs, seen, images, loss });
      }
    }
  }

  function step(positions: Uint32Array): void {
    slots.load(task.train, positions);
    gpu.span('training step', () =>
      loop.run(positions.length, () => {
        log.push(descend(network, optimizer, slots.first(positions.length), options.random));
      }),
    );
  }
}

/**
 * One step down the gradient of a batch's mean loss, in training mode. May be captured.
 * @param random where dropout draws from
 * @returns the loss [1] before the step
 */
export function trainingStep(
  network: Network,
  optimizer: Optimizer,
  batch: Batch,
  random: Random,
): Tensor<'f32'> {
  const { gpu } = network;
  return gpu.span('training step', () => gpu.scope(() => descend(network, optimizer, batch, random)));
}

/** {@link trainingStep} within a scope and a span of the caller's. */
function descend(network: Network, optimizer: Optimizer, batch: Batch, random: Random): Tensor<'f32'> {
  const parameters = [...network.parameters.values()];
  const tape = new Tape(network.gpu).watch(parameters);
  const outputs = network.forward(tape, batch.images, { training: true, random });
  const loss = mean(tape, sampleLosses(tape, outputs, batch.targets));
  optimizer.step(tape.gradients(loss, parameters));
  return loss;
}

function diverged(task: string, epoch: number, learningRate: number): FathomError {
  return new FathomError({
    code: 'diverged',
    message: `Training on "${task}" diverged in epoch ${epoch}: a loss or a weight is no longer finite`,
    fix: `Lower the learning rate (now ${learningRate}) or check the images for values out of range`,
  });
}
