/**
 * What a network begins with: `cifar` for 32x32 images (no early reduction, as in the reference values), `imagenet`
 * for 224x224 images (torchvision's own).
 */
export const stems = ['cifar', 'imagenet'] as const;
export type Stem = (typeof stems)[number];

export interface NetworkOptions {
  classes: number;
  stem: Stem;
  /** [height, width, channels] of the images, for networks that take any. */
  input?: readonly [number, number, number];
}

/** [height, width, channels] of a stem's images. */
export function inputOf(stem: Stem): readonly [number, number, number] {
  return stem === 'cifar' ? [32, 32, 3] : [224, 224, 3];
}
