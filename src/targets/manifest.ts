import type { Dim, DimSymbol } from "../base/dim.ts";
import type { Kernel, Port, Program } from "../loop/ir.ts";
import type { ModelManifest, PortInfo, SymbolInfo } from "../runtime/model.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { printExpr } from "../scalar/text.ts";
import { launchesOf } from "./launches.ts";
import type { PrepareProgram, WeightSource } from "./wasm/weights.ts";

/** What an artifact of any target is made of. */
export interface ArtifactSource {
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
  /** Keys of the outputs that are lists of maps; null, or absent for all, for tensors. */
  readonly outputLabels?: readonly (readonly (number | string)[] | null)[];
  /** Threads to run on where the caller does not say; 1 without. */
  readonly threads?: number;
  /** Additions and multiplications of one run, if they are known. */
  readonly flops?: number | null;
}

/** What the manifests of all targets say alike: the model's ports, memory plan and kernels. The weights' files come when they are written. */
export function describeProgram(a: ArtifactSource): Omit<ModelManifest, "id" | "target" | "shared_launches" | "weight_bytes"> {
  const { program } = a;
  const port =
    (names: readonly string[]) =>
    (p: Port, i: number): PortInfo => ({ name: names[i] ?? p.name, dtype: p.dtype.name, dims: p.dims.map(dimText) });
  return {
    format: "tilewright",
    version: a.version,
    name: a.name,
    threads: a.threads ?? 1,
    inputs: program.inputs.map(port(a.inputNames)),
    outputs: program.outputs.map(port(a.outputNames)).map((p, i) => withLabels(p, a.outputLabels?.[i] ?? null)),
    symbols: program.symbols.map(symbolInfo),
    data_symbols: program.dataSymbols.map((d) => symbolInfo(d.symbol)),
    faults: program.faults.map((f) => f.text),
    room_fault: program.room === null ? null : program.faults.findIndex((f) => f.room === true),
    arena_bytes: program.arenaBytes.constant === null ? null : unsigned(program.arenaBytes.constant),
    weights: [],
    kernels: kernelTable(program),
    flops: a.flops ?? null,
    buffers: memoryPlan(program),
    source_hash: a.sourceHash,
  };
}

function withLabels(p: PortInfo, labels: PortInfo["labels"] | null): PortInfo {
  return labels == null ? p : { ...p, labels };
}

function symbolInfo(s: DimSymbol): SymbolInfo {
  return { name: s.name, min: s.min, max: Number.isFinite(s.max) ? s.max : null, multiple: s.multiple };
}

function dimText(d: Dim): number | string {
  return typeof d === "number" ? d : d.toString();
}

/** Sizes up to 4 GiB are kept modulo 2^32. */
function unsigned(v: number | bigint): number {
  return Number(v) >>> 0;
}

/** The arena's buffers; sizes that depend on symbols as expressions of them. */
function memoryPlan(p: Program): ModelManifest["buffers"] {
  const size = (e: Expr): number | string => (e.constant === null ? printExpr(e) : unsigned(e.constant));
  return (p.placements ?? []).map((b) => ({ name: b.name, offset: size(b.offset), bytes: size(b.bytes) }));
}

/** Which nodes of the model each kernel serves. */
function kernelTable(p: Program): ModelManifest["kernels"] {
  const origins = new Map<Kernel, Set<string>>(p.kernels.map((k) => [k, new Set()]));
  for (const s of launchesOf(p)) for (const o of s.origin) origins.get(s.kernel)?.add(o);
  return [...origins].map(([k, o]) => ({ name: k.name, origins: [...o] }));
}
