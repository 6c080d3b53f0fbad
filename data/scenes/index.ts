export { drawScene } from './draw.ts';
export { type Domain, domains } from './labels.ts';
export { raycast, type Seen } from './raycast.ts';
export { renderPictures, renderScenes, type SceneOptions } from './render.ts';
export type { Camera, Light, Scene, Solid, Texture, Vec3 } from './scene.ts';
