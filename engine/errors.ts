/** What a {@link FathomError} tells its reader. */
export interface ErrorParts {
  /** Stable machine-readable name, such as `tensor-too-large`. */
  code: string;
  /** What happened, naming the file, tensor or adapter concerned. One line, no full stop. */
  message: string;
  /** What the reader can do about it. One line, no full stop. */
  fix: string;
  cause?: unknown;
}

/** The one error type Fathom throws on purpose: what happened, why, and what to do. */
export class FathomError extends Error {
  override readonly name = 'FathomError';
  readonly code: string;
  readonly fix: string;

  constructor(parts: ErrorParts) {
    super(parts.message, { cause: parts.cause });
    this.code = parts.code;
    this.fix = parts.fix;
  }

  /** The error as one line for a terminal. */
  toLine(): string {
    return `${this.message}. ${this.fix}.`;
  }
}
