// One engine in this process, timed when the parent says so; between its turns all of its threads must sleep, for two pools
// that wait in loops spoil each other.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { dtypeOf } from "../suite.mjs";
import { loadWorkload } from "../workloads.mjs";

/** Starts an engine: `{ engine, ceiling() }` and the outputs of a first run. `ceiling` measures what the machine can do, null where it is not asked. */
const starters = {
  async tilewright({ dist, threads, relaxed }, model) {
    const { loadTilewright, startTilewright } = await import("../engines/tilewright.mjs");
    const tw = await loadTilewright(dist);
    const started = await startTilewright(tw, model, { threads, relaxed });
    return { engine: started, outputs: await started.run(), ceiling: () => tw.measurePeak(started.info.relaxed_simd) };
  },
  async "tilewright native"({ dist, threads }, model) {
    const { loadNative, startNativeEngine, timedEngine } = await import("../engines/native.mjs");
    const tw = await loadNative(dist);
    const started = await startNativeEngine(tw, model, { threads });
    // Views are written anew by the next run.
    const outputs = structuredClone(started.runModel());
    return {
      engine: timedEngine(tw, started, model.inputs, threads),
      outputs,
      ceiling: () => tw.measureNativePeak(started.tools, started.info.level),
    };
  },
  async "onnxruntime-web"({ threads }, model) {
    const { startOrt } = await import("../engines/ort.mjs");
    const started = await startOrt(model, { threads });
    return { engine: started, outputs: await started.run(), ceiling: null };
  },
  async "onnxruntime-node"({ threads }, model) {
    const { startOrtNode } = await import("../engines/ort-node.mjs");
    const started = await startOrtNode(model, { threads });
    return { engine: started, outputs: await started.run(), ceiling: null };
  },
};

let served = null;

/** Starts the engine and runs it once; its outputs go to files in `folder`: `{ dist, engine, workload, threads, relaxed, folder }`. */
export async function serve(params) {
  const model = loadWorkload(params.workload);
  served = await starters[params.engine](params, model);
  const outputs = writeOutputs(served.outputs, (i) => join(params.folder, `${params.engine}-${i}.raw`));
  served.outputs = null;
  const peak = await ceiling();
  globalThis.gc();
  const slept = await fallAsleep();
  const { flops, codeBytes, startMs, allowed, info } = served.engine;
  const about = info === undefined ? null : { threads: info.threads, relaxed_simd: info.relaxed_simd, level: info.level, compiler: info.compiler };
  return { outputs, flops, codeBytes, startMs, allowed, info: about, ceiling: peak, slept, tasks: taskCount() };
}

/** What this machine can do at best, as tilewright's process measures it; null in others. */
export async function ceiling() {
  return served.ceiling === null ? null : served.ceiling();
}

function writeOutputs(outputs, fileOf) {
  return Object.entries(outputs).map(([name, { dims, data }], i) => {
    writeFileSync(fileOf(i), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { name, dims, dtype: dtypeOf(data), file: fileOf(i) };
  });
}

/** Times `repeats` runs, after `lead` ones that are not timed: milliseconds of one, the cores that were busy meanwhile, and whether all threads sleep now. */
export async function stretch({ repeats, lead }) {
  for (let i = 0; i < lead; i++) await served.engine.run();
  const [begun, cpu] = [performance.now(), process.cpuUsage()];
  const ms = await served.engine.stretch(repeats);
  const { user, system } = process.cpuUsage(cpu);
  const cores = (user + system) / 1e3 / (performance.now() - begun);
  return { ms, cores, slept: await fallAsleep() };
}

const pause = { windowMs: 3, mostMs: 250, idle: 0.2 };

/** Waits until this process's threads use less than a fifth of a core; false when they have not stopped within a quarter of a second. */
async function fallAsleep() {
  const begun = performance.now();
  for (;;) {
    const [start, cpu] = [performance.now(), process.cpuUsage()];
    await sleep(pause.windowMs);
    const { user, system } = process.cpuUsage(cpu);
    const now = performance.now();
    if ((user + system) / 1e3 < pause.idle * (now - start)) return true;
    if (now - begun > pause.mostMs) return false;
  }
}

/** The operating system's threads of this process, where it tells. */
function taskCount() {
  try {
    return readdirSync("/proc/self/task").length;
  } catch {
    return null;
  }
}
