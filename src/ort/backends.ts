import { UserError } from "../base/errors.ts";
import type { Log } from "./env.ts";
import type { Backend, InferenceSession } from "./session.ts";

/** Which backend runs a session: tilewright itself, or one that a program registered, chosen by the names of execution providers. */

interface Registered {
  readonly backend: Backend;
  readonly priority: number;
  /** The one attempt to begin. */
  started: Promise<void> | null;
}

/** Why the original's other providers are not here. */
const elsewhere = "tilewright compiles for the processor; give 'wasm' or 'cpu' after it";
const absent: Readonly<Record<string, string>> = {
  webgpu: elsewhere,
  webnn: elsewhere,
  webgl: elsewhere,
  cuda: elsewhere,
  tensorrt: elsewhere,
  dml: elsewhere,
  coreml: elsewhere,
  nnapi: elsewhere,
  qnn: elsewhere,
  xnnpack: elsewhere,
  native: "native code needs Node, a C compiler and the package koffi",
};

/** Backends by provider name. */
const registered = new Map<string, Registered>();

/**
 * Adds a backend under the name of an execution provider. Of two of one name that with the higher priority is used; one of
 * a negative priority only where it is named.
 * @throws UserError `backend` for what is no backend
 */
export function registerBackend(name: string, backend: Backend, priority: number): void {
  if (typeof backend?.init !== "function" || typeof backend.createInferenceSessionHandler !== "function")
    throw new UserError("backend", `backend '${name}': expected an object with the functions init and createInferenceSessionHandler`);
  const old = registered.get(name);
  if (old !== undefined && old.priority >= priority) return;
  registered.set(name, { backend, priority, started: null });
}

/** tilewright's own backends have the priority of the original's one for WebAssembly. */
const ownPriority = 10;

/** A backend, and the providers asked for that are its. */
export interface Resolved {
  readonly backend: Backend;
  readonly providers: readonly InferenceSession.ExecutionProviderConfig[];
}

/**
 * The backend of the first provider that there is; without any, the default one.
 * @param own tilewright's, by provider name
 * @throws UserError `provider` with the reason for each provider, where there is none
 */
export async function resolveBackend(
  providers: readonly InferenceSession.ExecutionProviderConfig[] | undefined,
  own: ReadonlyMap<string, Backend>,
  log: Log,
): Promise<Resolved> {
  const asked = providers === undefined || providers.length === 0 ? defaultNames(own) : providers;
  const found: { backend: Backend; provider: InferenceSession.ExecutionProviderConfig }[] = [];
  const missing: string[] = [];
  for (const provider of asked) {
    const name = typeof provider === "string" ? provider : provider?.name;
    if (typeof name !== "string") throw new UserError("provider", `an execution provider is a name or an object with one, got ${typeof provider}`);
    const backend = await startBackend(name, own);
    if (typeof backend === "string") missing.push(`'${name}': ${backend}`);
    else found.push({ backend, provider });
  }
  const [first] = found;
  if (first === undefined) throw new UserError("provider", `none of the execution providers is here: ${missing.join("; ")}`);
  if (asked === providers) for (const m of missing) log.warning(`leaving out the execution provider ${m}`);
  return { backend: first.backend, providers: found.filter((f) => f.backend === first.backend).map((f) => f.provider) };
}

/** Names to try where a session names none, the preferred first. */
function defaultNames(own: ReadonlyMap<string, Backend>): string[] {
  const others = [...registered].filter(([name, r]) => r.priority >= 0 && !(own.has(name) && r.priority <= ownPriority));
  const all = [...others.map(([name, r]) => ({ name, priority: r.priority })), { name: "wasm", priority: ownPriority }];
  return all.sort((a, b) => b.priority - a.priority).map((b) => b.name);
}

/** The backend, ready to be used, or why there is none. */
async function startBackend(name: string, own: ReadonlyMap<string, Backend>): Promise<Backend | string> {
  const mine = own.get(name);
  const other = registered.get(name);
  if (mine !== undefined && (other === undefined || other.priority <= ownPriority)) return mine;
  if (other === undefined) return absent[name] ?? "there is no execution provider of this name";
  try {
    other.started ??= other.backend.init(name);
    await other.started;
    return other.backend;
  } catch (e) {
    return String(e);
  }
}
