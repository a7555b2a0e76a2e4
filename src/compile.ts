import { InternalError } from "./base/errors.ts";
import type { Capabilities } from "./base/machine.ts";
import { Names } from "./base/text.ts";
import { Trace, type TraceListener } from "./base/trace.ts";
import type { GraphFunction, Op } from "./graph/ir.ts";
import { lowerGraph } from "./graph/lower.ts";
import { type GraphPass, graphPasses } from "./graph/passes/pipeline.ts";
import { printGraph } from "./graph/print.ts";
import { verifyGraph } from "./graph/verify.ts";
import { type Kernel as LoopKernel, type Program, type Stmt, mapStmt } from "./loop/ir.ts";
import { type KernelPass, kernelPasses } from "./loop/passes/pipeline.ts";
import { planMemory } from "./loop/passes/plan-memory.ts";
import { printProgram } from "./loop/print.ts";
import { type LoopForm, verifyProgram } from "./loop/verify.ts";
import { type Variable, variablesOf } from "./scalar/expr.ts";
import { simplifyBook } from "./scalar/rules/simplify.ts";
import { Scalars } from "./scalar/scalars.ts";
import { type BuiltProgram, type KernelCache, type Step, buildProgram, flattenSteps, rescheduleSteps, scheduleFunction } from "./schedule/build.ts";
import { type Chooser, defaultChooser, emptyChooser } from "./schedule/choose.ts";
import { type ScheduleDatabase, databaseChooser, layoutOrders } from "./schedule/database.ts";
import { assignLayouts } from "./schedule/layout.ts";
import { wasmMachine } from "./targets/wasm/machine.ts";
import { type Tensor, type TensorFunction, allStages, stageExprs } from "./tensor/ir.ts";
import { type TensorPass, placementPasses, tensorPasses } from "./tensor/passes/pipeline.ts";
import { printTensor } from "./tensor/print.ts";
import { mapSegments } from "./tensor/segments.ts";
import { verifyTensor } from "./tensor/verify.ts";

/** What the pipeline is asked for. */
export interface PipelineOptions {
  /**
   * The machines to compile for, one without more: WebAssembly's. The first decides whatever shapes data (layouts, algorithms,
   * packing); the others choose loops of their own for the same kernels and share its constants.
   */
  readonly machines?: readonly Capabilities[];
  /** `default`: by the cost model; `empty`: one serial loop for each axis and no fusion; or a chooser of one's own. */
  readonly schedule?: "default" | "empty" | Chooser;
  readonly listeners?: readonly TraceListener[];
  /** `assign` without more; `keep`: the function has its layouts already. */
  readonly layouts?: "assign" | "keep";
  /** Schedules and layouts that were found by measuring on a machine; they come before the default ones. */
  readonly tuned?: { readonly database: ScheduleDatabase; readonly machineId: string; readonly note?: (text: string) => void };
  /** No algorithm that changes the arithmetic. */
  readonly exact?: boolean;
  /** Run the verifiers after every step. */
  readonly verify?: boolean;
  /** Other passes than the usual ones: `check` runs prefixes of the lists, its test adds one that is wrong. */
  readonly passes?: PassLists;
}

/** The pass lists of the three IRs. */
export interface PassLists {
  readonly graph: readonly GraphPass[];
  readonly tensor: readonly TensorPass[];
  readonly kernel: readonly KernelPass[];
}
export const defaultPasses: PassLists = { graph: graphPasses, tensor: tensorPasses, kernel: kernelPasses };

/** A program and where its constants come from. */
export interface Compiled {
  readonly sc: Scalars;
  readonly trace: Trace;
  readonly program: Program;
  /** The program for each of the machines; `program` is the first one's. */
  readonly levels: readonly Level[];
  /** The tensors of the weight slots, in order. */
  readonly weights: readonly Tensor[];
  /** Programs that compute constants: each from constants of the model, one after the other. */
  readonly prepare: readonly Prepare[];
  readonly schedules: ReadonlyMap<LoopKernel, string>;
  /**
   * The function whose kernels were scheduled, the same before layouts were assigned, and the steps of `main`; absent for loop
   * IR that was given as text.
   */
  readonly scheduled?: { readonly function: TensorFunction; readonly plain: TensorFunction; readonly run: readonly Step[] };
}

/** The program as one machine runs it. */
export interface Level {
  readonly machine: Capabilities;
  readonly program: Program;
}

/** Computes some of the weights. */
export interface Prepare {
  readonly program: Program;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** THE pipeline, for a graph: read it from top to bottom. */
export function compileGraph(source: GraphFunction, options: PipelineOptions = {}): Compiled {
  const trace = new Trace(options.listeners ?? []);
  const verify = options.verify ?? verifyByDefault();
  const gone: ((op: Op) => string | null)[] = [];
  let graph = source;
  if (verify) verifyGraph(graph, { after: "as it was given" });
  for (const p of (options.passes ?? defaultPasses).graph) {
    graph = trace.step("graph", p.name, (rules) => p.run(graph, rules), printGraph, graph);
    if (p.removes !== undefined) gone.push(p.removes);
    if (verify) verifyGraph(graph, { after: `after ${p.name}`, forbidden: (op) => gone.map((g) => g(op)).find((why) => why !== null) ?? null });
  }
  const sc = new Scalars(simplifyBook);
  const tensor = trace.step("tensor", "lower-graph", () => lowerGraph(graph, sc), printTensor);
  return compileTensor(sc, tensor, options, trace);
}

/** The pipeline from tensor IR on. */
export function compileTensor(
  sc: Scalars,
  source: TensorFunction,
  options: PipelineOptions = {},
  trace: Trace = new Trace(options.listeners ?? []),
): Compiled {
  const verify = options.verify ?? verifyByDefault();
  const plain = optimizeTensor(sc, source, options, trace, verify);
  const f = placeTensors(sc, plain, options, trace, verify);
  const constants = new Set(f.tensors.filter((t) => t.data !== null));
  const steps = trace.step("schedule", "choose-schedules", () => scheduleFunction(sc, f, chooserOf(options, constants)), printSteps);
  const { run, ahead } = partitionSteps(steps, constants, new Set(f.outputs), new Set(f.symbols.map((s) => sc.symbol(s))));
  const weights = weightsOf(run, ahead, constants);
  const machines = options.machines ?? [wasmMachine];
  const [first] = machines;
  const caches = new Map<Capabilities, KernelCache>([...machines, wasmMachine].map((m) => [m, new Map()]));
  const loopsOn = (m: Capabilities, steps: readonly Step[]) => (m === first ? steps : rescheduleSteps(sc, m, steps));
  const names = new Names();
  const built = trace.step(
    "loop",
    "build-loops",
    () =>
      machines.map((m) =>
        buildProgram(sc, f, loopsOn(m, run), weights, caches.get(m) as KernelCache, m === first ? names : new Names(), m.cost.fork, m.ownShares),
      ),
    (all) => printProgram((all[0] as BuiltProgram).program),
  );
  // Constants are computed where the compiler runs: by WebAssembly, whatever the target.
  const prepared = trace.step(
    "loop",
    "build-prepare",
    () =>
      prepareGroups(ahead, run, constants).map((g) => ({
        ...g,
        built: buildProgram(
          sc,
          { ...f, inputs: g.inputs, outputs: g.outputs, symbols: [] },
          options.schedule === undefined || options.schedule === "default" ? loopsOn(wasmMachine, g.steps) : g.steps,
          [],
          caches.get(wasmMachine) as KernelCache,
          names,
        ),
      })),
    () => "",
  );
  const programs = [...built, ...prepared.map((p) => p.built)];
  const lowered = lowerKernels(sc, programs, built[0] as BuiltProgram, options, trace, verify);
  const planned = trace.step(
    "loop",
    "plan-memory",
    () => programs.map((b) => withKernels(planMemory(sc, b.program), lowered)),
    (all) => printProgram(all[0] as Program),
  );
  if (verify) for (const p of planned) verifyProgram(p, { after: "after plan-memory", forbidden: ["allocation"] });
  const levels = machines.map((machine, i) => ({ machine, program: planned[i] as Program }));
  const prepare = prepared.map((p, i) => ({ program: planned[machines.length + i] as Program, inputs: p.inputs, outputs: p.outputs }));
  const schedules = new Map(built.flatMap((b) => [...b.schedules].map(([k, s]) => [lowered.get(k) ?? k, s] as const)));
  return { sc, trace, program: planned[0] as Program, levels, weights, prepare, schedules, scheduled: { function: f, plain, run } };
}

/** `TILEWRIGHT_VERIFY=1` turns the verifiers on; in a browser there is no environment, and they are off. */
function verifyByDefault(): boolean {
  return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.["TILEWRIGHT_VERIFY"] === "1";
}

function chooserOf(options: PipelineOptions, constants: ReadonlySet<Tensor>): Chooser {
  if (typeof options.schedule === "function") return options.schedule;
  if (options.schedule === "empty") return emptyChooser;
  const exact = options.exact ?? false;
  const isConstant = (t: Tensor) => constants.has(t);
  const machine = firstMachine(options);
  const chosen = defaultChooser(machine, isConstant, { exact });
  if (options.tuned === undefined) return chosen;
  return databaseChooser(chosen, options.tuned.database, { ...options.tuned, machine, isConstant, exact });
}

function firstMachine(options: PipelineOptions): Capabilities {
  return options.machines?.[0] ?? wasmMachine;
}

/** Tensor IR's passes; the empty schedule takes the function as it is. */
function optimizeTensor(sc: Scalars, source: TensorFunction, options: PipelineOptions, trace: Trace, verify: boolean): TensorFunction {
  if (verify) verifyTensor(source, { after: "before the passes on tensor IR" });
  if (options.schedule === "empty") return source;
  const machine = firstMachine(options);
  const passes = (options.passes ?? defaultPasses).tensor;
  return runSteps(
    source,
    passes.map(({ name, run }) => ({ name, run: (f) => mapSegments(sc, f, (g) => run(sc, g, machine)) })),
    trace,
    verify,
  );
}

/**
 * Where the elements of every tensor lie: by the database, else by the cost model; then what is decided of places once orders
 * are. The empty schedule takes the function as it is.
 */
function placeTensors(sc: Scalars, plain: TensorFunction, options: PipelineOptions, trace: Trace, verify: boolean): TensorFunction {
  if (options.schedule === "empty") return plain;
  const machine = firstMachine(options);
  const given = options.tuned === undefined ? undefined : layoutOrders(options.tuned.database, options.tuned.machineId);
  const assign = (f: TensorFunction) => mapSegments(sc, f, (g) => assignLayouts(sc, machine, g, options.exact ?? false, given));
  const steps = placementPasses.map(({ name, run }) => ({ name, run: (f: TensorFunction) => run(sc, f, machine) }));
  return runSteps(plain, options.layouts === "keep" ? steps : [{ name: "assign-layouts", run: assign }, ...steps], trace, verify);
}

/** Steps on tensor IR, one after the other, each of them verified. */
function runSteps(
  source: TensorFunction,
  steps: readonly { readonly name: string; readonly run: (f: TensorFunction) => TensorFunction }[],
  trace: Trace,
  verify: boolean,
): TensorFunction {
  return steps.reduce((f, { name, run }) => {
    const after = trace.step("tensor", name, () => run(f), printTensor, f);
    if (verify) verifyTensor(after, { after: `after ${name}` });
    return after;
  }, source);
}

/** Runs every kernel of the programs, each once, through the passes on loop IR. */
function lowerKernels(
  sc: Scalars,
  programs: readonly BuiltProgram[],
  main: BuiltProgram,
  options: PipelineOptions,
  trace: Trace,
  verify: boolean,
): ReadonlyMap<LoopKernel, LoopKernel> {
  let lowered: ReadonlyMap<LoopKernel, LoopKernel> = new Map(programs.flatMap((b) => b.program.kernels.map((k) => [k, k] as const)));
  const machineOf = new Map<LoopKernel, Capabilities>();
  programs.forEach((b, i) => {
    for (const k of b.program.kernels) machineOf.set(k, options.machines?.[i] ?? wasmMachine);
  });
  const forbidden: LoopForm[] = [];
  if (verify) for (const b of programs) verifyProgram(b.program, { after: "after build-loops" });
  for (const p of (options.passes ?? defaultPasses).kernel) {
    const before = lowered;
    const run = (k: LoopKernel, original: LoopKernel) => p.run(sc, k, machineOf.get(original) as Capabilities);
    const print = (after: typeof before) => printProgram(withKernels(main.program, after));
    lowered = trace.step("loop", p.name, () => mapKernels(before, run), print, before);
    forbidden.push(...(p.removes ?? []));
    if (verify) for (const b of programs) verifyProgram(withKernels(b.program, lowered), { after: `after ${p.name}`, forbidden });
  }
  return lowered;
}

/** Runs what each kernel has become through a pass; the same map when nothing changed, so that every step's result can still be printed later. */
export function mapKernels(
  kernels: ReadonlyMap<LoopKernel, LoopKernel>,
  run: (kernel: LoopKernel, original: LoopKernel) => LoopKernel,
): ReadonlyMap<LoopKernel, LoopKernel> {
  let changed = false;
  const out = new Map<LoopKernel, LoopKernel>();
  for (const [original, k] of kernels) {
    const after = run(k, original);
    if (after !== k) changed = true;
    out.set(original, after);
  }
  return changed ? out : kernels;
}

function printSteps(steps: readonly Step[]): string {
  return flattenSteps(steps)
    .filter((s) => s.kernel.control === undefined)
    .map((s) => `${s.kernel.name}: ${JSON.stringify(s.schedule)}\n`)
    .join("");
}

/** Steps that only read constants run ahead of time; outputs are made anew on every run, for they lie in the arena. */
function partitionSteps(
  steps: readonly Step[],
  constants: Set<Tensor>,
  outputs: ReadonlySet<Tensor>,
  symbols: ReadonlySet<Variable>,
): { run: Step[]; ahead: Step[] } {
  const ahead: Step[] = [];
  const writers = new Map<Tensor, number>();
  for (const s of flattenSteps(steps)) for (const t of s.writes) writers.set(t, (writers.get(t) ?? 0) + 1);
  const partition = (list: readonly Step[]): Step[] =>
    list.flatMap((s): Step[] => {
      if (s.bodies.length > 0) return [{ ...s, bodies: s.bodies.map(partition) }];
      const fixed =
        s.kernel.control === undefined &&
        s.reads.length > 0 &&
        !dependsOn(s, symbols) &&
        s.reads.every((t) => constants.has(t)) &&
        s.writes.every((t) => writers.get(t) === 1 && !outputs.has(t) && t.dims.every((d) => typeof d === "number"));
      if (!fixed) return [s];
      for (const t of s.writes) constants.add(t);
      ahead.push(s);
      return [];
    });
  return { run: partition(steps), ahead };
}

/** Is a step of a size, or does it make a value, that is known only when the model runs? */
function dependsOn(s: Step, symbols: ReadonlySet<Variable>): boolean {
  const stages = allStages(s.kernel);
  const axes = [...s.kernel.axes, ...stages.flatMap((x) => x.axes)];
  return axes.some((a) => typeof a.extent !== "number") || [...variablesOf(...stages.flatMap(stageExprs))].some((v) => symbols.has(v));
}

/** Constants that the program reads, in the order of their first use. */
function weightsOf(run: readonly Step[], ahead: readonly Step[], constants: ReadonlySet<Tensor>): Tensor[] {
  const made = new Set(ahead.flatMap((s) => s.writes));
  return [...new Set(flattenSteps(run).flatMap((s) => s.reads))].filter((t) => constants.has(t) || made.has(t));
}

/** Splits the steps that run ahead into independent groups, each of which makes constants that the program reads. */
function prepareGroups(
  ahead: readonly Step[],
  run: readonly Step[],
  constants: ReadonlySet<Tensor>,
): { steps: Step[]; inputs: Tensor[]; outputs: Tensor[] }[] {
  const needed = new Set(
    flattenSteps(run)
      .flatMap((s) => s.reads)
      .filter((t) => constants.has(t)),
  );
  const maker = new Map(ahead.flatMap((s) => s.writes.map((t) => [t, s] as const)));
  const groups: { steps: Step[]; inputs: Tensor[]; outputs: Tensor[] }[] = [];
  for (const t of needed) {
    const last = maker.get(t);
    if (last === undefined) continue;
    const steps = new Set<Step>();
    const collect = (s: Step): void => {
      for (const r of s.reads) {
        const m = maker.get(r);
        if (m !== undefined) collect(m);
      }
      steps.add(s);
    };
    collect(last);
    const made = new Set([...steps].flatMap((s) => s.writes));
    groups.push({ steps: [...steps], inputs: [...new Set([...steps].flatMap((s) => s.reads))].filter((r) => !made.has(r)), outputs: [t] });
  }
  return groups;
}

/** The program with its kernels (and the launches of them) replaced. */
export function withKernels(p: Program, map: ReadonlyMap<LoopKernel, LoopKernel>): Program {
  const of = (k: LoopKernel): LoopKernel => {
    const r = map.get(k);
    if (r === undefined) throw new InternalError("pipeline", `kernel '${k.name}' was lost`);
    return r;
  };
  const block = (b: readonly Stmt[]): readonly Stmt[] =>
    b.map((s) => (s.kind === "launch" ? { ...s, kernel: of(s.kernel) } : mapStmt(s, (e) => e, block)));
  const movable = p.movable === undefined ? {} : { movable: { ...p.movable, main: block(p.movable.main) } };
  return { ...p, kernels: p.kernels.map(of), main: block(p.main), ...movable };
}
