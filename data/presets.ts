import type { z } from 'zod';
import type { splitsSpec, TaskDeclaration } from './task-spec.ts';

/** The data, tasks and splits of a study that has been made before, as a user would declare them. */
export interface Preset {
  description: string;
  /** Entries under `data:`; those that name no files need a path from the user. */
  data: Record<string, { format: string; [field: string]: unknown }>;
  tasks: TaskDeclaration[];
  splits: z.input<typeof splitsSpec>;
}

const mnist: Preset = {
  description: "The paper's four tasks on MNIST: 0 or not, 6 or not, 0 to 3 or anything else, all ten digits",
  data: { mnist: { format: 'mnist' } },
  tasks: [
    { name: 'digit 0', description: 'digit 0 or not', data: 'mnist', groups: { 'digit 0': [0] } },
    { name: 'digit 6', description: 'digit 6 or not', data: 'mnist', groups: { 'digit 6': [6] } },
    {
      name: '0-3',
      description: 'digit 0, 1, 2, 3 or anything else',
      data: 'mnist',
      groups: { 'digit 0': [0], 'digit 1': [1], 'digit 2': [2], 'digit 3': [3] },
    },
    { name: '10 digits', description: 'all ten digits', data: 'mnist' },
  ],
  splits: { train: 4000, validation: 500, test: 2000 },
};

export const presets = { mnist } satisfies Record<string, Preset>;
