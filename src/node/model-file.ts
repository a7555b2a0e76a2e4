import type { ExternalDataResolver } from "../frontends/onnx/tensor.ts";
import { readFile } from "./files.ts";

export interface ModelFile {
  readonly bytes: Uint8Array;
  /** Reads external data from the model's own folder. */
  readonly resolver?: ExternalDataResolver;
}

/** Reads a model's file. @throws UserError `file` */
export function readModel(file: string): ModelFile {
  return { bytes: readFile(file) };
}
