#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { benchCommand } from "./cli/bench.ts";
import { checkCommand } from "./cli/check.ts";
import { errorText, exitStatus } from "./cli/common.ts";
import { compileCommand } from "./cli/compile.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { inspectCommand } from "./cli/inspect.ts";
import { irCommand } from "./cli/ir.ts";
import { runCommand } from "./cli/run.ts";
import { version } from "./version.ts";

const program = new Command("tilewright")
  .description("Compiles deep-learning models to small standalone WebAssembly artifacts. Models are ONNX files, or IR text (.tw) of any level.")
  .version(version)
  .addHelpText(
    "after",
    "\nExample:\n  $ npx tilewright compile model.onnx -o out && npx tilewright run out --random 1\n\nExit status: 0 done, 1 the work failed, 2 wrong use or bad input, 3 internal error.",
  );
for (const make of [compileCommand, runCommand, benchCommand, inspectCommand, irCommand, checkCommand, doctorCommand]) program.addCommand(make());
for (const c of [program, ...program.commands]) c.exitOverride().showHelpAfterError("(--help tells more)");

try {
  await program.parseAsync();
} catch (e) {
  if (e instanceof CommanderError) process.exitCode = e.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`${errorText(e)}\n`);
    process.exitCode = exitStatus(e);
  }
}
