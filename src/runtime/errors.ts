/**
 * Errors of a running model. They have the names and codes of the compiler's, but none of its code.
 */

/** Wrong use of a model: its message says what was got and what was expected. */
export class UserError extends Error {
  override readonly name = "UserError";
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** A fault of the compiled model itself. */
export class InternalError extends Error {
  override readonly name = "InternalError";
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
