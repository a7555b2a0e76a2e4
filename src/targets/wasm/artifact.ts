import type { Kernel } from "../../loop/ir.ts";
import type { MemoryPlan } from "../../runtime/memory.ts";
import type { Manifest } from "../../runtime/model.ts";
import { type ArtifactSource, describeProgram } from "../manifest.ts";
import type { WasmFunction } from "./encoder.ts";
import { maximumPages, planModelMemory } from "./memory.ts";
import { emitModule, sharedLaunches, weightsBase } from "./module.ts";
import { sealModules } from "./seal.ts";
import { type WeightSink, weightBytes, writeWeights } from "./weights.ts";

/** A compiled model before it is written or started. */
export interface WasmArtifact {
  readonly manifest: Manifest;
  /** The modules, in the manifest's order. */
  readonly modules: readonly Uint8Array[];
  /** Computes the weights. */
  readonly writeWeights: (sink: WeightSink, signal?: AbortSignal) => Promise<void>;
}

/** One of an artifact's modules: with relaxed SIMD or without, with memory that threads share or without. */
export interface Variant {
  readonly relaxed: boolean;
  readonly shared?: boolean;
}

export interface ArtifactInput extends ArtifactSource {
  readonly variants: readonly Variant[];
  /** Modules whose main calls `env.clock` after every launch. */
  readonly profile?: boolean;
  /** Without it as much as the program needs, and room to keep outputs. */
  readonly memory?: MemoryPlan;
}

/** Emits the modules and describes them. */
export function makeArtifact(a: ArtifactInput): WasmArtifact {
  const { sc } = a;
  const { movable } = a.program;
  const program = movable === undefined ? a.program : { ...a.program, main: movable.main };
  const bytes = weightBytes(program);
  const memory = a.memory ?? planModelMemory(sc, program, { threads: a.threads ?? 1 });
  // Modules that differ only in their memory have the same kernels.
  const code = { plain: new Map<Kernel, WasmFunction>(), relaxed: new Map<Kernel, WasmFunction>() };
  const emitted = a.variants.map((v) =>
    emitModule(sc, [{ program, prefix: "", ports: movable?.ports ?? [] }], {
      relaxed: v.relaxed,
      shared: v.shared ?? false,
      weightBytes: bytes,
      maximum: maximumPages(memory, weightsBase + bytes, v.shared ?? false),
      profile: a.profile ?? false,
      kernels: v.relaxed ? code.relaxed : code.plain,
    }),
  );
  const { id, modules } = sealModules(emitted, a.variants);
  const manifest: Manifest = {
    ...describeProgram(a),
    id,
    target: "wasm",
    shared_launches: sharedLaunches(program).length,
    weights_base: weightsBase,
    movable_ports: movable !== undefined,
    growths: (movable === undefined ? [] : (a.program.growths ?? [])).map(({ input, output, dim }) => ({ input, output, dim })),
    weight_bytes: bytes,
    memory,
    sharded: false,
    modules: a.variants.map((v, i) => ({
      file: `model${v.relaxed ? ".relaxed" : ""}${v.shared ? ".mt" : ""}.wasm`,
      relaxed: v.relaxed,
      shared: v.shared ?? false,
      bytes: modules[i]?.length ?? 0,
    })),
  };
  return { manifest, modules, writeWeights: (sink, signal) => writeWeights(sc, program, a.weights, a.prepare, sink, signal) };
}
