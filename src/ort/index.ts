/**
 * The API of onnxruntime-common 1.30 over tilewright: programs written for onnxruntime-web run after their import is
 * changed. docs/ort.md tells what differs. Node gets `src/node/ort.ts`, which adds files and native code.
 */
import { registerBackend } from "./backends.ts";
import { env } from "./env.ts";
import { InferenceSession } from "./session.ts";
import { listSupportedBackends } from "./session-class.ts";
import { Tensor } from "./tensor.ts";
import { TRACE, TRACE_EVENT_BEGIN, TRACE_EVENT_END, TRACE_FUNC_BEGIN, TRACE_FUNC_END } from "./trace.ts";

export { InternalError, TilewrightError, UnsupportedError, UserError, VerifyError } from "../base/errors.ts";
export { registerBackend } from "./backends.ts";
export type { Env } from "./env.ts";
export { env } from "./env.ts";
export * from "./session.ts";
export { listSupportedBackends } from "./session-class.ts";
export * from "./tensor.ts";
export * from "./trace.ts";

/** All of it as one object: for `import ort from "tilewright/ort"`. */
export default {
  InferenceSession,
  Tensor,
  env,
  registerBackend,
  listSupportedBackends,
  TRACE,
  TRACE_FUNC_BEGIN,
  TRACE_FUNC_END,
  TRACE_EVENT_BEGIN,
  TRACE_EVENT_END,
};
