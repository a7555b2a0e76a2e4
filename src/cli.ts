#!/usr/bin/env node
import { runCli } from "./cli/main.ts";
import { optimizeLate } from "./node/engine-flags.ts";

optimizeLate();

// A reader that has seen enough (`… | head`) closes the pipe: that is no error.
process.stdout.on("error", (e: NodeJS.ErrnoException) => {
  if (e.code === "EPIPE") process.exit(0);
  throw e;
});
process.exitCode = await runCli(process.argv.slice(2));
