/**
 * The library. This module needs nothing of Node; `src/node/index.ts`, which Node gets instead, adds files.
 */
import { pause } from "./base/abort.ts";
import { UserError } from "./base/errors.ts";
import type { ExternalDataResolver } from "./frontends/onnx/tensor.ts";
import { type ImportOptions, importSource } from "./importer.ts";
import { type CompileOptions, buildArtifact, checkOptions, featuresHere, startArtifact } from "./load.ts";
import type { Model } from "./runtime/model.ts";

export { InternalError, TilewrightError, UnsupportedError, UserError, VerifyError } from "./base/errors.ts";
export type { CompileOptions, Feature } from "./load.ts";
export { KeptTensor } from "./runtime/kept.ts";
export { Model, hasRelaxedSimd } from "./runtime/model.ts";
export type {
  Input,
  InputData,
  KeepOptions,
  KernelInfo,
  Manifest,
  ModelInfo,
  OutputTensor,
  Outputs,
  PortInfo,
  RunOptions,
  SymbolInfo,
} from "./runtime/model.ts";
export type { ScheduleDatabase, TunedSchedules } from "./schedule/database.ts";
export { parseDatabase } from "./schedule/database.ts";
export { version } from "./version.ts";

export type { ExternalDataResolver } from "./frontends/onnx/tensor.ts";
export type { SymbolOption } from "./frontends/onnx/symbols.ts";
export interface LibraryOptions extends CompileOptions {
  /** Where external data comes from; without it a model with such data is refused. */
  readonly resolver?: ExternalDataResolver;
}

/**
 * Compiles a model (ONNX, or IR text of any level, as bytes) and starts it in this process.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options; the signal's reason when aborted
 */
export async function compile(model: Uint8Array | ArrayBuffer, options: LibraryOptions = {}): Promise<Model> {
  checkOptions(options);
  if (!(model instanceof ArrayBuffer) && !ArrayBuffer.isView(model)) throw new UserError("model", `expected the model's bytes, got ${typeof model}`);
  const { signal } = options;
  await pause(signal);
  const bytes = model instanceof ArrayBuffer ? new Uint8Array(model) : new Uint8Array(model.buffer, model.byteOffset, model.byteLength);
  const source = importSource(bytes, { name: options.name ?? "model", ...pick(options) });
  await pause(signal);
  const { artifact } = buildArtifact(source, { ...options, features: featuresHere(options) });
  await pause(signal);
  return startArtifact(artifact, signal);
}

function pick(o: LibraryOptions): Pick<ImportOptions, "shapes" | "symbols" | "resolver"> {
  return {
    ...(o.shapes === undefined ? {} : { shapes: o.shapes }),
    ...(o.symbols === undefined ? {} : { symbols: o.symbols }),
    ...(o.resolver === undefined ? {} : { resolver: o.resolver }),
  };
}
