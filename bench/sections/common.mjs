// What all sections of the benchmark share. A section gets a context and gives what is printed and written:
// `{ dist, node, threads, relaxed, rounds, settleMs, timeoutMs, note(text), fail(name, reason) }`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plainFeatures } from "../engines/tilewright.mjs";
import { Child } from "../processes.mjs";
import { modelFolder } from "../suite.mjs";

/** Does something with fresh processes, which end with it; null when one of them fails, which is reported by name. */
export async function withChildren(context, name, count, use) {
  const note = (text) => context.note(`${name}: ${text}`);
  const children = Array.from({ length: count }, () => new Child({ node: context.node, timeoutMs: context.timeoutMs, note }));
  try {
    return await use(...children);
  } catch (e) {
    context.fail(name, e.message);
    return null;
  } finally {
    await Promise.all(children.map((c) => c.close()));
  }
}

/** One job in a fresh process; null when it fails. */
export const inFreshProcess = (context, name, job, params) => withChildren(context, name, 1, (child) => child.call(job, params));

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
    const features = context.relaxed ? [] : ["--features", plainFeatures(context.threads).join(",")];
    const args = [join(context.dist, "cli.js"), "compile", join(modelFolder(name), `${name}.onnx`), "-o", out, ...features];
    const run = spawnSync(context.node.path, args, { encoding: "utf8", timeout: context.timeoutMs });
    if (run.status === 0) return use(out);
    context.fail(name, `'tilewright compile' failed: ${run.error?.message ?? (run.stderr.trim() || `status ${run.status}`)}`);
    return null;
  });
}

export const notNull = (rows) => rows.filter((r) => r !== null);
