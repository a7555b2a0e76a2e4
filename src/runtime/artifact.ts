import { UserError } from "./errors.ts";
import { type Manifest, type Model, type StartOptions, hasRelaxedSimd, startModel, threadsMissing } from "./model.ts";
import { mostThreads, sharedMemoryMissing } from "./threads.ts";

/** What an artifact's `load` takes. */
export interface LoadOptions {
  /** Threads wanted; `model.info()` tells how many there are and why not more. */
  readonly threads?: number;
  /** The weights, or where they are; of a sharded artifact all pieces in one, or the folder they are in. */
  readonly weights?: ArrayBuffer | Uint8Array | URL;
  /** One of the artifact's modules, where it is imported statically. */
  readonly wasm?: WebAssembly.Module;
}

/** A module and of which kind it is. */
type ChosenModule = Pick<StartOptions, "module" | "relaxed" | "shared">;

/**
 * Loads an artifact from the folder (a URL that ends in a slash) that it lies in.
 * @throws UserError for files that are missing or do not fit, and options that are wrong
 */
export async function loadArtifact(manifest: Manifest, folder: URL, options: LoadOptions = {}): Promise<Model> {
  const threads = options.threads ?? manifest.threads;
  if (!Number.isInteger(threads) || threads < 1 || threads > mostThreads)
    throw new UserError("threads", `threads must be a whole number from 1 to ${mostThreads}, got ${threads}`);
  const missing = threadsMissing(manifest);
  const found = options.wasm === undefined ? await loadModule(manifest, folder, threads > 1 && missing === null) : kindOf(options.wasm);
  const single =
    options.wasm === undefined
      ? "the artifact has no module for threads: compile it with --features simd,relaxed,mt"
      : "the given module was compiled for one thread: give one of the .mt.wasm files";
  return startModel(manifest, {
    ...found,
    writeWeights: (target) => readWeights(manifest, folder, options.weights, target),
    threads,
    threadsMissing: missing ?? (found.shared ? null : single),
  });
}

/** The kind of a module that was given: told by other custom sections. */
function kindOf(module: WebAssembly.Module): ChosenModule {
  const has = (section: string) => WebAssembly.Module.customSections(module, section).length > 0;
  const shared = has("tilewright.mt");
  const missing = shared ? sharedMemoryMissing() : null;
  if (missing !== null) throw new UserError("engine", `the given module was compiled for threads, but ${missing}`);
  return { module, relaxed: has("tilewright.relaxed"), shared };
}

async function loadModule(manifest: Manifest, folder: URL, shared: boolean): Promise<ChosenModule> {
  const relaxedHere = hasRelaxedSimd();
  const usable = manifest.modules.filter((m) => (!m.relaxed || relaxedHere) && (!m.shared || shared));
  const best = (list: Manifest["modules"]) => list.find((m) => m.relaxed) ?? list[0];
  const chosen = best(usable.filter((m) => m.shared)) ?? best(usable);
  if (chosen === undefined)
    throw new UserError(
      "engine",
      "this artifact has only a module with relaxed SIMD, which this engine does not take; compile it with --features simd",
    );
  const bytes = new Uint8Array(chosen.bytes);
  await readInto(new URL(chosen.file, folder), bytes);
  return { module: await WebAssembly.compile(bytes), relaxed: chosen.relaxed, shared: chosen.shared };
}

async function readWeights(manifest: Manifest, folder: URL, given: LoadOptions["weights"], target: Uint8Array): Promise<void> {
  const total = manifest.weights.reduce((n, w) => n + w.bytes, 0);
  if (total !== target.length) throw new UserError("weights", `the manifest's weights have ${total} bytes, expected ${target.length}`);
  if (given !== undefined && !(given instanceof URL)) {
    const bytes = given instanceof Uint8Array ? given : new Uint8Array(given);
    if (bytes.length !== total) throw new UserError("weights", `the given weights have ${bytes.length} bytes, expected ${total}`);
    target.set(bytes);
    return;
  }
  let at = 0;
  for (const w of manifest.weights) {
    const single = given !== undefined && manifest.weights.length === 1 && !given.pathname.endsWith("/");
    await readInto(single ? given : new URL(w.file, given ?? folder), target.subarray(at, at + w.bytes));
    at += w.bytes;
  }
}

/** Reads a whole file, which must have exactly the target's length, without a second copy of it. */
async function readInto(url: URL, target: Uint8Array): Promise<void> {
  const wrong = (got: string) =>
    new UserError("artifact", `${url}: expected ${target.length} bytes, got ${got}: the file is damaged, or belongs to another build`);
  if (url.protocol === "file:") {
    const name = "node:fs/promises";
    const fs = (await import(/* webpackIgnore: true */ /* @vite-ignore */ name)) as typeof import("node:fs/promises");
    const file = await fs.open(url).catch((e: Error) => {
      throw new UserError("artifact", `${url.pathname}: cannot be read (${e.message})`);
    });
    try {
      const { size } = await file.stat();
      if (size !== target.length) throw wrong(String(size));
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(target, at, Math.min(size - at, 1 << 26), at);
        if (bytesRead === 0) throw wrong(String(at));
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
    return;
  }
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new UserError("artifact", `${url}: ${response.status} ${response.statusText}`);
  let at = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > target.length) throw wrong("more");
    target.set(value, at);
    at += value.length;
  }
  if (at !== target.length) throw wrong(String(at));
}
