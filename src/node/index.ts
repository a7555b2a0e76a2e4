/**
 * The library as Node gets it: `compile` also takes a path, and external data is read from the model's folder.
 */
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type LibraryOptions, compile as compileBytes } from "../index.ts";
import type { Model } from "../runtime/model.ts";
import { readModel } from "./model-file.ts";
import { tunedSchedules } from "./tuning.ts";

export * from "../index.ts";

/** The library's options; here a database of schedules may also be given as its file. */
export type NodeOptions = Omit<LibraryOptions, "database"> & { readonly database?: LibraryOptions["database"] | string };

/**
 * Compiles a model, given as bytes or as the path of its file, and starts it in this process. External data of a file is
 * read from regular files inside the file's own folder only.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options; the signal's reason when aborted
 */
export async function compile(model: Uint8Array | ArrayBuffer | string | URL, given: NodeOptions = {}): Promise<Model> {
  const { database, ...rest } = given;
  const options = database === undefined ? rest : { ...rest, database: typeof database === "string" ? tunedSchedules(database) : database };
  if (typeof model !== "string" && !(model instanceof URL)) return compileBytes(model, options);
  return compileFile(typeof model === "string" ? model : fileURLToPath(model), options);
}

async function compileFile(file: string, options: LibraryOptions): Promise<Model> {
  const { bytes, resolver, close } = readModel(file);
  try {
    return await compileBytes(bytes, { resolver, name: path.parse(file).name, ...options });
  } finally {
    close();
  }
}
