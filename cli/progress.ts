import process from 'node:process';
import { SingleBar } from 'cli-progress';
import type { MatrixProgress } from '../algorithms/index.ts';

/** A line on stderr that shows how far a run is; nothing at all where stderr is no terminal. */
export interface Progress extends Disposable {
  /**
   * @param label the stage, and where it has them the epoch, loss and accuracy
   * @param work images put through a network so far, of `total` in the whole run
   */
  show(label: string, work: number, total: number): void;
}

export function startProgress(): Progress {
  if (!process.stderr.isTTY) return { show: () => undefined, [Symbol.dispose]: () => undefined };
  const bar = new SingleBar({
    stream: process.stderr,
    // What a narrow terminal cuts off should be the least of it.
    format: '{bar} {percentage}% | {left} left | {rate} images/s | {label}',
    barsize: 12,
    clearOnComplete: true,
    // An interrupt must end the process, so the terminal is never put in a state that wants restoring.
    gracefulExit: false,
    hideCursor: null,
    linewrap: true,
  });
  const begin = performance.now();
  return {
    show(label, work, total) {
      if (!bar.isActive) bar.start(total, 0, { label, rate: '-', left: '-' });
      const rate = work / ((performance.now() - begin) / 1000);
      bar.update(
        work,
        work > 0 ? { label, rate: Math.round(rate), left: time((total - work) / rate) } : { label },
      );
    },
    [Symbol.dispose]: () => bar.stop(),
  };
}

/** A line on stderr that says what is being done; nothing at all where stderr is no terminal. */
export function startStatus(): { show(line: string): void } & Disposable {
  const terminal = process.stderr.isTTY;
  const write = (line: string) => {
    if (terminal) process.stderr.write(`\r\x1b[K${line}`);
  };
  return { show: write, [Symbol.dispose]: () => write('') };
}

/** Labels the steps of a matrix over trials; an accuracy stays in sight until the next. */
export function matrixLabels(): (progress: MatrixProgress) => string {
  let accuracy = '';
  return ({ trial, trials, task, stage, training }) => {
    const where = `trial ${trial}/${trials}, ${task}`;
    if (stage === 'measure' || !training) return `${where}: measuring`;
    const { epoch, epochs, loss, validation } = training;
    if (epoch === 1 && !validation) accuracy = '';
    if (validation?.accuracy !== undefined) accuracy = `, accuracy ${validation.accuracy.toFixed(3)}`;
    const current = (validation?.loss ?? loss).toFixed(3);
    return `${where}: epoch ${epoch}/${epochs}, loss ${current}${accuracy}`;
  };
}

function time(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
