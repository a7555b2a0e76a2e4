// The folder that all hosts are given: two models' artifacts, as files and in one file each, and the probe.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const packageFolder = (name) => join(here, "node_modules", name);

/** Runs a program to its end. @throws Error with what it printed when it fails */
export function runToEnd(command, args, options = {}) {
  const r = spawnSync(command, args, { encoding: "utf8", timeout: 120_000, ...options });
  if (r.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${r.error?.message ?? `status ${r.status}`}\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

/** Compiles the models with the command line of `dist`; gives the folder. */
export function prepare(dist) {
  const folder = mkdtempSync(join(tmpdir(), "tilewright-hosts-"));
  cpSync(join(root, "test/support/rows.tw"), join(folder, "rows.tw"));
  cpSync(join(root, "examples/digits/digits.onnx"), join(folder, "digits.onnx"));
  cpSync(join(here, "probe.js"), join(folder, "probe.js"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  const compile = (...args) => runToEnd(process.execPath, [join(dist, "cli.js"), "compile", ...args, "--deterministic"], { cwd: folder });
  for (const model of ["digits.onnx", "rows.tw"]) {
    const name = model.split(".")[0];
    compile(model, "-o", name);
    compile(model, "-o", `${name}-inline`, "--inline");
  }
  // What people get without options, for its size and the time to a first result.
  runToEnd(process.execPath, [join(dist, "cli.js"), "compile", "digits.onnx", "-o", "digits-default"], { cwd: folder });
  return folder;
}

export const versionOf = (name) => JSON.parse(readFileSync(join(packageFolder(name), "package.json"), "utf8")).version;
