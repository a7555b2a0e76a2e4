import { Command } from "commander";
import { UserError } from "../base/errors.ts";
import { parseRoom } from "../node/option-text.ts";
import { collect, parseBytes, parseCount, parseFeatures } from "./common.ts";

/** A command with its help's example; `example` is what follows `npx tilewright`. */
export function command(name: string, args: string, summary: string, examples: readonly string[]): Command {
  const c = new Command(name).description(summary);
  if (args !== "") c.arguments(args);
  return c.addHelpText("after", `\nExamples:\n${examples.map((e) => `  $ npx tilewright ${e}`).join("\n")}`);
}

/** Options of every command that compiles. */
export function addCompileOptions(c: Command): Command {
  return addSourceOptions(c)
    .option("--threads <n>", "threads to run on; what an artifact is compiled with is its default (default: 1)", parseCount(1))
    .option("--max-memory <size>", "fail when more memory is planned, for example 512MiB", parseBytes)
    .option("--kept-memory <size>", "room for tensors that runs keep inside (default: all outputs twice); 0 for none", parseRoom)
    .option("--db <file>", "schedules that 'tilewright tune' found on this machine");
}

/** Options that say what is compiled, and to which code. */
export function addSourceOptions(c: Command): Command {
  return c
    .option("--target <target>", "what to compile to: wasm; c (compile, ir); or native, C that is built and run here (run, bench)", "wasm")
    .option("--shape <spec>", "NAME=1x3x224x224 fixes an input's shape, SYMBOL=4 a symbol, SYMBOL=1..16 bounds one; may be repeated", collect)
    .option("--deterministic", "the same bits on every engine: no relaxed operations")
    .option("--exact", "no algebraic change of an algorithm")
    .option("--features <list>", "modules to make, of: simd,relaxed,mt (mt: each of them also for threads)", parseFeatures);
}

/** For which processors C code is. */
export function addCpuOption(c: Command): Command {
  return c.option(
    "--cpu <name>",
    "C code for processors up to this: native, portable, x86-64, x86-64-v2, x86-64-v3 or x86-64-v4 (default: for all, chosen at the start)",
  );
}

/** Options of every command that runs a model. */
export function addInputOptions(c: Command): Command {
  return c
    .option("--input <name=file>", "an input's file: .npy, .raw, .json, .png or .jpg; may be repeated", collect)
    .option("--random <seed>", "random values for inputs without a file: floats in [-1, 1), integers 0 or 1", parseCount(0))
    .option("--mean <list>", "mean per channel of pictures scaled to 0…1, for example 0.485,0.456,0.406", parseNumbers)
    .option("--std <list>", "deviation per channel, for example 0.229,0.224,0.225", parseNumbers);
}

function parseNumbers(text: string): number[] {
  const list = text.split(",").map(Number);
  if (list.some((v) => !Number.isFinite(v)) || text.trim() === "")
    throw new UserError("option", `'${text}' is no list of numbers; write it like 0.485,0.456,0.406`);
  return list;
}
