import { UserError } from "../base/errors.ts";
import type { TraceListener } from "../base/trace.ts";
import { type Compiled, type PassLists, defaultPasses } from "../compile.ts";
import type { GraphFunction } from "../graph/ir.ts";
import type { ImportOptions, Source } from "../importer.ts";
import { type BuildOptions, type Built, buildArtifact, checkOptions, emitArtifact, featuresHere, moduleHere } from "../load.ts";
import { kernelText } from "../loop/print.ts";
import { type Listing, disassemble } from "../targets/wasm/disassemble.ts";
import type { WasmArtifact } from "../targets/wasm/artifact.ts";
import { errorInfo } from "../worker/errors.ts";
import { filesResolver } from "../worker/thread/files.ts";
import { viewGraph } from "./graph.ts";
import { viewKernels, viewLaunches } from "./kernels.ts";
import { viewMemory, viewWeights } from "./memory.ts";
import { openSource, sourceText } from "./source.ts";
import { docOf, stepsOf } from "../worker/thread/steps.ts";
import type { Exploration, ExploreOptions, GraphView, LaunchView, MemoryView, ProgramView, ProgressView, Stage, StepView, TextRef } from "./types.ts";

/**
 * Compiles a model and keeps what every step made of it. The texts of IRs are printed when they are asked for.
 * @throws UserError for bytes that are no model, and for options that are wrong; what is wrong with the model itself stands
 * in the exploration
 */
export function explore(bytes: Uint8Array, options: ExploreOptions = {}, progress: (p: ProgressView) => void = () => {}): Explored {
  return new Explored(bytes, options, progress);
}

/** A model that was compiled, with all that can be asked of it. */
export class Explored {
  /** All that is told at once. */
  readonly exploration: Exploration;
  private readonly options: ExploreOptions;
  private readonly texts: (() => string)[] = [];
  private readonly graphs = new Map<number, GraphFunction>();
  private readonly steps: StepView[] = [];
  private source: Source | null = null;
  private built: Built | null = null;
  private listings: ReadonlyMap<string, Listing> = new Map();

  constructor(bytes: Uint8Array, options: ExploreOptions, progress: (p: ProgressView) => void) {
    checkOptions(this.compileOptions(options));
    this.options = options;
    const start = performance.now();
    const missing = new Set<string>();
    const opened = openSource(bytes, { name: options.name ?? "model", ...importOptions(options, missing) });
    this.source = opened.source;
    let { error } = opened;
    let program: ProgramView | null = null;
    let compileMs = performance.now() - start;
    if (opened.source !== null) {
      this.begin(opened.source, compileMs);
      try {
        this.built = this.compile(opened.source, progress);
        compileMs = performance.now() - start;
        program = this.viewProgram(this.built);
      } catch (e) {
        error = e;
      }
    }
    const model = { ...opened.view, missingFiles: [...missing] };
    this.exploration = { model, steps: this.steps, program, error: error === null ? null : errorInfo(error), compileMs };
  }

  /** A text: the IR after a step, a kernel's loop IR or WebAssembly. @throws UserError for what there is not */
  text(ref: TextRef): string {
    switch (ref.kind) {
      case "step": {
        const text = this.texts[ref.step];
        if (text === undefined) throw new UserError("step", `there is no step ${ref.step}; there are ${this.steps.length}`);
        return text();
      }
      case "loop":
        return kernelText(this.kernel(ref.kernel));
      case "wasm":
        return this.listings.get(this.kernel(ref.kernel).name)?.text ?? "";
      default:
        throw ref satisfies never;
    }
  }

  /** The graph after a step. @throws UserError for a step that has none */
  graph(step: number): GraphView {
    const g = this.graphs.get(step);
    if (g === undefined) throw new UserError("step", `step ${step} left no graph; those that did: ${[...this.graphs.keys()].join(", ") || "none"}`);
    return viewGraph(g, step);
  }

  /** The memory plan at other sizes of symbols. */
  memory(sizes: Readonly<Record<string, number>>): MemoryView {
    return viewMemory(this.compiled(), sizes);
  }

  /** What each launch does at these sizes of symbols. */
  launches(sizes: Readonly<Record<string, number>>): LaunchView[] {
    return viewLaunches(this.compiled(), this.graphRead(), new Map(Object.entries(sizes)));
  }

  /** What starts the model: the modules and what computes its weights. `profile`: modules that call a clock after every launch. */
  artifact(profile = false): WasmArtifact {
    if (this.built === null || this.source === null) throw this.notCompiled();
    return profile ? emitArtifact(this.source, this.built.compiled, { ...this.buildOptions(), profile }) : this.built.artifact;
  }

  private graphRead(): GraphFunction | null {
    return this.source?.kind === "graph" ? this.source.graph : null;
  }

  private kernel(i: number) {
    const { kernels } = this.compiled().program;
    const k = kernels[i];
    if (k === undefined) throw new UserError("kernel", `there is no kernel ${i}; there are ${kernels.length}`);
    return k;
  }

  private compiled(): Compiled {
    if (this.built === null) throw this.notCompiled();
    return this.built.compiled;
  }
  private notCompiled(): UserError {
    return new UserError("not-compiled", `the model could not be compiled: ${this.exploration.error?.message ?? ""}`);
  }

  private compileOptions({ threads, exact, deterministic, name }: ExploreOptions): BuildOptions {
    return {
      ...(threads === undefined ? {} : { threads }),
      ...(exact === undefined ? {} : { exact }),
      ...(deterministic === undefined ? {} : { deterministic }),
      ...(name === undefined ? {} : { name }),
    };
  }
  private buildOptions(): BuildOptions {
    const options = this.compileOptions(this.options);
    return { ...options, features: featuresHere(options) };
  }

  /** The first step: the model as it was read. */
  private begin(source: Source, ms: number): void {
    const stage: Stage = source.kind === "program" ? "loop" : source.kind;
    this.addStep(stage, "source", ms, true, {}, () => sourceText(source));
    if (source.kind === "graph") this.graphs.set(0, source.graph);
  }

  private addStep(stage: Stage, name: string, ms: number, changed: boolean, rules: StepView["rules"], text: (() => string) | null): void {
    const before = this.steps.findLast((s) => s.stage === stage && s.text)?.step ?? null;
    const doc = docOf(stage, name);
    this.steps.push({ step: this.steps.length, stage, name, doc, ms, changed, rules, text: text !== null, graph: stage === "graph", before });
    this.texts.push(text ?? (() => ""));
  }

  private compile(source: Source, progress: (p: ProgressView) => void): Built {
    const of = stepsOf(source.kind);
    let done = 0;
    let made: GraphFunction | null = null;
    const passes: PassLists = {
      ...defaultPasses,
      graph: defaultPasses.graph.map((p) => ({
        ...p,
        run(f, rules) {
          made = p.run(f, rules);
          return made;
        },
      })),
    };
    const listener: TraceListener = (e) => {
      const stage = e.stage as Stage;
      if (stage === "graph" && made !== null) this.graphs.set(this.steps.length, made);
      // Steps that print nothing at all are not those whose text is costly.
      const { "nodes visited": _, ...rules } = e.rules;
      this.addStep(stage, e.step, e.ms, e.changed, rules, stage === "code" || e.step === "build-prepare" ? null : e.text);
      progress({ stage, name: e.step, done: ++done, of });
    };
    return buildArtifact(source, { ...this.buildOptions(), passes, listeners: [listener] });
  }

  private viewProgram({ compiled, artifact }: Built): ProgramView {
    const { index, relaxed, shared } = moduleHere(artifact.manifest);
    const module = artifact.modules[index] as Uint8Array;
    const listings = new Map<string, Listing>();
    // Kernels come first: a function of the module itself may have the name of one.
    for (const f of disassemble(module)) if (!listings.has(f.name)) listings.set(f.name, f);
    this.listings = listings;
    const launches = viewLaunches(compiled, this.graphRead());
    return {
      kernels: viewKernels(compiled, launches, listings),
      launches,
      weights: viewWeights(compiled),
      memory: viewMemory(compiled),
      code: { bytes: module.length, relaxedSimd: relaxed, sharedMemory: shared },
    };
  }
}

function importOptions({ shapes, symbols, files = {} }: ExploreOptions, missing: Set<string>): Omit<ImportOptions, "name"> {
  return {
    ...(shapes === undefined ? {} : { shapes }),
    ...(symbols === undefined ? {} : { symbols }),
    resolver: filesResolver(files, missing),
  };
}
