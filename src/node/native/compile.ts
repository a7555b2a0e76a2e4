import { pause } from "../../base/abort.ts";
import { UserError } from "../../base/errors.ts";
import { type ImportOptions, importSource } from "../../importer.ts";
import type { LibraryOptions } from "../../index.ts";
import { checkOptions } from "../../load.ts";
import { startNative } from "./index.ts";
import type { NativeModel } from "./model.ts";
import { nativeSource } from "./source.ts";
import { findToolchain } from "./toolchain.ts";

/** The library's options, but for the target. */
export type NativeCompileOptions = Omit<LibraryOptions, "target">;

/**
 * Compiles a model to C, that by this machine's C compiler, and starts it in this process. What the C compiler made is kept
 * in the user's cache, so that it works once for each model.
 * @throws UserError, UnsupportedError for what is wrong with the model or the options, and where the C compiler or the FFI
 *   package is missing; the signal's reason when aborted
 */
export async function compileNative(model: Uint8Array | ArrayBuffer, options: NativeCompileOptions): Promise<NativeModel> {
  checkOptions(options);
  if (!(model instanceof ArrayBuffer) && !ArrayBuffer.isView(model)) throw new UserError("model", `expected the model's bytes, got ${typeof model}`);
  const { signal, name = "model" } = options;
  // First of all: without them the work would be for nothing.
  const tools = await findToolchain();
  await pause(signal);
  const bytes = model instanceof ArrayBuffer ? new Uint8Array(model) : new Uint8Array(model.buffer, model.byteOffset, model.byteLength);
  const source = importSource(bytes, { name, ...importOptions(options) });
  await pause(signal);
  const c = nativeSource(source, options);
  await pause(signal);
  return (await startNative(c, tools, { threads: options.threads ?? 1, signal })).model;
}

function importOptions({ shapes, symbols, resolver }: NativeCompileOptions): Omit<ImportOptions, "name"> {
  return {
    ...(shapes === undefined ? {} : { shapes }),
    ...(symbols === undefined ? {} : { symbols }),
    ...(resolver === undefined ? {} : { resolver }),
  };
}
