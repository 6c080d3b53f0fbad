import type { Command } from 'commander';
import { type Deviation, type Verification, type VerifyCheck, verify } from '../algorithms/index.ts';
import { FathomError } from '../engine/index.ts';
import { addCommand, type CommonOptions, openGpu, printResult } from './command.ts';
import { randomExamples, readExamples } from './labelled-images.ts';
import { addNetworkOptions, type NetworkChoice, prepareNetwork } from './network-options.ts';
import { startProgress } from './progress.ts';

interface VerifyOptions extends CommonOptions, NetworkChoice {
  data?: string;
}

/** Images a verification needs. */
const IMAGES = 4;
const CHECKS = 8;

export function addVerify(program: Command): void {
  const command = addCommand(program, 'verify', {
    description: "check a network's gradients, Fishers and distances on this adapter",
    example: 'verify --net resnet18 --weights mine.safetensors',
  });
  addNetworkOptions(command)
    .option('--weights <file>', "safetensors with the network's tensors (default: made-up ones)")
    .option('--data <file>', 'as for `fathom fisher`; at least four images (default: random ones)')
    .action(run);
}

async function run(options: VerifyOptions): Promise<void> {
  const { architecture, open } = await prepareNetwork(options);
  const examples = options.data
    ? await readExamples(options.data, architecture)
    : randomExamples(architecture, IMAGES);
  if (examples.index.length < IMAGES) {
    throw new FathomError({
      code: 'too-few-images',
      message: `${options.data} holds ${examples.index.length} images; a verification takes ${IMAGES}`,
      fix: `Give at least ${IMAGES} images`,
    });
  }
  using gpu = await openGpu(options);
  using network = open(gpu);
  let verification: Verification;
  {
    using progress = startProgress();
    let done = 0;
    verification = await verify(network, examples, (check) => progress.show(check, done++, CHECKS));
  }
  const document = {
    ...verification,
    adapter: gpu.opened.label,
    weights: options.weights,
    data: options.data,
  };
  printResult(options, document, () => describe(verification, gpu.opened.label));
  if (verification.ok) return;
  const failing = verification.checks.filter((check) => !check.ok).map((check) => check.name);
  throw new FathomError({
    code: 'verify-failed',
    message: `${verification.net} fails on ${gpu.opened.label}: ${failing.join('; ')}`,
    fix: 'Do not trust its Fishers here; if the network is your own, look at the parameters listed, else report this',
  });
}

/** Shapes first, then each check with its failures, then the verdict. */
function describe({ net, parameters, checks, ok }: Verification, adapter: string): string {
  const width = Math.max(...parameters.map(({ name }) => name.length));
  const shapes = parameters.map(({ name, shape }) => `  ${name.padEnd(width)}  ${shape.join(' x ')}`);
  const passed = checks.filter((check) => check.ok).length;
  return [
    `${net}: ${parameters.length} parameters`,
    ...shapes,
    ...checks.flatMap(describeCheck),
    `${ok ? 'PASSED' : 'FAILED'}: ${passed} of ${checks.length} checks of ${net} hold on ${adapter}`,
  ].join('\n');
}

function describeCheck({ name, unit, tolerance, worst, failures, ok }: VerifyCheck): string[] {
  const allowed = tolerance === 0 ? 'none allowed' : `${tolerance.toExponential(0)} allowed`;
  const amount = ({ name, error }: Deviation) => `${name}: ${error.toExponential(1)} ${unit} (${allowed})`;
  const exact = tolerance === 0 ? 'exact' : 'nothing beyond rounding';
  const found = worst && worst.error > 0 ? `at most, of ${amount(worst)}` : exact;
  return [
    `${ok ? 'ok    ' : 'FAILED'}  ${name}${ok ? `: ${found}` : ''}`,
    ...failures.map((failure) => `        ${amount(failure)}`),
  ];
}
