import type { z } from 'zod';
import type { splitsSpec, TaskDeclaration } from './task-spec.ts';

/** The data, tasks and splits of a study that has been made before, as a user would declare them. */
export interface Preset {
  description: string;
  /** Entries under `data:`; those that are no files of a package or made on the spot need a path from the user. */
  data: Record<string, { format: string; [field: string]: unknown }>;
  tasks: TaskDeclaration[];
  splits: z.input<typeof splitsSpec>;
}

/** One group for each name, of the class of that number or name. */
function each(members: Record<string, string | number>): Record<string, [string | number]> {
  return Object.fromEntries(Object.entries(members).map(([name, member]) => [name, [member]]));
}

/** Is it of this class or of another? */
function binary(data: string, name: string, member: string | number): TaskDeclaration {
  return { name, description: `${name} or not`, data, groups: { [name]: [member] } };
}

const DIGITS = { 'digit 0': 0, 'digit 1': 1, 'digit 2': 2, 'digit 3': 3, 'digit 4': 4 };
const MNIST_SPLITS = { train: 4000, validation: 500, test: 2000 };

const mnist: Preset = {
  description: "The paper's four tasks on MNIST: 0 or not, 6 or not, 0 to 3 or anything else, all ten digits",
  data: { mnist: { format: 'mnist' } },
  tasks: [
    binary('mnist', 'digit 0', 0),
    binary('mnist', 'digit 6', 6),
    {
      name: '0-3',
      description: 'digit 0, 1, 2, 3 or anything else',
      data: 'mnist',
      groups: each({ 'digit 0': 0, 'digit 1': 1, 'digit 2': 2, 'digit 3': 3 }),
    },
    { name: '10 digits', description: 'all ten digits', data: 'mnist' },
  ],
  splits: MNIST_SPLITS,
};

const cifar10: Preset = {
  description:
    "The paper's four tasks on CIFAR-10: car, cat, ship or not; cat, ship, truck or not; bird, frog, horse or anything else; all ten classes",
  data: { cifar10: { format: 'cifar10' } },
  tasks: [
    {
      name: 'car cat ship',
      data: 'cifar10',
      groups: { 'automobile, cat or ship': [1, 3, 8] },
      description: 'automobile, cat, ship or not',
    },
    {
      name: 'cat ship truck',
      data: 'cifar10',
      groups: { 'cat, ship or truck': [3, 8, 9] },
      description: 'cat, ship, truck or not',
    },
    { name: 'bird frog horse', data: 'cifar10', groups: each({ bird: 2, frog: 6, horse: 7 }) },
    { name: '10 classes', data: 'cifar10' },
  ],
  splits: { train: 10_000, validation: 1000, test: 2000 },
};

const VEHICLES = {
  ...{ bicycle: 8, 'pickup truck': 58, train: 90, bus: 13, motorcycle: 48 },
  ...{ streetcar: 81, rocket: 69, 'lawn mower': 41, tractor: 89, tank: 85 },
};
const HOUSEHOLD = {
  ...{ lamp: 40, keyboard: 39, clock: 22, television: 87, telephone: 86 },
  ...{ chair: 20, couch: 25, wardrobe: 94, table: 84, bed: 5 },
};

const cifar100: Preset = {
  description:
    "The paper's four tasks on CIFAR-100: vehicle or not; household thing or not; which of ten vehicles or anything else; which of ten vehicles and ten household things or anything else",
  data: { cifar100: { format: 'cifar100', labels: 'fine' } },
  tasks: [
    {
      name: 'vehicles',
      data: 'cifar100',
      groups: { vehicle: Object.values(VEHICLES) },
      description: 'one of ten vehicles or not',
    },
    {
      name: 'household',
      data: 'cifar100',
      groups: { 'household thing': Object.values(HOUSEHOLD) },
      description: 'one of ten household things or not',
    },
    {
      name: '10 vehicles',
      data: 'cifar100',
      groups: each(VEHICLES),
      description: 'ten vehicles or anything else',
    },
    {
      name: 'vehicles, household',
      data: 'cifar100',
      groups: each({ ...VEHICLES, ...HOUSEHOLD }),
      description: 'ten vehicles, ten household things or anything else',
    },
  ],
  splits: { train: 400, validation: 100, test: 100, per: 'class' },
};

/** In all of the first three tens. */
const SHARED = {
  'English springer': 'n02102040',
  'cassette player': 'n02979186',
  'chain saw': 'n03000684',
  church: 'n03028079',
  'French horn': 'n03394916',
};
const TRUCK_AND_PUMP = { 'garbage truck': 'n03417042', 'gas pump': 'n03425413' };
const TENS = [
  { tench: 'n01440764', ...SHARED, ...TRUCK_AND_PUMP, 'golf ball': 'n03445777', parachute: 'n03888257' },
  { 'grey whale': 'n02066245', ...SHARED, ...TRUCK_AND_PUMP, volleyball: 'n04540053', umbrella: 'n04507155' },
  {
    ...SHARED,
    ...{ platypus: 'n01873310', laptop: 'n03642806', 'lawn mower': 'n03649909' },
    ...{ baseball: 'n02799071', 'cowboy hat': 'n03124170' },
  },
  {
    ...{ 'analog clock': 'n02708093', candle: 'n02948072', sweatshirt: 'n04370456', birdhouse: 'n02843684' },
    ...{ 'ping-pong ball': 'n03942813', hotdog: 'n07697537', pizza: 'n07873807', 'school bus': 'n04146614' },
    ...{ iPod: 'n03584254', beaver: 'n02363005' },
  },
];

const imagenet: Preset = {
  description: "The paper's four tens of ImageNet classes, as far as they are known: see docs/tasks.md",
  data: {
    imagenet: {
      format: 'folder',
      classes: [...new Set(TENS.flatMap((ten) => Object.values(ten)))].sort(),
      size: 224,
      channels: 3,
      limit: 1000,
    },
  },
  tasks: TENS.map((ten, i) => ({
    name: `ten ${i}`,
    data: 'imagenet',
    groups: each(ten),
    rest: false as const,
  })),
  splits: { train: 700, validation: 100, test: 200, per: 'class' },
};

const FASHION = [
  ...['T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat'],
  ...['Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'],
];
const fashionData = { 'fashion-mnist': { format: 'idx', name: 'Fashion-MNIST', classNames: FASHION } };
const fashionTasks = FASHION.slice(0, 5).map((name) => binary('fashion-mnist', name, name));

const fashionMnist: Preset = {
  description: 'Five tasks on Fashion-MNIST: T-shirt, trouser, pullover, dress, coat or not',
  data: fashionData,
  tasks: fashionTasks,
  splits: MNIST_SPLITS,
};

const DRAWINGS = [
  ...['apple', 'baseball bat', 'bear', 'envelope', 'guitar'],
  ...['lollipop', 'moon', 'mouse', 'mushroom', 'rabbit'],
];

const quickdraw: Preset = {
  description:
    "The paper's predecessor: digits 0 to 4 and five clothes, each or not, and the moon or not among ten drawings",
  data: {
    mnist: { format: 'mnist' },
    ...fashionData,
    quickdraw: { format: 'quickdraw', classes: DRAWINGS, limit: 6000 },
  },
  tasks: [
    ...Object.entries(DIGITS).map(([name, digit]) => binary('mnist', name, digit)),
    ...fashionTasks,
    binary('quickdraw', 'moon', 'moon'),
  ],
  splits: MNIST_SPLITS,
};

const STYLES = {
  ...{ noto: 'noto', twemoji: 'twemoji', openmoji: 'openmoji' },
  ...{ 'fluent flat': 'fluent-emoji-flat', 'fluent high contrast': 'fluent-emoji-high-contrast' },
};

const emoji: Preset = {
  description:
    'Which of eight categories an emoji is of, in five styles of drawing; the fifth is black and white',
  data: Object.fromEntries(
    Object.entries(STYLES).map(([name, style]) => [name, { format: 'emoji', style, size: 32 }]),
  ),
  tasks: Object.keys(STYLES).map((name) => ({
    name,
    description: `category of an emoji, drawn in style ${name}`,
    data: name,
  })),
  splits: { train: 1000, validation: 250, test: 335 },
};

const DENSE = {
  ...{ 'Euclidean distance': 'depth_euclidean', 'z-depth': 'depth_zbuffer' },
  ...{ '3D edges': 'edge_occlusion', '2D edges': 'edge_texture' },
  ...{ '2D keypoints': 'keypoints2d', '3D keypoints': 'keypoints3d' },
  ...{ 'surface normals': 'normal', curvature: 'principal_curvature', reshading: 'reshading' },
};
const denseTasks = (data: string): TaskDeclaration[] => [
  ...Object.entries(DENSE).map(([name, target]) => ({ name, data, target })),
  { name: 'autoencoding', data, target: 'rgb' },
];

const taskonomy: Preset = {
  description: "The paper's ten tasks of Taskonomy: depth, edges, keypoints, normals, and the image itself",
  data: { taskonomy: { format: 'taskonomy', domains: Object.values(DENSE), size: 128, channels: 3 } },
  tasks: denseTasks('taskonomy'),
  splits: { train: 4000, validation: 500, test: 1000 },
};

const scenes: Preset = {
  description:
    'The same ten tasks on rooms that are made up and rendered here, so that nothing need be downloaded',
  data: { scenes: { format: 'scenes', seed: 0, count: 2400, testCount: 500, size: 32 } },
  tasks: denseTasks('scenes'),
  splits: { train: 2000, validation: 400, test: 500 },
};

/** By name. */
export const presets = {
  mnist,
  cifar10,
  cifar100,
  imagenet,
  'fashion-mnist': fashionMnist,
  quickdraw,
  emoji,
  taskonomy,
  scenes,
} satisfies Record<string, Preset>;
