/**
 * `tilewright/ort` as Node gets it: models are also read from paths, with their external data; the execution provider
 * `native` runs machine code; profiles are written to files.
 */
import { writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type Host, baseName, fetchBytes, setHost } from "../ort/host.ts";
import { readModel } from "./model-file.ts";
import { compileNative } from "./native/compile.ts";
import { compile as compileApart } from "./worker.ts";

const nodeHost: Host = {
  async load(uri) {
    if (/^(https?|data|blob):/i.test(uri)) return { bytes: await fetchBytes(uri), resolver: null, name: baseName(uri), close: () => {} };
    const file = uri.startsWith("file:") ? fileURLToPath(uri) : uri;
    return { ...readModel(file), name: path.parse(file).name, path: file, reread: () => readModel(file).bytes };
  },
  processors: availableParallelism(),
  native: compileNative,
  apart: compileApart,
  write(name, text) {
    const place = path.resolve(name);
    writeFileSync(place, text);
    return place;
  },
};
setHost(nodeHost);

export * from "../ort/index.ts";
export { default } from "../ort/index.ts";
