import v8 from "node:v8";
import { hasRelaxedSimd } from "../../src/runtime/model.ts";

// Node 20 has relaxed SIMD behind this flag; newer engines have it anyway.
v8.setFlagsFromString("--experimental-wasm-relaxed-simd");

/** The variants of a module that this engine runs. */
export const variants: readonly boolean[] = hasRelaxedSimd() ? [false, true] : [false];
