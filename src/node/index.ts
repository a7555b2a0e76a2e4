/**
 * The library as Node gets it: `compile` also takes a path, and external data is read from the model's folder.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type LibraryOptions, compile as compileBytes } from "../index.ts";
import type { Model } from "../runtime/model.ts";
import { readModel } from "./model-file.ts";
import { compileNative } from "./native/compile.ts";
import { NativeModel } from "./native/model.ts";
import { tunedSchedules } from "./tuning.ts";

export * from "../index.ts";
export { NativeModel };
export type { NativeInfo } from "./native/model.ts";

/**
 * The library's options; here a database of schedules may also be given as its file. The target `native` is C, compiled by
 * this machine's compiler and run in this process; it needs the optional package koffi.
 */
export type NodeOptions = Omit<LibraryOptions, "database" | "target"> & {
  readonly database?: LibraryOptions["database"] | string;
  readonly target?: "wasm" | "native";
};

/** A model: its bytes, or where its file is. */
export type ModelSource = Uint8Array | ArrayBuffer | string | URL;

/**
 * Compiles a model, given as bytes or as the path of its file, and starts it in this process. External data of a file is
 * read from regular files inside the file's own folder only.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options; the signal's reason when aborted
 */
export function compile(model: ModelSource, options: NodeOptions & { readonly target: "native" }): Promise<NativeModel>;
export function compile(model: ModelSource, options?: NodeOptions & { readonly target?: "wasm" }): Promise<Model>;
export function compile(model: ModelSource, options?: NodeOptions): Promise<Model | NativeModel>;
export async function compile(model: ModelSource, given: NodeOptions = {}): Promise<Model | NativeModel> {
  const { database, target, ...rest } = given;
  const options = database === undefined ? rest : { ...rest, database: typeof database === "string" ? tunedSchedules(database) : database };
  const start = (bytes: Uint8Array | ArrayBuffer, o: LibraryOptions): Promise<Model | NativeModel> =>
    target === "native" ? compileNative(bytes, o) : compileBytes(bytes, target === undefined ? o : { ...o, target });
  if (typeof model !== "string" && !(model instanceof URL)) return start(model, options);
  const file = typeof model === "string" ? model : fileURLToPath(model);
  const { bytes, resolver, close } = readModel(file);
  try {
    return await start(bytes, { resolver, name: path.parse(file).name, ...options });
  } finally {
    close();
  }
}
