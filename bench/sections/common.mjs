// What all sections of the benchmark share. A section gets a context and gives what is printed and written:
// `{ dist, target, node, python, threads, relaxed, rounds, settleMs, timeoutMs, note(text), fail(name, reason) }`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plainFeatures } from "../engines/tilewright.mjs";
import { Child, PythonChild } from "../processes.mjs";
import { modelFolder } from "../suite.mjs";

/** A measuring process of the context's Node; its progress goes to `note`. */
export const nodeProcess = ({ node, timeoutMs }, note) => new Child({ node, timeoutMs, note });

/** The same of its Python, which runs a script of `python/`. */
export const pythonProcess =
  (script) =>
  ({ python, timeoutMs }, note) =>
    new PythonChild({ python: python.path, script, timeoutMs, note });

/** Does something with processes that `open(note)` started, and ends them; null when one of them fails, which is reported by name. */
export async function withProcesses(context, name, open, use) {
  const processes = open((text) => context.note(`${name}: ${text}`));
  try {
    return await use(...processes);
  } catch (e) {
    context.fail(name, e.message);
    return null;
  } finally {
    await Promise.all(processes.map((p) => p.close()));
  }
}

/** One job in a fresh process; null when it fails. */
export const inFreshProcess = (context, name, job, params) =>
  withProcesses(
    context,
    name,
    (note) => [nodeProcess(context, note)],
    (child) => child.call(job, params),
  );

/** A folder that is gone after `use`, or when this process ends before. */
export async function withFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), "tilewright-bench-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  try {
    return await use(folder);
  } finally {
    remove();
    process.off("exit", remove);
  }
}

/** Writes the artifact of a model of the suite to a folder that is gone after `use(folder)`; null when that fails. */
export function withArtifact(context, name, use) {
  return withFolder(async (folder) => {
    context.note(`${name}: writing the artifact`);
    const out = join(folder, name);
    const options = { wasm: context.relaxed ? [] : ["--features", plainFeatures(context.threads).join(",")], native: ["--target", "c"] }[
      context.target
    ];
    const args = [join(context.dist, "cli.js"), "compile", join(modelFolder(name), `${name}.onnx`), "-o", out, ...options];
    const run = spawnSync(context.node.path, args, { encoding: "utf8", timeout: context.timeoutMs });
    if (run.status === 0) return use(out);
    context.fail(name, `'tilewright compile' failed: ${run.error?.message ?? (run.stderr.trim() || `status ${run.status}`)}`);
    return null;
  });
}

export const notNull = (rows) => rows.filter((r) => r !== null);
