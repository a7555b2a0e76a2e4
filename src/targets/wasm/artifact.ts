import type { Dim } from "../../base/dim.ts";
import type { Kernel, Program } from "../../loop/ir.ts";
import type { Manifest, PortInfo } from "../../runtime/model.ts";
import type { Expr } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { printExpr } from "../../scalar/text.ts";
import type { WasmFunction } from "./encoder.ts";
import { emitModule, sharedLaunches, weightsBase } from "./module.ts";
import { sealModules } from "./seal.ts";
import { type PrepareProgram, type WeightSink, type WeightSource, weightBytes, writeWeights } from "./weights.ts";

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

export interface ArtifactInput {
  readonly sc: Scalars;
  readonly program: Program;
  readonly weights: readonly WeightSource[];
  readonly prepare: readonly PrepareProgram[];
  readonly name: string;
  readonly version: string;
  readonly sourceHash: string;
  /** Names of the ports as the model's user knows them. */
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly variants: readonly Variant[];
  /** Threads to run on where the caller does not say; 1 without. */
  readonly threads?: number;
  /** Additions and multiplications of one run, if they are known. */
  readonly flops?: number | null;
  /** Modules whose main calls `env.clock` after every launch. */
  readonly profile?: boolean;
}

/** Emits the modules and describes them. */
export function makeArtifact(a: ArtifactInput): WasmArtifact {
  const { program, sc } = a;
  const bytes = weightBytes(program);
  // Modules that differ only in their memory have the same kernels.
  const code = { plain: new Map<Kernel, WasmFunction>(), relaxed: new Map<Kernel, WasmFunction>() };
  const emitted = a.variants.map((v) =>
    emitModule(sc, [{ program, prefix: "" }], {
      relaxed: v.relaxed,
      shared: v.shared ?? false,
      weightBytes: bytes,
      profile: a.profile ?? false,
      kernels: v.relaxed ? code.relaxed : code.plain,
    }),
  );
  const { id, modules } = sealModules(emitted, a.variants);
  const port =
    (names: readonly string[]) =>
    (p: Program["inputs"][0], i: number): PortInfo => ({ name: names[i] ?? p.name, dtype: p.dtype.name, dims: p.dims.map(dimText) });
  const manifest: Manifest = {
    format: "tilewright",
    version: a.version,
    id,
    name: a.name,
    target: "wasm",
    threads: a.threads ?? 1,
    shared_launches: sharedLaunches(program).length,
    inputs: program.inputs.map(port(a.inputNames)),
    outputs: program.outputs.map(port(a.outputNames)),
    symbols: program.symbols.map((s) => ({ name: s.name, min: s.min, max: Number.isFinite(s.max) ? s.max : null, multiple: s.multiple })),
    weights_base: weightsBase,
    weight_bytes: bytes,
    arena_bytes: program.arenaBytes.constant === null ? null : Number(program.arenaBytes.constant),
    modules: a.variants.map((v, i) => ({
      file: `model${v.relaxed ? ".relaxed" : ""}${v.shared ? ".mt" : ""}.wasm`,
      relaxed: v.relaxed,
      shared: v.shared ?? false,
      bytes: modules[i]?.length ?? 0,
    })),
    weights: [],
    kernels: kernelTable(program),
    flops: a.flops ?? null,
    buffers: memoryPlan(program),
    source_hash: a.sourceHash,
  };
  return { manifest, modules, writeWeights: (sink, signal) => writeWeights(sc, program, a.weights, a.prepare, sink, signal) };
}

function dimText(d: Dim): number | string {
  return typeof d === "number" ? d : d.toString();
}

/** The arena's buffers; sizes that depend on symbols as expressions of them. */
function memoryPlan(p: Program): Manifest["buffers"] {
  const size = (e: Expr): number | string => (e.constant === null ? printExpr(e) : Number(e.constant));
  return (p.placements ?? []).map((b) => ({ name: b.name, offset: size(b.offset), bytes: size(b.bytes) }));
}

/** Which nodes of the model each kernel serves. */
function kernelTable(p: Program): Manifest["kernels"] {
  const origins = new Map<Kernel, Set<string>>(p.kernels.map((k) => [k, new Set()]));
  for (const s of p.main) if (s.kind === "launch") for (const o of s.origin) origins.get(s.kernel)?.add(o);
  return [...origins].map(([k, o]) => ({ name: k.name, origins: [...o] }));
}
