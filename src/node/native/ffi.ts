import { UnsupportedError } from "../../base/errors.ts";

/** A function of a loaded library: called at once, or on a thread of its own. */
export interface ForeignFunction {
  (...args: readonly unknown[]): unknown;
  readonly async: (...args: readonly unknown[]) => void;
}
export interface ForeignLibrary {
  readonly func: (prototype: string) => ForeignFunction;
}
/** What is used of the package `koffi`; nothing but this file names it. */
export interface Ffi {
  readonly version: string;
  readonly load: (file: string) => ForeignLibrary;
  /** The address of a typed array's bytes. Nothing keeps the array alive for that. */
  readonly address: (value: ArrayBufferView) => bigint;
  /** An ArrayBuffer that is the memory at an address. */
  readonly view: (address: bigint, bytes: number) => ArrayBuffer;
  readonly config: (settings: Readonly<Record<string, number>>) => unknown;
}

/** How to get it. */
const ffiAdvice = "npm install koffi";

/** Stack of the calls that run beside JavaScript; the package's own default is small. */
const asyncStackBytes = 1 << 20;

let loaded: Promise<Ffi> | null = null;

/** The FFI package. @throws UnsupportedError `ffi` where it is not installed, or has no binary for this platform */
export function loadFfi(load: () => Promise<unknown> = importKoffi): Promise<Ffi> {
  if (load !== importKoffi) return open(load);
  loaded ??= open(load).catch((e: unknown) => {
    loaded = null;
    throw e;
  });
  return loaded;
}

async function open(load: () => Promise<unknown>): Promise<Ffi> {
  let ffi: Ffi;
  try {
    ffi = ((await load()) as { readonly default: Ffi }).default;
  } catch (e) {
    const missing = ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes((e as NodeJS.ErrnoException).code ?? "");
    const why = missing ? "is not installed" : `cannot be loaded here (${(e as Error).message.split("\n")[0]})`;
    throw new UnsupportedError(
      "ffi",
      `target 'native' loads its code through the package koffi, which ${why}: ${ffiAdvice} (it has binaries for the usual platforms). The target 'wasm' needs no such package`,
    );
  }
  try {
    ffi.config({ async_stack_size: asyncStackBytes });
  } catch {
    // The program has loaded a library already; its settings stay.
  }
  return ffi;
}

function importKoffi(): Promise<unknown> {
  // A name that bundlers do not follow: the package is optional.
  const name = "koffi";
  return import(/* webpackIgnore: true */ /* @vite-ignore */ name);
}
