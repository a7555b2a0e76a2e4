import { Command, CommanderError } from "commander";
import { benchCommand } from "./bench.ts";
import { checkCommand } from "./check.ts";
import { errorText, exitStatus } from "./common.ts";
import { compileCommand } from "./compile.ts";
import { doctorCommand } from "./doctor.ts";
import { inspectCommand } from "./inspect.ts";
import { irCommand } from "./ir.ts";
import { runCommand } from "./run.ts";
import { tuneCommand } from "./tune.ts";
import { version } from "../version.ts";

/** The command line with all its commands; the page of the documentation is made from it too. */
export function cliProgram(): Command {
  const program = new Command("tilewright")
    .description(
      "Compiles deep-learning models to small standalone artifacts, of WebAssembly or C. Models are ONNX files, or IR text (.tw) of any level.",
    )
    .version(version)
    .addHelpText(
      "after",
      "\nExample:\n  $ npx tilewright compile model.onnx -o out && npx tilewright run out --random 1\n\nExit status: 0 done, 1 the work failed, 2 wrong use or bad input, 3 internal error.",
    );
  for (const make of [compileCommand, runCommand, benchCommand, tuneCommand, inspectCommand, irCommand, checkCommand, doctorCommand])
    program.addCommand(make());
  for (const c of [program, ...program.commands]) c.exitOverride().showHelpAfterError("(--help tells more)");
  return program;
}

/** Runs one command line; gives its exit status. */
export async function runCli(args: readonly string[]): Promise<number> {
  const program = cliProgram();
  process.exitCode = 0;
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (e) {
    if (e instanceof CommanderError) return e.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${errorText(e)}\n`);
    return exitStatus(e);
  }
  return Number(process.exitCode);
}
