import type { Job, JobResult } from './job.ts';

/** Keeps the results of jobs. May be shared by several processes. */
export interface Store {
  /** A job's result; undefined where there is none, or none that can be trusted. */
  get(job: Job): Promise<JobResult | undefined>;
  /** Keeps a result, whole or not at all. @throws FathomError `store-full` | `store-unwritable` */
  put(job: Job, result: JobResult): Promise<void>;
  /** Claims a job, so that no other process does it meanwhile; undefined where another has claimed it. */
  claim(job: Job): Promise<Claim | undefined>;
  /** What a job that was interrupted had kept to go on from. */
  checkpoint(job: Job): Promise<JobResult | undefined>;
  keepCheckpoint(job: Job, state: JobResult): Promise<void>;
}

export interface Claim {
  release(): Promise<void>;
}
