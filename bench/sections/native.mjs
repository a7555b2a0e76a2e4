// Sections of target `native`: kernels, starting, compiling.
import { suiteWorkload } from "../workloads.mjs";
import { startTimes } from "./artifacts.mjs";
import { inFreshProcess, notNull } from "./common.mjs";

export async function timeNativeKernels(context, names) {
  const rows = [];
  const { dist, threads, rounds, settleMs } = context;
  for (const name of names) {
    const params = { dist, workload: suiteWorkload(name), threads, rounds, settleMs };
    const profile = await inFreshProcess(context, name, "native-kernels", params);
    rows.push(profile === null ? null : { name, ...profile });
  }
  return notNull(rows);
}

/** Medians over pairs of fresh processes, in turns. */
export function measureNativeStart(context, names) {
  const engines = ["tilewright", "onnxruntime-node"];
  const ratios = (ours, theirs) => ({ init: theirs.ready_ms / ours.ready_ms, first_result: theirs.first_ms / ours.first_ms });
  return startTimes(context, names, "native-start", engines, ratios);
}

export async function measureNativeCompile(context, names) {
  const rows = [];
  for (const name of names) {
    context.note(`${name}: compiling, and compiling that`);
    const result = await inFreshProcess(context, name, "native-compile", { dist: context.dist, name });
    rows.push(result === null ? null : { name, ...result });
  }
  return notNull(rows);
}
