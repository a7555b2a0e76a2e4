/**
 * The four classes of error. A message says where, what was got, what was expected, and a way out.
 * `code` is stable: scripts may match on it.
 */

/** Base of all errors thrown on purpose. */
export abstract class TilewrightError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The caller gave something unusable: a bad option, file, shape or name. */
export class UserError extends TilewrightError {
  override readonly name = "UserError";
}

/** The input is well formed, but holds things this version cannot compile. `items` lists all of them. */
export class UnsupportedError extends TilewrightError {
  override readonly name = "UnsupportedError";
  readonly items: readonly string[];
  constructor(code: string, message: string, items: readonly string[] = []) {
    super(code, items.length === 0 ? message : `${message}\n${items.map((i) => `  - ${i}`).join("\n")}`);
    this.items = items;
  }
}

/** An IR breaks its invariants; `violations` lists every one, the message shows them inside the printed IR. */
export class VerifyError extends TilewrightError {
  override readonly name = "VerifyError";
  readonly violations: readonly string[];
  constructor(code: string, message: string, violations: readonly string[]) {
    super(code, message);
    this.violations = violations;
  }
}

/** A defect of the compiler itself, or of the code that it made. */
export class InternalError extends TilewrightError {
  override readonly name = "InternalError";
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(code, `${message}\nThis is a bug in tilewright; please report it with the model or the IR above.`, options);
  }
}

/** Throws an InternalError unless `condition` holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError("invariant", message);
}
