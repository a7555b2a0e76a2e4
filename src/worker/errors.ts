import { InternalError, TilewrightError, UnsupportedError, UserError, VerifyError } from "../base/errors.ts";
import type { ErrorInfo } from "./protocol.ts";

/** An error as data, which another thread can make an error of again. */
export function errorInfo(e: unknown): ErrorInfo {
  if (!(e instanceof Error)) return { name: "Error", code: "", message: String(e), items: [] };
  // Errors of the runtime have codes too, but a class of their own.
  const code = e instanceof TilewrightError ? e.code : ((e as { readonly code?: unknown }).code ?? "");
  const items = e instanceof UnsupportedError ? e.items : e instanceof VerifyError ? e.violations : [];
  return { name: e.name, code: typeof code === "string" ? code : "", message: e.message, items };
}

/** The error that was told of: of one of our classes where it was of one. */
export function errorOf({ name, code, message, items }: ErrorInfo): Error {
  switch (name) {
    case "UserError":
      return new UserError(code, message);
    case "UnsupportedError":
      return withMessage(new UnsupportedError(code, "", items), message);
    case "VerifyError":
      return new VerifyError(code, message, items);
    case "InternalError":
      return withMessage(new InternalError(code, ""), message);
    case "AbortError":
      return new DOMException(message, name);
    default: {
      const e = new Error(message);
      e.name = name;
      return e;
    }
  }
}

/** The constructor would add to the message, which has that already. */
function withMessage<E extends Error>(e: E, message: string): E {
  e.message = message;
  return e;
}
