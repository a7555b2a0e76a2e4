import type { Command } from "commander";
import { UserError } from "../base/errors.ts";
import type { TraceEvent, TraceListener } from "../base/trace.ts";
import { buildC, levelsFor } from "../build-c.ts";
import { type BuildOptions, artifactOf, checkOptions, compileSource, pipelineOptions } from "../load.ts";
import { nativeLevel } from "../node/native/processor.ts";
import { levelMachine } from "../targets/c/machine.ts";
import { disassemble } from "../targets/wasm/disassemble.ts";
import { type ModelFlags, debugListeners, loadSource } from "./common.ts";
import { addCompileOptions, addCpuOption, command } from "./options.ts";
import { compileOptions } from "./session.ts";
import { sourceText } from "../explorer/source.ts";

const stages = ["graph", "tensor", "loop", "code"] as const;
type Stage = (typeof stages)[number];

interface IrFlags extends ModelFlags {
  readonly stage?: string;
  readonly before?: string;
  readonly after?: string;
  readonly cpu?: string;
}

export function irCommand(): Command {
  const c = command("ir", "<model>", "Print the IR after a stage, or before or after one step.", [
    "ir model.onnx --stage graph",
    "ir model.onnx --stage loop",
    "ir model.onnx --after assign-layouts",
    "ir model.onnx --stage code",
    "ir model.onnx --stage code --target c --cpu native",
  ]);
  return addCpuOption(addCompileOptions(c))
    .option("--stage <stage>", `${stages.join(", ")}: the IR after the last step of that stage`)
    .option("--before <step>", "the IR that a step gets")
    .option("--after <step>", "the IR that a step leaves")
    .action(irAction);
}

function irAction(file: string, flags: IrFlags): void {
  const chosen = [flags.stage, flags.before, flags.after].filter((x) => x !== undefined).length;
  if (chosen > 1) throw new UserError("option", "give one of --stage, --before and --after");
  const stage = flags.stage ?? (chosen === 0 ? "graph" : undefined);
  if (stage !== undefined && !stages.includes(stage as Stage))
    throw new UserError("stage", `unknown stage '${stage}'; there are: ${stages.join(", ")}`);
  const { target, ...rest } = compileOptions(flags);
  const isC = flags.target === "c";
  const options: BuildOptions = isC || target === undefined ? rest : { ...rest, target };
  checkOptions(options);
  if (!isC && flags.cpu !== undefined) throw new UserError("cpu", "--cpu is for --target c; WebAssembly is for all processors");
  const names = isC ? levelsFor(flags.cpu, options.deterministic ?? false, nativeLevel) : [];
  const { source } = loadSource(file, flags.shape);
  if (stage === "code" && isC) {
    process.stdout.write(buildC(source, { ...options, listeners: debugListeners() }, names).artifact.files["model.c"]);
    return;
  }
  if (stage === "code") {
    const c = compileSource(source, debugListeners(), undefined, pipelineOptions(options));
    const relaxed = !options.deterministic && (options.features?.includes("relaxed") ?? true);
    const variant = { relaxed, shared: (options.threads ?? 1) > 1 };
    const a = artifactOf(c, { name: source.name, sourceHash: "", inputNames: source.inputNames, outputNames: source.outputNames }, [variant]);
    for (const f of disassemble(a.modules[0] as Uint8Array))
      process.stdout.write(`;; ${f.name}: ${f.bytes} bytes, ${f.instructions} instructions\n${f.text}\n`);
    return;
  }
  const kept = new Keeper(
    sourceText(source),
    source.kind === "program" ? "loop" : source.kind,
    stage,
    flags.before ?? flags.after,
    flags.before !== undefined,
  );
  const pipeline = isC ? { exact: options.exact ?? false, machines: names.map((n) => levelMachine(n)) } : pipelineOptions(options);
  compileSource(source, [kept.listener, ...debugListeners()], undefined, pipeline);
  process.stdout.write(kept.result());
}

/** Keeps the one text that is asked for as the steps go by. */
class Keeper {
  private readonly stage: string | undefined;
  private readonly step: string | undefined;
  private readonly before: boolean;
  private readonly steps: string[] = [];
  private text: string | null;
  private previous: string;
  private found: string | null = null;

  constructor(source: string, level: string, stage: string | undefined, step: string | undefined, before: boolean) {
    this.previous = source;
    this.text = level === stage ? source : null;
    this.stage = stage;
    this.step = step;
    this.before = before;
  }

  readonly listener: TraceListener = (e: TraceEvent) => {
    this.steps.push(e.step);
    if (this.step === undefined) {
      if (e.stage !== this.stage) return;
      const text = e.text();
      if (text !== "") this.text = text;
      return;
    }
    if (this.found !== null) return;
    if (this.step === e.step) this.found = this.before ? this.previous : e.text();
    else if (this.before) this.previous = e.text() || this.previous;
  };

  result(): string {
    const text = this.step === undefined ? this.text : this.found;
    if (text !== null) return text;
    if (this.step !== undefined) throw new UserError("step", `there is no step '${this.step}'; the steps are:\n  ${this.steps.join("\n  ")}`);
    throw new UserError("stage", `this text is of a later level than '${this.stage}'`);
  }
}
