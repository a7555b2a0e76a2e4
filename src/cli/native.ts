import fs from "node:fs";
import path from "node:path";
import { UserError } from "../base/errors.ts";
import type { Compiled } from "../compile.ts";
import { readFile } from "../node/files.ts";
import { startArtifactFolder, startNative } from "../node/native/index.ts";
import type { NativeModel } from "../node/native/model.ts";
import { nativeSource } from "../node/native/source.ts";
import { type Toolchain, findToolchain } from "../node/native/toolchain.ts";
import type { CManifest } from "../runtime/model.ts";
import { type Loaded, type ModelFlags, Progress, debugListeners, isFolder, loadSource, note } from "./common.ts";
import { type Session, compileOptions, knownSizes, sizesOfArtifact } from "./session.ts";

/** A session with a model of target `native`. */
export interface NativeSession extends Session {
  readonly model: NativeModel;
  readonly tools: Toolchain;
  /** `main` of the level that runs; null for an artifact. */
  readonly main: Compiled["program"]["main"] | null;
  readonly loaded: Loaded | null;
}

/** Compiles a model file to native code and starts it, or an artifact of target `c`. `profile` asks for times of launches. */
export async function openNativeSession(file: string, flags: ModelFlags, profile = false): Promise<NativeSession> {
  const tools = await findToolchain();
  if (isFolder(file)) {
    if (profile) throw new UserError("profile", `${file} is an artifact; a profiling build needs the model's file`);
    return openCArtifact(file, flags, tools);
  }
  const progress = new Progress();
  try {
    const start = performance.now();
    progress.show(`reading ${file}`);
    const { target: _, ...rest } = flags;
    const loaded = loadSource(file, flags.shape);
    const options = { ...compileOptions(rest), name: loaded.name, sourceHash: loaded.hash, listeners: [progress.listener, ...debugListeners()] };
    const source = nativeSource(loaded.source, options);
    const compileMs = performance.now() - start;
    progress.show(`${tools.compiler.command}: ${(source.files["model.c"].length / 1e6).toFixed(1)} MB of C`);
    const { model, codeBytes, buildMs, loadMs } = await startNative(source, tools, { threads: flags.threads ?? 1, profile });
    progress.done();
    noteThreads(model, flags);
    const { levels } = source.compiled;
    const level = levels.find((l) => l.machine.name === model.info().level) ?? levels[0];
    return {
      model,
      tools,
      manifest: source.manifest,
      sizes: knownSizes(loaded.sizes),
      main: level?.program.main ?? null,
      loaded,
      compileMs: compileMs + buildMs,
      loadMs,
      codeBytes,
    };
  } finally {
    progress.done();
  }
}

/** Builds and opens an artifact of target `c`. */
async function openCArtifact(folder: string, flags: ModelFlags, tools: Toolchain): Promise<NativeSession> {
  const manifest = readCManifest(folder);
  const { target: _, ...rest } = flags;
  const sizes = sizesOfArtifact(folder, manifest, rest);
  const { model, codeBytes, buildMs, loadMs } = await startArtifactFolder(folder, manifest, tools, { threads: flags.threads ?? manifest.threads });
  noteThreads(model, flags);
  return { model, tools, manifest, sizes, main: null, loaded: null, compileMs: buildMs, loadMs, codeBytes };
}

/** @throws UserError `artifact` for a folder that holds none of target `c` */
function readCManifest(folder: string): CManifest {
  const file = path.join(folder, "model.json");
  const help = `make one with 'tilewright compile MODEL --target c -o ${folder}'`;
  if (!fs.existsSync(file)) throw new UserError("artifact", `${folder} holds no artifact (there is no model.json): ${help}`);
  let manifest: Partial<CManifest> | null;
  try {
    manifest = JSON.parse(new TextDecoder().decode(readFile(file))) as Partial<CManifest> | null;
  } catch (e) {
    throw new UserError("artifact", `${file} cannot be read as a manifest (${(e as Error).message}): ${help}`);
  }
  const lists = ["inputs", "outputs", "symbols", "weights", "kernels", "levels"] as const;
  if (manifest?.format === "tilewright" && (manifest.target as string) === "wasm")
    throw new UserError("target", `${folder} was compiled for target wasm, not native: leave --target out, or ${help}`);
  const whole = lists.every((k) => Array.isArray(manifest?.[k])) && /^[A-Za-z_]\w*$/.test(manifest?.prefix ?? "");
  if (manifest?.format !== "tilewright" || manifest.target !== "c" || !whole)
    throw new UserError("artifact", `${file} is not the manifest of an artifact of target c: ${help}`);
  return manifest as CManifest;
}

/** Says so when a model runs on fewer threads than were asked for. */
function noteThreads(model: NativeModel, flags: ModelFlags): void {
  const { threads, threads_reason } = model.info();
  if (flags.threads !== undefined && threads < flags.threads) note(`runs on ${threads} thread${threads === 1 ? "" : "s"}: ${threads_reason}`);
}
