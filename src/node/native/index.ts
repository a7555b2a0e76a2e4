import fs from "node:fs";
import path from "node:path";
import { UserError } from "../../base/errors.ts";
import type { CManifest } from "../../runtime/model.ts";
import { version } from "../../version.ts";
import { type Sink, cacheFolder, cachedLibrary, cachedWeights, forgetLibrary, keyOf, libraryName } from "./cache.ts";
import { compileLibrary, findCompiler, libraryFlags } from "./compiler.ts";
import { readFile } from "../files.ts";
import { NativeLibrary } from "./library.ts";
import { type NativeManifest, NativeModel, runsOf } from "./model.ts";
import type { Toolchain } from "./toolchain.ts";

/** A model as C. */
interface CText {
  readonly files: { readonly "model.c": string; readonly "model.h": string };
  readonly manifest: NativeManifest;
}

/** A model as C, and what computes its weights. */
export interface CSource extends CText {
  /** Hash of all that decides what is in the weights. */
  readonly weightsKey: () => string;
  readonly writeWeights: (sink: Sink, signal?: AbortSignal) => Promise<void>;
}

export interface NativeStartOptions {
  readonly threads?: number;
  /** The library records how long each launch took. */
  readonly profile?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** A started model, and what making it took. */
export interface StartedNative {
  readonly model: NativeModel;
  /** Bytes of the shared library. */
  readonly codeBytes: number;
  /** The C compiler ran; otherwise the library was in the cache. */
  readonly built: boolean;
  /** Milliseconds for the library, and for the weights and for opening the model. */
  readonly buildMs: number;
  readonly loadMs: number;
}

/**
 * Builds a model's shared library, unless the cache has it, and opens the model.
 * @throws UserError for a compiler that fails, a cache that cannot be written, and what the model's own code refuses
 */
export async function startNative(source: CSource, tools: Toolchain, options: NativeStartOptions = {}): Promise<StartedNative> {
  const cache = cacheFolder();
  const start = performance.now();
  const weights = await cachedWeights(cache, keyOf([version, source.weightsKey()]), source.manifest.weight_bytes, (sink) =>
    source.writeWeights(sink, options.signal),
  );
  return startWith(source, weights, tools, options, performance.now() - start);
}

/**
 * The same for an artifact of target `c` in a folder; its weights are used where they lie.
 * @throws UserError also for files that are missing or do not fit
 */
export async function startArtifactFolder(
  folder: string,
  manifest: CManifest,
  tools: Toolchain,
  options: NativeStartOptions = {},
): Promise<StartedNative> {
  const text = (name: string): string => new TextDecoder().decode(readFile(path.join(folder, name)));
  const files = { "model.c": text("model.c"), "model.h": text("model.h") };
  const weights = manifest.weight_bytes === 0 ? null : path.resolve(folder, manifest.weights[0]?.file ?? "model.weights.bin");
  return startWith({ files, manifest }, weights, tools, options, 0);
}

async function startWith(
  source: CText,
  weights: string | null,
  tools: Toolchain,
  options: NativeStartOptions,
  weightsMs: number,
): Promise<StartedNative> {
  const { threads = 1, profile = false, signal } = options;
  const start = performance.now();
  const { library, file, built } = await openLibrary(source, tools, cacheFolder(), profile, signal);
  signal?.throwIfAborted();
  const opened = performance.now();
  const model = new NativeModel(source.manifest, { library, file, compiler: tools.compiler.version, weights, threads });
  const loadMs = weightsMs + performance.now() - opened;
  return { model, codeBytes: fs.statSync(file).size, built, buildMs: opened - start, loadMs };
}

/** What an artifact's shared library is called on this system. */
const artifactLibraryName = process.platform === "win32" ? "model.dll" : process.platform === "darwin" ? "libmodel.dylib" : "libmodel.so";

/**
 * Builds the shared library of an artifact of target `c` in its folder. One that lay there before is gone in any case.
 * @returns its name and bytes, or why there is none: no C compiler, or one that fails
 */
export async function buildArtifactLibrary(
  folder: string,
): Promise<{ readonly file: string; readonly bytes: number } | { readonly missing: string }> {
  const library = path.join(folder, artifactLibraryName);
  fs.rmSync(library, { force: true });
  const work = `${library}.making-${process.pid}`;
  try {
    await compileLibrary(findCompiler(), path.join(folder, "model.c"), work, libraryFlags);
    fs.renameSync(work, library);
    return { file: artifactLibraryName, bytes: fs.statSync(library).size };
  } catch (e) {
    if (!(e instanceof UserError)) throw e;
    return { missing: e.message };
  } finally {
    fs.rmSync(work, { force: true });
  }
}

interface OpenedLibrary {
  readonly library: NativeLibrary;
  readonly file: string;
  readonly built: boolean;
}

async function openLibrary(
  source: CText,
  tools: Toolchain,
  cache: string,
  profile: boolean,
  signal: AbortSignal | undefined,
): Promise<OpenedLibrary> {
  const { compiler, ffi } = tools;
  const flags = [...libraryFlags, ...(profile ? ["-DTW_PROFILE"] : [])];
  const texts = Object.entries(source.files);
  const about = [compiler.version, compiler.machine, compiler.args.join(" "), process.platform, process.arch];
  const key = keyOf([...texts.flat(), ...flags, ...about]);
  const build = async (folder: string): Promise<void> => {
    for (const [name, text] of texts) fs.writeFileSync(path.join(folder, name), text);
    await compileLibrary(compiler, path.join(folder, "model.c"), path.join(folder, libraryName), flags, signal);
  };
  for (;;) {
    const { library: file, built } = await cachedLibrary(cache, key, build);
    try {
      return { library: new NativeLibrary(ffi, file, source.manifest.prefix, profile, runsOf(source.manifest)), file, built };
    } catch (e) {
      // One that was built elsewhere, for a system with other libraries: it is built again, once.
      forgetLibrary(file);
      if (built) throw e;
    }
  }
}
