// Times of workloads beside other engines: models, matrix products, layers.
import { rowOf } from "../jobs/row.mjs";
import { isRight, largestDifference } from "../results.mjs";
import { allowedShare, readRaw } from "../suite.mjs";
import { measure } from "../timing.mjs";
import { loadWorkload, workloadFiles } from "../workloads.mjs";
import { inFreshProcess, notNull, nodeProcess, pythonProcess, withFolder, withProcesses } from "./common.mjs";

/** Every workload in fresh processes; `peers` are those that share one with onnxruntime-web. Gives rows. */
export async function timeWorkloads(context, workloads, peers) {
  const rows = [];
  for (const [i, workload] of workloads.entries()) {
    const at = { ...context, note: (text) => context.note(`[${i + 1}/${workloads.length}] ${text}`) };
    const measured = context.target === "wasm" && context.threads === 1 ? await inOneProcess(at, workload, peers) : await alternating(at, workload);
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

/**
 * Who takes part, tilewright first: the name, the engine that its process starts, and that process. Without one that is
 * needed there is nothing to compare; without another the rest goes on.
 */
function contestants({ target, python }) {
  const node = (name, engine, needed) => ({ name, engine, needed, open: nodeProcess });
  if (target === "wasm") return [node("tilewright", "tilewright", true), node("onnxruntime-web", "onnxruntime-web", true)];
  const openvino = { name: "openvino", engine: "openvino", needed: false, open: pythonProcess("openvino_engine.py") };
  const all = [node("tilewright", "tilewright native", true), node("onnxruntime-node", "onnxruntime-node", false)];
  return python === null ? all : [...all, openvino];
}

/** Each engine has a process of its own, and all others sleep while one runs. */
function alternating(context, workload) {
  const all = contestants(context);
  const use =
    (folder) =>
    async (...processes) => {
      context.note(`${workload.label}: compiling, comparing`);
      const { running, absent } = await startAll(context, workload, all, processes, folder);
      const [ours, ...theirs] = running;
      const checks = check(loadWorkload(workload), running);
      const measured = await measure(
        running.map((r) => r.engine),
        context,
        (text) => context.note(`${workload.label}: ${text}`),
      );
      // Turbo and throttling change the ceiling while the benchmark runs.
      const ceiling = Math.max(ours.report.ceiling, await ours.process.call("ceiling"));
      return {
        ...rowOf(ours.report, measured, ceiling),
        ...checks,
        absent,
        against: fastest(
          theirs.map((r) => r.name).filter((name) => !checks.wrong.includes(name)),
          measured.times,
        ),
        cores: Object.fromEntries(running.map((r) => [r.name, r.engine.cores()])),
        awake: running.filter((r) => r.engine.awake() > 0).map((r) => r.name),
        tasks: Object.fromEntries(running.map((r) => [r.name, r.report.tasks])),
      };
    };
  const open = (note) => all.map((c) => c.open(context, note));
  return withFolder((folder) => withProcesses(context, workload.label, open, use(folder)));
}

/** Starts one engine after the other. Gives those that run, and why others do not. */
async function startAll(context, workload, all, processes, folder) {
  const { dist, threads, relaxed, target } = context;
  const files = target === "wasm" ? {} : workloadFiles(workload, folder);
  const running = [];
  const absent = {};
  for (const [i, { name, engine, needed }] of all.entries()) {
    const process = processes[i];
    try {
      const report = await process.call("serve", { dist, engine, workload, threads, relaxed, folder, ...files });
      running.push({ name, process, report, engine: remoteEngine(name, process, target === "wasm" ? 0 : 1) });
    } catch (e) {
      if (needed) throw e;
      absent[name] = e.message;
    }
  }
  return { running, absent };
}

/** Whose results are wrong, and how far the others' are from the first's. */
function check(model, running) {
  const outputs = running.map(({ report }) => {
    const read = ({ name, dims, dtype, file }) => [name, { dims, data: readRaw(file, dtype) }];
    return Object.fromEntries(report.outputs.map(read));
  });
  const allowed = running.map(({ report }) => report.allowed ?? allowedShare.winograd4);
  return {
    allowed: allowed[0],
    wrong: running.filter((_, i) => !isRight(model, outputs[i], allowed[i])).map((r) => r.name),
    difference: Object.fromEntries(running.slice(1).map((r, i) => [r.name, differenceOf(model, outputs[0], outputs[i + 1])])),
  };
}

/** Infinite where an output is missing: that engine's results are wrong. */
function differenceOf(model, a, b) {
  const whole = model.outputs.every(({ name }) => a[name] !== undefined && b[name] !== undefined);
  return whole ? largestDifference(model, a, b) : Number.POSITIVE_INFINITY;
}

/** The engine whose median is the least; null of none. */
function fastest(names, times) {
  return names.reduce((best, name) => (best === null || times[name].median_ms < times[best].median_ms ? name : best), null);
}

/** An engine in another process; `cores()` were busy on average while it was timed, `awake()` counts turns after which its threads did not sleep. */
function remoteEngine(name, child, lead) {
  let [busy, total, awake] = [0, 0, 0];
  return {
    name,
    async stretch(repeats) {
      const { ms, cores, slept } = await child.call("stretch", { repeats, lead });
      busy += cores * ms * repeats;
      total += ms * repeats;
      if (!slept) awake++;
      return ms;
    },
    cores: () => busy / total,
    awake: () => awake,
  };
}
