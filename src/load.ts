import type { Capabilities } from "./base/machine.ts";
import { UnsupportedError, UserError } from "./base/errors.ts";
import { Trace, type TraceListener } from "./base/trace.ts";
import {
  type Compiled,
  type PassLists,
  type PipelineOptions,
  compileGraph,
  compileTensor,
  defaultPasses,
  mapKernels,
  withKernels,
} from "./compile.ts";
import { countFlops } from "./graph/flops.ts";
import type { SymbolOption } from "./frontends/onnx/symbols.ts";
import type { Source } from "./importer.ts";
import type { Kernel, Program } from "./loop/ir.ts";
import { planMemory } from "./loop/passes/plan-memory.ts";
import { printProgram } from "./loop/print.ts";
import { checkMemoryOptions, planMemoryWithin } from "./memory.ts";
import type { MemoryPlan } from "./runtime/memory.ts";
import { type Manifest, type Model, hasRelaxedSimd, startModel, threadsMissing } from "./runtime/model.ts";
import { mostThreads, sharedMemoryMissing } from "./runtime/threads.ts";
import type { Scalars } from "./scalar/scalars.ts";
import { type TunedSchedules, machineIdFor } from "./schedule/database.ts";
import { type Variant, type WasmArtifact, makeArtifact } from "./targets/wasm/artifact.ts";
import { wasmMachine } from "./targets/wasm/machine.ts";
import { version } from "./version.ts";

/** The variants of a module: without and with relaxed SIMD; `mt`: also with memory that threads share. */
export type Feature = "simd" | "relaxed" | "mt";
const features: readonly Feature[] = ["simd", "relaxed", "mt"];

/** How a model is compiled. */
export interface CompileOptions {
  /** Only `wasm` in this version. */
  readonly target?: "wasm";
  /** Threads to run on, 1 by default; `load` of an artifact can ask for others. Results do not depend on their number. */
  readonly threads?: number;
  /** Fixes inputs' shapes, by input name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  /** Fixes or bounds symbolic dims, by name. */
  readonly symbols?: Readonly<Record<string, SymbolOption>>;
  /** No algebraic change of an algorithm. */
  readonly exact?: boolean;
  /** The same bits on every engine: no relaxed operations. */
  readonly deterministic?: boolean;
  /** Fail when more bytes of memory are planned than this, the threads' and those for kept tensors included. */
  readonly maxMemory?: number;
  /**
   * Bytes for tensors that `run` keeps inside, all at a time. Without it there is room for all outputs twice, at their largest
   * sizes, or as much as the engine gives where those have no bound.
   */
  readonly keptMemory?: number;
  /** Modules to make; all by default. */
  readonly features?: readonly Feature[];
  /** Schedules that `tilewright tune` found; without it all are the default ones. */
  readonly database?: TunedSchedules;
  /** Looked at between the phases of compilation. */
  readonly signal?: AbortSignal;
  readonly name?: string;
}

/** What the tools set besides. */
export interface BuildOptions extends CompileOptions {
  readonly listeners?: readonly TraceListener[];
  readonly passes?: PassLists;
  /** Modules for profiling: main calls a clock after every launch. */
  readonly profile?: boolean;
  readonly sourceHash?: string;
}

export interface Built {
  readonly artifact: WasmArtifact;
  readonly compiled: Compiled;
}

export interface NamedProgram {
  readonly name: string;
  readonly sourceHash: string;
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly outputLabels?: readonly (readonly (number | string)[] | null)[];
  readonly flops?: number | null;
  readonly profile?: boolean;
  readonly threads?: number;
  readonly memory?: MemoryPlan;
}

/** @throws UnsupportedError, UserError for options that this version does not have or that contradict one another */
export function checkOptions(o: CompileOptions): void {
  if (o.target !== undefined && o.target !== "wasm")
    throw new UnsupportedError(
      "target",
      `there is no target '${o.target}' here; there are: wasm, c (commands compile and ir), native (commands run and bench, and the library in Node)`,
    );
  if (o.threads !== undefined && (!Number.isInteger(o.threads) || o.threads < 1 || o.threads > mostThreads))
    throw new UserError("threads", `threads must be a whole number from 1 to ${mostThreads}, got ${o.threads}`);
  for (const f of o.features ?? [])
    if (!features.includes(f)) throw new UserError("features", `unknown feature '${f}'; there are: ${features.join(", ")}`);
  if (o.features?.every((f) => f === "mt"))
    throw new UserError(
      "features",
      `neither 'simd' nor 'relaxed' was chosen ('mt' makes a second module of each); there are: ${features.join(", ")}`,
    );
  if (o.deterministic && o.features?.includes("relaxed"))
    throw new UserError("features", "relaxed SIMD is not deterministic: leave out either 'relaxed' or deterministic");
  checkMemoryOptions(o);
}

/** Which modules are made. */
function variantsOf(o: CompileOptions): Variant[] {
  const asked = new Set(o.features ?? features.filter((f) => f !== "relaxed" || !o.deterministic));
  const single = features.filter((f) => f !== "mt" && asked.has(f)).map((f) => ({ relaxed: f === "relaxed", shared: false }));
  return asked.has("mt") ? [...single, ...single.map((v) => ({ ...v, shared: true }))] : single;
}

/** The features that this engine would choose from those asked for, so that no module is made for another. */
export function featuresHere(o: CompileOptions): readonly Feature[] {
  const asked = variantsOf(o);
  const relaxed = asked.some((v) => v.relaxed) && hasRelaxedSimd();
  if (!relaxed && asked.every((v) => v.relaxed)) throw new UserError("features", "this engine has no relaxed SIMD; leave 'simd' among the features");
  const shared = (o.threads ?? 1) > 1 && asked.some((v) => v.shared) && sharedMemoryMissing() === null;
  return [relaxed ? "relaxed" : "simd", ...(shared ? (["mt"] as const) : [])];
}

/** Compiles an imported model to an artifact: its modules, its manifest, and what computes its weights. */
export function buildArtifact(source: Source, options: BuildOptions = {}): Built {
  checkOptions(options);
  const { listeners = [], passes = defaultPasses } = options;
  const compiled = compileSource(source, listeners, passes, pipelineOptions(options));
  const emit = () => emitArtifact(source, compiled, options);
  return { artifact: compiled.trace.step("code", "emit-wasm", emit, () => ""), compiled };
}

/**
 * Emits the modules of a model that was compiled before with the same options; `profile` may differ.
 * @throws UserError for memory that is more than the options or WebAssembly allow
 */
export function emitArtifact(source: Source, compiled: Compiled, options: BuildOptions): WasmArtifact {
  const variants = variantsOf(options);
  const threads = options.threads ?? 1;
  const named = {
    name: options.name ?? source.name,
    sourceHash: options.sourceHash ?? "",
    inputNames: source.inputNames,
    outputNames: source.outputNames,
    outputLabels: source.outputLabels ?? [],
    flops: source.kind === "graph" ? countFlops(source.graph) : null,
    profile: options.profile ?? false,
    threads,
    memory: planMemoryWithin(compiled, { ...options, threads: variants.some((v) => v.shared) ? threads : 1 }),
  };
  return artifactOf(compiled, named, variants);
}

/** What the pipeline is told of the options. The schedules of both modules, with and without relaxed SIMD, are those for relaxed SIMD where it is made. */
export function pipelineOptions(o: CompileOptions): PipelineOptions {
  const exact = o.exact ?? false;
  if (o.database === undefined) return { exact };
  const { database, note } = o.database;
  const relaxed = variantsOf(o).some((v) => v.relaxed);
  const machineId = machineIdFor(o.database, relaxed, o.threads ?? 1);
  return { exact, tuned: { database, machineId, ...(note === undefined ? {} : { note }) } };
}

/** Runs the pipeline from the level that the source is given in. */
export function compileSource(
  source: Source,
  listeners: readonly TraceListener[] = [],
  passes: PassLists = defaultPasses,
  options: PipelineOptions = {},
): Compiled {
  switch (source.kind) {
    case "graph":
      return compileGraph(source.graph, { ...options, listeners, passes });
    case "tensor":
      return compileTensor(source.sc, source.function, { ...options, listeners, passes });
    case "program":
      return compileProgram(source.sc, source.program, listeners, passes, options.machines ?? [wasmMachine]);
    default:
      throw source satisfies never;
  }
}

/** Loop IR that was given as text: its kernels still go through the passes, for each machine; memory is planned unless it has been. */
function compileProgram(
  sc: Scalars,
  source: Program,
  listeners: readonly TraceListener[],
  passes: PassLists,
  machines: readonly Capabilities[],
): Compiled {
  if (source.weightSlots.length > 0)
    throw new UserError(
      "weights",
      `program '${source.name}' has weights, but loop IR text holds none of their bytes: compile the model, or its graph or tensor text`,
    );
  const trace = new Trace(listeners);
  let kernels: readonly { readonly machine: Capabilities; readonly map: ReadonlyMap<Kernel, Kernel> }[] = machines.map((machine) => ({
    machine,
    map: new Map(source.kernels.map((k) => [k, k])),
  }));
  const ofFirst = (p: Program, list: typeof kernels): Program => withKernels(p, (list[0] as (typeof list)[number]).map);
  for (const p of passes.kernel) {
    const before = kernels;
    const run = () => before.map(({ machine, map }) => ({ machine, map: mapKernels(map, (k) => p.run(sc, k, machine)) }));
    kernels = trace.step("loop", p.name, run, (after) => printProgram(ofFirst(source, after)));
  }
  const plan = (): Program => (source.allocations.length === 0 ? source : planMemory(sc, source));
  const planned = trace.step("loop", "plan-memory", plan, (p) => printProgram(ofFirst(p, kernels)));
  const levels = kernels.map(({ machine, map }) => ({ machine, program: withKernels(planned, map) }));
  const { program } = levels[0] as (typeof levels)[number];
  return { sc, trace, program, levels, weights: [], prepare: [], schedules: new Map() };
}

/** The artifact of a compiled program, with the variants asked for. */
export function artifactOf(c: Compiled, n: NamedProgram, variants: readonly Variant[]): WasmArtifact {
  return makeArtifact({ sc: c.sc, program: c.program, weights: c.weights, prepare: c.prepare, version, variants, ...n });
}

/** Which of an artifact's modules this engine had better run. */
interface ModuleHere {
  /** Its place in the manifest's list. */
  readonly index: number;
  readonly relaxed: boolean;
  readonly shared: boolean;
  /** Why there can only be one thread; null where there can be more. */
  readonly threadsMissing: string | null;
}

export function moduleHere(m: Manifest): ModuleHere {
  const { modules, threads } = m;
  const missing = threadsMissing(m);
  const here = (x: Variant): number => Number(x.relaxed === hasRelaxedSimd()) + 2 * Number(x.shared === (threads > 1 && missing === null));
  const index = modules.reduce((best, x, i) => (here(x) > here(modules[best] ?? x) ? i : best), 0);
  const { relaxed = false, shared = false } = modules[index] ?? {};
  return { index, relaxed, shared, threadsMissing: missing ?? (shared ? null : "the model was compiled without the feature mt") };
}

/** Starts an artifact in this process, without any files. `clock` is for modules made for profiling. */
export async function startArtifact(a: WasmArtifact, signal?: AbortSignal, clock?: (launch: number) => void): Promise<Model> {
  const { index, ...kind } = moduleHere(a.manifest);
  const module = await WebAssembly.compile(a.modules[index] as BufferSource);
  return startModel(a.manifest, {
    module,
    ...kind,
    threads: a.manifest.threads,
    writeWeights: (target) => a.writeWeights((offset, bytes) => target.set(bytes, offset), signal),
    ...(clock === undefined ? {} : { clock }),
  });
}
