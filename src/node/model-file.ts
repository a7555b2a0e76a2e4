import path from "node:path";
import { folderResolver } from "./external-data.ts";
import type { ExternalDataResolver } from "../frontends/onnx/import.ts";
import { readFile } from "./files.ts";

export interface ModelFile {
  readonly bytes: Uint8Array;
  /** Reads external data from the model's own folder. */
  readonly resolver: ExternalDataResolver;
  /** Closes the files of external data. */
  readonly close: () => void;
}

/** Reads a model's file. @throws UserError `file` */
export function readModel(file: string): ModelFile {
  const bytes = readFile(file);
  const resolver = folderResolver(path.dirname(path.resolve(file)));
  return { bytes, resolver, close: () => resolver.close() };
}
