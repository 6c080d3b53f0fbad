import type { Tape } from '../tape.ts';
import type { Tensor } from '../tensor.ts';
import { type Activation, mapElements } from './elementwise.ts';

/** max(x, 0), keeping NaN. Any shape. */
export function relu(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  const y = mapElements(tape.gpu, 'RELU', x);
  return tape.record('relu', [x], y, {
    rectifies: true,
    gradient: (_, upstream, masked) =>
      masked ? upstream : mapElements(tape.gpu, 'RELU_GRADIENT', upstream, y),
  });
}

/** min(max(x, 0), 6), keeping NaN. Any shape. */
export function relu6(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  return activation(tape, 'relu6', 'RELU6', 'output', x);
}

/** 1 / (1 + exp(-x)). Any shape. */
export function sigmoid(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  return activation(tape, 'sigmoid', 'SIGMOID', 'input', x);
}

/** Hyperbolic tangent. Any shape. */
export function tanh(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  return activation(tape, 'tanh', 'TANH', 'input', x);
}

/** x (1 + erf(x / sqrt(2))) / 2, not its approximation by tanh. Any shape. */
export function gelu(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  return activation(tape, 'gelu', 'GELU', 'input', x);
}

/** x / (1 + exp(-x)). Any shape. */
export function silu(tape: Tape, x: Tensor<'f32'>): Tensor<'f32'> {
  return activation(tape, 'silu', 'SILU', 'input', x);
}

/** Runs a row of the elementwise table whose gradient row takes the saved input or output. */
function activation(
  tape: Tape,
  op: string,
  map: Activation,
  saved: 'input' | 'output',
  x: Tensor<'f32'>,
): Tensor<'f32'> {
  const y = mapElements(tape.gpu, map, x);
  return tape.record(op, [x], y, {
    gradient: (_, upstream) => mapElements(tape.gpu, `${map}_GRADIENT`, upstream, saved === 'input' ? x : y),
  });
}
