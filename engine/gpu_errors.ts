import { FathomError } from './errors.ts';
import { type Shape, sizeOf } from './tensor.ts';

/** @throws FathomError `shape-mismatch` where so many values do not fill the shape */
export function requireSize(data: { length: number }, shape: Shape): void {
  if (data.length === sizeOf(shape)) return;
  throw new FathomError({
    code: 'shape-mismatch',
    message: `${data.length} values cannot fill a tensor of shape [${shape}]`,
    fix: `Give ${sizeOf(shape)} values`,
  });
}

export function tooLarge(shape: Shape, bytes: number, limit: number, adapter: string): FathomError {
  return new FathomError({
    code: 'tensor-too-large',
    message: `A tensor of shape [${shape}] takes ${bytes} bytes; ${adapter} allows ${limit} in one binding`,
    fix: 'Use a smaller batch or smaller images',
  });
}

export function noSubgroups(adapter: string): FathomError {
  return new FathomError({
    code: 'no-subgroups',
    message: `The kernel family quad needs subgroup operations, which ${adapter} does not offer here`,
    fix: 'Leave the family to the planner',
  });
}

export function deviceError(cause: { message: string }): FathomError {
  return new FathomError({
    code: 'device-error',
    message: `The GPU reported: ${cause.message.replaceAll('\n', ' ')}`,
    fix: 'Run `fathom doctor`; if it passes, report this',
    cause,
  });
}

export function lostError(info: GPUDeviceLostInfo): FathomError {
  return new FathomError({
    code: 'device-lost',
    message: `The GPU device was lost (${info.reason}): ${info.message.replaceAll('\n', ' ')}`,
    fix: 'Start again; if it happens again, use a smaller batch or update the driver',
  });
}

export function disposedError(): FathomError {
  return new FathomError({
    code: 'device-disposed',
    message: 'The GPU was used after it was disposed',
    fix: 'Dispose it last, or create another',
  });
}

/** @param what was done while a capture was being made */
export function notCapturable(what: string, fix: string): FathomError {
  return new FathomError({
    code: 'not-capturable',
    message: `${what} while a capture was being made, which replays dispatches alone`,
    fix,
  });
}
