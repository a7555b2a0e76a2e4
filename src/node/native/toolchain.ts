import { type CCompiler, findCompiler } from "./compiler.ts";
import { type Ffi, loadFfi } from "./ffi.ts";

/** What it takes to build and load native code here. */
export interface Toolchain {
  readonly compiler: CCompiler;
  readonly ffi: Ffi;
}

/**
 * Finds the C compiler and the FFI package.
 * @throws UserError `compiler` where no compiler is found, UnsupportedError `ffi` where the package is missing
 */
export async function findToolchain(): Promise<Toolchain> {
  return { compiler: findCompiler(), ffi: await loadFfi() };
}
