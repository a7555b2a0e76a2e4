import { UserError } from "../base/errors.ts";
import { mostThreads, sharedMemoryMissing } from "../runtime/threads.ts";
import { type Log, env } from "./env.ts";
import type { InferenceSession } from "./session.ts";

/** Session options as the compiler takes them; what cannot be honoured is refused, what has no meaning here is named in the log. */

type SessionOptions = InferenceSession.SessionOptions;

/** Options that are about things which tilewright does not have. */
const withoutEffect: Readonly<Partial<Record<keyof SessionOptions, string>>> = {
  interOpNumThreads: "kernels run one after the other, each on all threads",
  enableCpuMemArena: "memory is planned when the model is compiled",
  enableMemPattern: "memory is planned when the model is compiled",
  enableGraphCapture: "it is for WebGPU; the compiled model is one program already",
  logVerbosityLevel: "there is one level of verbose lines",
};
const choices: Readonly<Partial<Record<keyof SessionOptions, readonly (string | number)[]>>> = {
  graphOptimizationLevel: ["disabled", "basic", "extended", "layout", "all"],
  executionMode: ["sequential", "parallel"],
  logSeverityLevel: [0, 1, 2, 3, 4],
};
const known = new Set<string>([
  ...Object.keys(withoutEffect),
  ...Object.keys(choices),
  "executionProviders",
  "intraOpNumThreads",
  "freeDimensionOverrides",
  "optimizedModelFilePath",
  "enableProfiling",
  "profileFilePrefix",
  "logId",
  "preferredOutputLocation",
  "extra",
  "externalData",
]);

/** What the compiler is told. */
export interface Settings {
  readonly threads: number;
  readonly exact: boolean;
  readonly deterministic: boolean;
  readonly profile: boolean;
  /** Compile in a worker, so that this thread stays free. */
  readonly apart: boolean;
}

/**
 * @param processors of this machine
 * @throws UserError `option` for values that are not allowed, and for what cannot be honoured
 */
export function settingsOf(o: SessionOptions, processors: number, log: Log): Settings {
  for (const [name, allowed] of Object.entries(choices)) {
    const value = o[name as keyof SessionOptions] as string | number | undefined;
    if (value !== undefined && !allowed.includes(value)) refuse(name, `got ${String(value)}, expected one of ${allowed.join(", ")}`);
  }
  if (o.optimizedModelFilePath !== undefined)
    refuse("optimizedModelFilePath", "the compiled model is no ONNX file; 'tilewright compile MODEL -o DIR' writes it, as WebAssembly or C");
  checkLocations(o.preferredOutputLocation);
  for (const [name, why] of Object.entries(withoutEffect))
    if (o[name as keyof SessionOptions] !== undefined) log.verbose(`option ${name} has no effect: ${why}`);
  if (o.executionMode === "parallel") log.verbose(`option executionMode has no effect: ${withoutEffect.interOpNumThreads}`);
  for (const name of Object.keys(o)) if (!known.has(name)) log.verbose(`there is no option ${name}; it has no effect`);
  return {
    threads: threadsOf(o, processors, log),
    exact: o.graphOptimizationLevel === "disabled",
    deterministic: isDeterministic(o.extra, log),
    profile: o.enableProfiling ?? false,
    // The page's clock times the kernels: the two do not go together.
    apart: (env.wasm.proxy ?? false) && !(o.enableProfiling ?? false),
  };
}

function refuse(name: string, why: string): never {
  throw new UserError("option", `session option ${name}: ${why}`);
}

function checkLocations(preferred: SessionOptions["preferredOutputLocation"]): void {
  const all = typeof preferred === "object" ? Object.values(preferred) : preferred === undefined ? [] : [preferred];
  for (const location of all)
    if (location !== "cpu" && location !== "cpu-pinned")
      refuse("preferredOutputLocation", `outputs are in JavaScript's memory ('cpu'), got '${location}'; leave the option out`);
}

/** Threads asked for; otherwise half the processors, at most 4, as the original does on the web. */
function threadsOf(o: SessionOptions, processors: number, log: Log): number {
  const { intraOpNumThreads = 0 } = o;
  if (!Number.isInteger(intraOpNumThreads) || intraOpNumThreads < 0)
    refuse("intraOpNumThreads", `got ${intraOpNumThreads}, expected a whole number from 0 on`);
  const { numThreads = 0 } = env.wasm;
  if (!Number.isInteger(numThreads) || numThreads < 0)
    throw new UserError("option", `env.wasm.numThreads: got ${numThreads}, expected a whole number from 0 on`);
  logWasmFlags(log);
  const asked = intraOpNumThreads || numThreads;
  if (asked > mostThreads) log.verbose(`${asked} threads were asked for; there can be ${mostThreads}`);
  if (asked > 0) return Math.min(asked, mostThreads);
  return sharedMemoryMissing() === null ? Math.max(1, Math.min(4, Math.ceil(processors / 2))) : 1;
}

function logWasmFlags(log: Log): void {
  for (const name of ["wasmPaths", "wasmBinary", "initTimeout", "simd"] as const)
    if (env.wasm[name]) log.verbose(`env.wasm.${name} has no effect: the code is made from the model`);
}

/** Entries of the original's configuration; of them one has a meaning here. */
function isDeterministic(extra: SessionOptions["extra"], log: Log): boolean {
  let deterministic = false;
  for (const [key, value] of flattened(extra ?? {}, "")) {
    if (key === "session.use_deterministic_compute") deterministic = value === "1";
    else log.verbose(`configuration entry ${key} has no effect`);
  }
  return deterministic;
}
function flattened(o: object, prefix: string): [string, unknown][] {
  return Object.entries(o).flatMap(([k, v]) => (typeof v === "object" && v !== null ? flattened(v, `${prefix}${k}.`) : [[`${prefix}${k}`, v]]));
}
