import path from "node:path";
import { UserError } from "../base/errors.ts";
import { type Built, type BuildOptions, type CompileOptions, buildArtifact, featuresHere, startArtifact } from "../load.ts";
import { artifactFiles } from "../node/artifact.ts";
import { readFile } from "../node/files.ts";
import type { KnownSizes } from "../data/inputs.ts";
import { tunedSchedules } from "../node/tuning.ts";
import { loadArtifact } from "../runtime/artifact.ts";
import type { Manifest, Model, ModelManifest } from "../runtime/model.ts";
import { type Loaded, type ModelFlags, Progress, type Sizes, debugListeners, isFolder, loadSource, note, parseSizes } from "./common.ts";

/** A model that runs in this process, compiled for it or loaded from an artifact. */
export interface Session {
  readonly model: Pick<Model, keyof Model>;
  readonly manifest: ModelManifest;
  readonly sizes: KnownSizes;
  readonly compileMs: number;
  readonly loadMs: number;
  /** Of the module or library that runs. */
  readonly codeBytes: number;
}

/** A session with a model of target `wasm`. */
export interface WasmSession extends Session {
  /** Null for an artifact. */
  readonly built: Built | null;
  readonly loaded: Loaded | null;
}

/** The library's options from the command line's. */
export function compileOptions(flags: ModelFlags): CompileOptions {
  return {
    ...(flags.target === undefined ? {} : { target: flags.target as "wasm" }),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.deterministic === undefined ? {} : { deterministic: flags.deterministic }),
    ...(flags.exact === undefined ? {} : { exact: flags.exact }),
    ...(flags.maxMemory === undefined ? {} : { maxMemory: flags.maxMemory }),
    ...(flags.keptMemory === undefined ? {} : { keptMemory: flags.keptMemory }),
    ...(flags.features === undefined ? {} : { features: flags.features }),
    ...(flags.db === undefined ? {} : { database: tunedSchedules(flags.db, note) }),
  };
}

/** Compiles a model file for this process, or loads an artifact's folder. `clock` asks for a profiling build. */
export async function openSession(file: string, flags: ModelFlags, clock?: (launch: number) => void): Promise<WasmSession> {
  if (isFolder(file)) {
    if (clock !== undefined) throw new UserError("profile", `${file} is an artifact; a profiling build needs the model's file`);
    return openArtifact(file, flags);
  }
  const progress = new Progress();
  try {
    const start = performance.now();
    progress.show(`reading ${file}`);
    const loaded = loadSource(file, flags.shape);
    const options: BuildOptions = {
      ...compileOptions(flags),
      name: loaded.name,
      listeners: [progress.listener, ...debugListeners()],
      profile: clock !== undefined,
    };
    const built = buildArtifact(loaded.source, { ...options, features: featuresHere(options) });
    const compiled = performance.now();
    progress.show("weights");
    const model = await startArtifact(built.artifact, undefined, clock);
    progress.done();
    noteThreads(model, flags);
    const { manifest } = built.artifact;
    const sizes = knownSizes(loaded.sizes);
    return {
      model,
      manifest,
      sizes,
      built,
      loaded,
      compileMs: compiled - start,
      loadMs: performance.now() - compiled,
      codeBytes: moduleOf(manifest, model)?.bytes ?? 0,
    };
  } finally {
    progress.done();
  }
}

/** Says so when a model runs on fewer threads than were asked for. */
function noteThreads(model: Model, flags: ModelFlags): void {
  const { threads, threads_reason } = model.info();
  if (flags.threads !== undefined && threads < flags.threads) note(`runs on ${threads} thread${threads === 1 ? "" : "s"}: ${threads_reason}`);
}

/** The module that runs. */
function moduleOf(m: Manifest, model: Model): Manifest["modules"][number] | undefined {
  const { relaxed_simd, shared_memory } = model.info();
  return m.modules.find((x) => x.relaxed === relaxed_simd && x.shared === shared_memory);
}

export function knownSizes(s: Sizes): KnownSizes {
  return { shapes: s.shapes, symbols: new Map(Object.entries(s.symbols).filter((e): e is [string, number] => typeof e[1] === "number")) };
}

/** The sizes that the options give for an artifact. @throws UserError for options that do not fit it */
export function sizesOfArtifact(folder: string, manifest: ModelManifest, flags: ModelFlags): KnownSizes {
  for (const k of ["deterministic", "exact", "maxMemory", "keptMemory", "features", "db"] as const) {
    if (flags[k] !== undefined)
      throw new UserError(
        "option",
        `${folder} is compiled already: --${k.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} belongs to 'tilewright compile'`,
      );
  }
  if (flags.target !== undefined && flags.target !== manifest.target)
    throw new UserError("target", `${folder} was compiled for target ${manifest.target}, not ${flags.target}`);
  const sizes = parseSizes(
    flags.shape ?? [],
    manifest.inputs.map((p) => p.name),
  );
  const names = [...manifest.inputs, ...manifest.symbols].map((x) => x.name);
  const unknown = [...Object.keys(sizes.shapes), ...Object.keys(sizes.symbols)].find((k) => !names.includes(k));
  if (unknown !== undefined)
    throw new UserError("shape", `a size was given for '${unknown}', but ${folder} has no such input or symbol; it has ${names.join(", ")}`);
  return knownSizes(sizes);
}

async function openArtifact(folder: string, flags: ModelFlags): Promise<WasmSession> {
  const start = performance.now();
  const manifest = readManifest(folder);
  const sizes = sizesOfArtifact(folder, manifest, flags);
  const model = await loadArtifact(manifest, artifactFiles(folder), flags.threads === undefined ? {} : { threads: flags.threads });
  noteThreads(model, flags);
  const module = moduleOf(manifest, model);
  return {
    model,
    manifest,
    sizes,
    built: null,
    loaded: null,
    compileMs: 0,
    loadMs: performance.now() - start,
    codeBytes: module?.bytes ?? 0,
  };
}

/** @throws UserError `artifact` for a folder that holds none, or one of another version */
function readManifest(folder: string): Manifest {
  const file = path.join(folder, "model.json");
  let manifest: Partial<Manifest> | null;
  try {
    manifest = JSON.parse(new TextDecoder().decode(readFile(file))) as Partial<Manifest> | null;
  } catch (e) {
    throw new UserError("artifact", `${folder} holds no artifact: ${(e as Error).message}; make one with 'tilewright compile MODEL -o ${folder}'`);
  }
  if (manifest?.format === "tilewright" && (manifest.target as string) === "c")
    throw new UserError("target", `${folder} was compiled for target c: run it with --target native`);
  const lists = ["inputs", "outputs", "symbols", "modules", "weights", "kernels"] as const;
  if (manifest?.format !== "tilewright" || !lists.every((k) => Array.isArray(manifest[k])))
    throw new UserError("artifact", `${file} is not the manifest of an artifact`);
  if (typeof manifest.memory !== "object")
    throw new UserError(
      "artifact",
      `${folder} was compiled by tilewright ${manifest.version}, before artifacts said how much memory they take: compile the model again`,
    );
  return manifest as Manifest;
}
