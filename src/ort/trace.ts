import { env } from "./env.ts";

/** Marks for the time line of an engine's developer tools, which backends of others set; only where `env.trace` is true. */

function mark(text: string): void {
  if (env.trace ?? env.wasm.trace) console.timeStamp(text);
}
export function TRACE(deviceType: string, label: string): void {
  mark(`${deviceType}::ORT::${label}`);
}
export function TRACE_FUNC_BEGIN(extraMsg = ""): void {
  mark(`FUNC_BEGIN ${extraMsg}`);
}
export function TRACE_FUNC_END(extraMsg = ""): void {
  mark(`FUNC_END ${extraMsg}`);
}
export function TRACE_EVENT_BEGIN(extraMsg = ""): void {
  mark(`EVENT_BEGIN ${extraMsg}`);
}
export function TRACE_EVENT_END(extraMsg = ""): void {
  mark(`EVENT_END ${extraMsg}`);
}
