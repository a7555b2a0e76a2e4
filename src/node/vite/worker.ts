/**
 * The script of the thread that compiles for the plugin, so that a development server goes on answering meanwhile. What it
 * does for a model that is in the cache needs little; the compiler is loaded only for one that is not.
 */
import fs from "node:fs";
import path from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { TilewrightError } from "../../base/errors.ts";
import { type CacheKey, folderOf, freshName, isComplete, keyOf, recordExternal, recordedExternal, touch } from "./cache.ts";
import type { Request } from "./options.ts";

/** What the thread is to do. */
export interface Work {
  readonly file: string;
  readonly request: Request;
  /** The folder of all artifacts. */
  readonly cache: string;
}

/** What the thread says; the last is `done` or `failed`. `files` are those of external data that the model reads. */
export type News =
  | { readonly kind: "step"; readonly text: string }
  | ({ readonly kind: "done"; readonly files: readonly string[] } & Done)
  | { readonly kind: "failed"; readonly files: readonly string[]; readonly name: string; readonly code: string; readonly message: string };

export interface Done {
  /** The folder of the artifact. */
  readonly folder: string;
  /** What is said of a model that was compiled; null for one from the cache. */
  readonly text: string | null;
}

const say = (news: News) => parentPort?.postMessage(news);

async function work({ file, request, cache }: Work): Promise<void> {
  const external = new Set<string>();
  const files = () => [...external].map((name) => path.resolve(path.dirname(file), name));
  try {
    const done = await artifactOf(file, request, cache, external);
    say({ kind: "done", files: files(), ...done });
  } catch (e) {
    say({ kind: "failed", files: files(), ...failure(e) });
  }
}

async function artifactOf(file: string, request: Request, cache: string, external: Set<string>): Promise<Done> {
  for (;;) {
    const start = Date.now();
    const key = keyOf(file, request);
    const known = recordedExternal(cache, key);
    const found = known === null ? null : folderOf(cache, key, file, known);
    if (known !== null && found !== null && isComplete(found)) {
      for (const name of known) external.add(name);
      touch(cache, found);
      return { folder: found, text: null };
    }
    const step = (text: string) => say({ kind: "step", text });
    step("reading");
    const made = path.join(cache, freshName(key.base));
    const { compileToFolder } = await import("./compile.ts");
    const text = await compileToFolder({ file, request, modelHash: key.modelHash, folder: made, external, step });
    const changed =
      keyOf(file, request).base !== key.base || [...external].some((name) => changedSince(start, path.resolve(path.dirname(file), name)));
    if (!changed) {
      recordExternal(cache, key, [...external]);
      return { folder: moveIn(cache, key, file, [...external], made), text };
    }
    // What was made is of something between the old files and the new ones.
    fs.rmSync(made, { recursive: true, force: true });
    external.clear();
  }
}

/** A time to come is that of another clock, and tells nothing. */
function changedSince(time: number, file: string): boolean {
  const mtime = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? time;
  return mtime >= time && mtime <= Date.now();
}

/** Moves a new artifact to its place; where another process was quicker, its artifact is taken. */
function moveIn(cache: string, key: CacheKey, file: string, external: readonly string[], made: string): string {
  const folder = folderOf(cache, key, file, external) ?? path.join(cache, key.base);
  try {
    fs.renameSync(made, folder);
  } catch (e) {
    fs.rmSync(made, { recursive: true, force: true });
    if (!isComplete(folder)) throw e;
  }
  touch(cache, folder);
  return folder;
}

/** The errors of this compiler in their own words, others with the place where they were thrown. */
function failure(e: unknown): { readonly name: string; readonly code: string; readonly message: string } {
  if (e instanceof TilewrightError) return { name: e.name, code: e.code, message: e.message };
  return { name: "Error", code: "internal", message: e instanceof Error ? (e.stack ?? e.message) : String(e) };
}

if (parentPort !== null) void work(workerData as Work);
