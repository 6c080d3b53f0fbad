import { kendall } from '../algorithms/index.ts';
import type { StudyResults } from '../algorithms/study/results.ts';
import { studyStatistics } from '../algorithms/study/statistics.ts';
import { Random } from '../engine/index.ts';

export interface Invented {
  names?: readonly string[];
  /** True distances, [source][target]. */
  distance?: readonly (readonly number[])[];
  trials?: number;
  /** Standard deviation over trials. */
  spread?: number;
  comparators?: boolean;
  /** Tasks whose targets are images. */
  dense?: boolean;
  floor?: boolean;
  layers?: readonly string[];
  seed?: number;
}

export const MNIST_NAMES = ['digit 0', 'digit 6', '0 to 3 or other', 'all ten digits'];
/** Table of the paper for ResNet-18. */
const MNIST_DISTANCE = [
  [0, 0.2189, 0.5084, 0.5953],
  [0.2925, 0, 0.3327, 0.4615],
  [0.42, 0.5843, 0, 0.2262],
  [0.4622, 0.4263, 0.193, 0],
];
const CNN_LAYERS = ['conv1', 'conv2', 'fc1', 'fc2'];
const EPOCHS = 6;
const round = (value: number) => Math.round(value * 1e6) / 1e6;

/** What a study might have written; the same arguments give the same. */
export function inventedStudy({
  names = MNIST_NAMES,
  distance = MNIST_DISTANCE,
  trials = 5,
  spread = 0.03,
  comparators = true,
  dense = false,
  floor = true,
  layers = CNN_LAYERS,
  seed = 7,
}: Invented = {}): StudyResults {
  const random = new Random(seed);
  const noise = () => random.normal(1)[0]!;
  const share = () => random.uniform(1)[0]!;
  const tasks = names.map((_, i) => i);
  const matrices = Array.from({ length: trials }, () =>
    distance.map((row, s) =>
      row.map((d, t) => (s === t ? 0 : round(Math.min(0.99, Math.max(0.02, d + spread * noise()))))),
    ),
  );
  const replicates = matrices.map((matrix) =>
    matrix.map((row, s) =>
      row.map((d, t) => Array.from({ length: 40 }, () => (s === t ? 0 : d + 0.004 * Math.abs(noise())))),
    ),
  );
  const statistics = studyStatistics(
    { trials: matrices, replicates },
    { level: 0.95, random: new Random(seed), draws: 400 },
  );
  const { mean } = statistics.distance;
  const classes = (task: number) => (dense ? 0 : [2, 2, 5, 10][task % 4]!);
  const curve = () => {
    const [top, pace] = [0.93 + 0.06 * share(), 0.5 + share()];
    return Array.from({ length: EPOCHS }, (_, epoch) => {
      const left = Math.exp(-pace * (epoch + 0.4));
      return {
        accuracy: dense ? null : round(top - 0.4 * left + 0.004 * noise()),
        loss: round(Math.max(0.02, 0.08 + 0.7 * left + 0.01 * noise())),
      };
    });
  };
  const floors = Array.from({ length: floor ? Math.min(trials, 2) : 0 }, () =>
    tasks.map(() => round(0.06 + 0.03 * share())),
  );
  const score = (of: (s: number, t: number) => number | null) =>
    tasks.map((s) => tasks.map((t) => (s === t ? null : of(s, t))));
  const comparator = (
    name: string,
    description: string,
    higherIsCloser: boolean,
    of: (s: number, t: number) => number | null,
  ): StudyResults['comparators'][number] => {
    const scores = score(of);
    const sign = higherIsCloser ? -1 : 1;
    const column = (t: number) =>
      tasks.flatMap((s) => (scores[s]![t] === null ? [] : [{ s, value: sign * scores[s]![t]! }]));
    return {
      name,
      description,
      higherIsCloser,
      mean: scores,
      sigma: score((s, t) => (scores[s]![t] === null ? null : round(0.02 * share()))),
      closest: tasks.map((t) => column(t).toSorted((a, b) => a.value - b.value)[0]?.s ?? -1),
      kendall: tasks.map((t) => {
        const found = column(t);
        if (found.length < 2) return null;
        const tau = kendall(
          found.map(({ value }) => value),
          found.map(({ s }) => mean[s]![t]!),
        );
        return Number.isNaN(tau) ? null : tau;
      }),
    };
  };
  return {
    format: 'fathom-study',
    formatVersion: 1,
    version: '0.1.0',
    study: {
      name: `An invented study of ${names.length} tasks`,
      trials,
      seed: 0,
      network: 'cnn',
      data: { format: 'mnist' },
      training: { epochs: EPOCHS, batch: 64, learningRate: 1e-3 },
      fisher: { estimator: 'empirical', samples: 400 },
    },
    provenance: {
      runtimes: ['Node 20.20.2 (webgpu 0.6.2)'],
      adapters: [{ label: 'google, SwiftShader', driver: 'embedded', kind: 'software', jobs: 84 }],
      estimator: 'empirical Fisher, true labels, per sample',
      network: 'cnn',
      parameters: 80_202,
      seeds: Array.from({ length: trials }, (_, i) => i),
      data: [{ name: 'MNIST', hash: 'a1'.repeat(32), images: 70_000 }],
    },
    tasks: names.map((name, i) => ({
      name,
      description: `Invented: ${name}`,
      classes: classes(i),
      classNames: Array.from({ length: classes(i) }, (_, c) => `class ${c}`),
      splits: { train: 4000, validation: 500, test: 2000 },
      hash: i.toString(16).padStart(2, '0').repeat(32),
    })),
    networks: Array.from({ length: trials }, (_, trial) =>
      tasks.map((task) => {
        const epochs = curve();
        return {
          task,
          trial,
          seed: trial,
          copy: 0,
          initialisation: 'b2'.repeat(32),
          epochs,
          bestEpoch: EPOCHS,
          reached: true,
          test: epochs.at(-1)!,
        };
      }),
    ).flat(),
    distance: statistics.distance,
    floor: {
      trials: floors,
      mean: floors.length > 0 ? tasks.map((t) => averageOf(floors.map((row) => row[t]!))) : [],
    },
    closest: statistics.closest,
    rankings: statistics.rankings.map((ranking) => ({
      ...ranking,
      samples: 400,
      stoppedEarly: ranking.target === 1,
      stability: [50, 100, 200, 400].map((samples, i) => ({
        samples,
        sameFirst: [0.6, 0.8, 1, 1][i]!,
        kendall: [0.5, 0.7, 0.9, 1][i]!,
      })),
    })),
    layers: layers.map((name, i) => ({
      name,
      share: tasks.map((s) =>
        tasks.map((t) => (s === t ? 0 : round(layerShare(i, layers.length, s + 2 * t)))),
      ),
    })),
    comparators: comparators
      ? [
          comparator('linear probe', "Accuracy of a linear head on the source's features", true, (s, t) =>
            round(0.95 - 0.3 * mean[s]![t]! + 0.02 * noise()),
          ),
          comparator('label overlap', 'Divergence between label distributions', false, (s, t) =>
            (s + t) % 3 === 0 ? null : round(0.1 + 0.1 * share()),
          ),
        ]
      : [],
    warnings: [],
  };
  function layerShare(layer: number, count: number, pair: number): number {
    const weights = Array.from({ length: count }, (_, i) => 1 + ((i * 7 + pair) % 5));
    return weights[layer]! / weights.reduce((a, b) => a + b);
  }
}

function averageOf(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

const GROUPS = {
  flat: [
    'autoencoding',
    'denoising',
    'in-painting',
    '2D edges',
    '2D keypoints',
    '2D segmentation',
    'colorisation',
  ],
  solid: [
    'z-depth',
    'distance',
    'surface normals',
    'reshading',
    'curvature',
    'occlusion edges',
    '3D keypoints',
    '2.5D segmentation',
  ],
  geometric: ['vanishing points', 'room layout', 'camera pose', 'egomotion', 'point matching', 'jigsaw'],
  semantic: ['object classes', 'scene classes', 'semantic segmentation', 'texture classes'],
};

/** 25 tasks in four groups, from less to more the nearer way. */
export function inventedAtlas(more: Invented = {}): StudyResults {
  const random = new Random(3);
  const members = Object.values(GROUPS).flatMap((names, group) => names.map((name) => ({ name, group })));
  const base = [
    [0.15, 0.6, 0.75, 0.7],
    [0.6, 0.2, 0.5, 0.55],
    [0.75, 0.5, 0.25, 0.6],
    [0.7, 0.55, 0.6, 0.2],
  ];
  const distance = members.map((source, s) =>
    members.map((target, t) =>
      s === t ? 0 : base[source.group]![target.group]! + 0.15 * random.uniform(1)[0]! + 0.004 * (t - s),
    ),
  );
  return inventedStudy({
    names: members.map(({ name }) => name),
    distance,
    dense: true,
    layers: Array.from({ length: 40 }, (_, i) => `features.block${Math.floor(i / 4)}.conv${i % 4}`),
    ...more,
  });
}
