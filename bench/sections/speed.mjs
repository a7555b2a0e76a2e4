// Times of workloads beside other engines: models, matrix products, layers.
import { rowOf } from "../jobs/row.mjs";
import { measure } from "../timing.mjs";
import { inFreshProcess, notNull, withChildren, withFolder } from "./common.mjs";

/** Every workload in a fresh process; `peers` besides onnxruntime-web. Gives rows. */
export async function timeWorkloads(context, workloads, peers) {
  const rows = [];
  for (const [i, workload] of workloads.entries()) {
    const at = { ...context, note: (text) => context.note(`[${i + 1}/${workloads.length}] ${text}`) };
    const measured = context.threads === 1 ? await inOneProcess(at, workload, peers) : await alternating(at, workload);
    if (measured === null) rows.push(null);
    else {
      rows.push({ name: workload.label, ...measured });
      for (const engine of measured.wrong) context.fail(workload.label, `WRONG results of ${engine}: its times mean nothing`);
    }
  }
  return notNull(rows);
}

const inOneProcess = ({ dist, relaxed, rounds, settleMs, ...context }, workload, peers) =>
  inFreshProcess(context, workload.label, "compare", { dist, workload, peers, relaxed, rounds, settleMs });

/** With several threads each engine has a process of its own, and one sleeps while the other runs. */
function alternating(context, workload) {
  const { dist, threads, relaxed } = context;
  const names = ["tilewright", "onnxruntime-web"];
  const run = (folder) => async (first, second) => {
    const engines = [];
    const reports = [];
    context.note(`${workload.label}: compiling, comparing`);
    for (const [i, child] of [first, second].entries()) {
      const params = { dist, engine: names[i], workload, threads, relaxed, folder, first: i === 0 };
      reports.push(await child.call("serve", params));
      engines.push(remoteEngine(names[i], child));
    }
    const measured = await measure(engines, context, (text) => context.note(`${workload.label}: ${text}`));
    const [ours, theirs] = reports;
    return {
      ...rowOf(ours, measured, ours.ceiling),
      allowed: ours.allowed,
      wrong: names.filter((_, i) => !reports[i].right),
      difference: { "onnxruntime-web": theirs.difference ?? Number.POSITIVE_INFINITY },
      absent: {},
      cores: Object.fromEntries(engines.map((e) => [e.name, e.cores()])),
      awake: engines.filter((e) => e.awake() > 0).map((e) => e.name),
      tasks: Object.fromEntries(names.map((n, i) => [n, reports[i].tasks])),
    };
  };
  return withFolder((folder) => withChildren(context, workload.label, 2, run(folder)));
}

/** An engine in another process; `cores()` were busy on average while it was timed, `awake()` counts turns after which its threads did not sleep. */
function remoteEngine(name, child) {
  let [busy, total, awake] = [0, 0, 0];
  return {
    name,
    async stretch(repeats) {
      const { ms, cores, slept } = await child.call("stretch", { repeats });
      busy += cores * ms * repeats;
      total += ms * repeats;
      if (!slept) awake++;
      return ms;
    },
    cores: () => busy / total,
    awake: () => awake,
  };
}
