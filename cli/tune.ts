import type { Command } from 'commander';
import { DryGpu, type Gpu, layersOn, Random, Tape, type Tile, type Tuned, tune } from '../engine/index.ts';
import { Network } from '../models/index.ts';
import { addCommand, type CommonOptions, openGpu, printResult, table, wholeNumber } from './command.ts';
import { architectureMaker } from './network-options.ts';
import { startStatus } from './progress.ts';

interface TuneOptions extends CommonOptions {
  net: string[];
  batch: number;
}

export function addTune(program: Command): void {
  addCommand(program, 'tune', {
    description:
      'time the few kernel tiles that suit this adapter, and keep the fastest; results stay the same bits',
    example: 'tune --net cnn,resnet18',
    adapter: 'the adapter to tune for',
  })
    .option('--net <names>', 'networks whose layers are timed (cifar stem)', (text) => text.split(','), [
      'cnn',
      'resnet18',
    ])
    .option('--batch <n>', 'images at a time', wholeNumber(1), 16)
    .action(run);
}

async function run(options: TuneOptions): Promise<void> {
  using gpu = await openGpu(options);
  const layers = [];
  for (const name of options.net) layers.push(...(await layersOf(gpu, name, options.batch)));
  using status = startStatus();
  const found = await tune(gpu, layers, (at) =>
    status.show(`layer ${at.layer + 1} of ${at.layers}: ${at.class}`),
  );
  status[Symbol.dispose]();
  await gpu.tuning.save(Object.fromEntries(found.map((each) => [each.class, changes(each)])));
  const document = { adapter: gpu.opened.label, file: gpu.tuning.path, found };
  printResult(options, document, () => describeTuning(found, gpu.tuning.path));
}

/** The layers of a network, found without running it. @throws FathomError `unknown-net` */
async function layersOf(gpu: Gpu, net: string, batch: number) {
  const architecture = (await architectureMaker(net))({ classes: 10, stem: 'cifar' });
  using dry = new DryGpu(gpu);
  using network = Network.allocate(dry, architecture);
  const tape = new Tape(dry).watch(network.parameters.values());
  const images = dry.empty([batch, ...architecture.input], 'f32');
  network.forward(tape, images, { training: true, random: new Random(0) });
  return layersOn(tape);
}

/** What the chosen tile has other than the planner's own. */
function changes({ own, chosen }: Tuned): Tile {
  const changed = Object.entries(chosen).filter(([name, value]) => own[name as keyof Tile] !== value);
  return Object.fromEntries(changed);
}

/** What was found as lines for a terminal. */
function describeTuning(found: readonly Tuned[], file: string | undefined): string {
  const rows = found.map((each) => [
    ...[each.class, describeTile(each.own), describeTile(changes(each)) || 'the same'],
    ...[each.chosen === each.own ? '' : `${each.gain.toFixed(2)} x`, `${each.timed}`],
  ]);
  const unequal = found.reduce((sum, each) => sum + each.unequal.length, 0);
  return [
    table(['shapes', 'own tile', 'chosen', 'faster', 'timed'], rows),
    ...(found.length === 0 ? ['The planner has no choice for these shapes on this adapter'] : []),
    ...(unequal > 0 ? [`${unequal} tiles were left out: this driver gives them other bits`] : []),
    file ? `Wrote ${file}` : 'There is no disk here to keep this on',
  ].join('\n');
}

function describeTile(tile: Tile): string {
  const names: Record<keyof Tile, string> = {
    family: 'loads',
    tileRows: 'rows',
    tileColumns: 'columns',
    tileGroups: 'groups',
    tilePixels: 'pixels',
    workgroup: 'workgroup',
  };
  return Object.entries(tile)
    .map(([name, value]) => `${names[name as keyof Tile]} ${value}`)
    .join(', ');
}
