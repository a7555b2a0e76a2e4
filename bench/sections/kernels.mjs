// Each model's kernels: time, arithmetic, share of the ceiling.
import { suiteWorkload } from "../workloads.mjs";
import { inFreshProcess, notNull } from "./common.mjs";

export async function timeKernels(context, names) {
  const rows = [];
  const { dist, relaxed, rounds, settleMs } = context;
  for (const name of names) {
    const profile = await inFreshProcess(context, name, "kernels", { dist, workload: suiteWorkload(name), relaxed, rounds, settleMs });
    rows.push(profile === null ? null : { name, ...profile });
  }
  return notNull(rows);
}
