import { Profiler } from '../engine/index.ts';
import { percent, table } from './command.ts';
import { checkWritable, writeOutput } from './files.ts';

const KERNELS = 10;

/** What `--profile` asks for: a trace of the command in a file, written at its end. */
export class Profile {
  readonly profiler = new Profiler();

  private constructor(private readonly file: string) {}

  /** Begins a profile once it is sure that the file can be made. @throws FathomError `unwritable` */
  static async start(file: string): Promise<Profile> {
    await checkWritable(file);
    return new Profile(file);
  }

  /**
   * Writes the trace.
   * @returns what to tell people: where it is, and the kernels that took most of the GPU's time
   * @throws FathomError `unwritable`
   */
  async write(): Promise<string> {
    const trace = await this.profiler.trace();
    await writeOutput(this.file, JSON.stringify(trace));
    const where = `Wrote the profile ${this.file}; ui.perfetto.dev opens it`;
    const { devices } = trace.otherData;
    const kernels = await this.profiler.kernels();
    if (kernels.length === 0) {
      return devices.some(({ note }) => note)
        ? `${where}. The adapter has no timestamps: the host's side only`
        : where;
    }
    const rows = kernels
      .slice(0, KERNELS)
      .map(({ name, calls, milliseconds, share }) => [
        name,
        `${calls}`,
        milliseconds.toFixed(2),
        percent(share),
      ]);
    const left = kernels.length - rows.length;
    return [
      table(['kernel', 'calls', 'ms on the GPU', 'share'], rows),
      ...(left > 0 ? [`and ${left} more`] : []),
      where,
    ].join('\n');
  }
}
