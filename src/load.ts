import type { Compiled } from "./compile.ts";
import { type Model, hasRelaxedSimd, startModel } from "./runtime/model.ts";
import { type WasmArtifact, makeArtifact } from "./targets/wasm/artifact.ts";
import { version } from "./version.ts";

export interface NamedProgram {
  readonly name: string;
  readonly sourceHash: string;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
}

/** The artifact of a compiled program, with the variants asked for. */
export function artifactOf(c: Compiled, n: NamedProgram, variants: readonly { readonly relaxed: boolean }[]): WasmArtifact {
  return makeArtifact({ sc: c.sc, program: c.program, weights: c.weights, prepare: c.prepare, version, variants, ...n });
}

/** Starts an artifact in this process, without any files. */
export async function startArtifact(a: WasmArtifact, signal?: AbortSignal): Promise<Model> {
  const i = a.manifest.modules.findIndex((m) => m.relaxed === hasRelaxedSimd());
  const chosen = i < 0 ? 0 : i;
  const module = await WebAssembly.compile(a.modules[chosen] as BufferSource);
  return startModel(a.manifest, {
    module,
    relaxed: a.manifest.modules[chosen]?.relaxed ?? false,
    threadsReason: "this version of tilewright compiles for one thread",
    writeWeights: (target) => a.writeWeights((offset, bytes) => target.set(bytes, offset), signal),
  });
}
