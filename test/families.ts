import { after } from 'node:test';
import { Gpu } from '../engine/index.ts';
import type { Family } from '../engine/planner.ts';

/**
 * A device for each kernel family that the adapter has, forced, and disposed after the file's tests. `quad` needs
 * subgroup operations, which Deno does not expose.
 */
export async function openFamilies(): Promise<{ register: Gpu } & Partial<Record<Family, Gpu>>> {
  const register = await Gpu.create({ family: 'register' });
  const families: { register: Gpu } & Partial<Record<Family, Gpu>> = {
    register,
    tiled: await Gpu.create({ family: 'tiled' }),
  };
  if (register.facts.subgroupSize >= 4) families.quad = await Gpu.create({ family: 'quad' });
  after(() => {
    for (const gpu of Object.values(families)) gpu.dispose();
  });
  return families;
}
