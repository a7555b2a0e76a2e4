// One engine in this process, timed when the parent says so; between its turns all of its threads must sleep, for two pools
// that wait in loops spoil each other.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isRight, largestDifference } from "../results.mjs";
import { loadWorkload } from "../workloads.mjs";

let engine = null;

/**
 * Starts the engine (`tilewright` or `onnxruntime-web`) and runs it once. The first of the two writes its outputs to
 * `folder`, the other compares its own with them: `{ dist, engine, workload, threads, relaxed, folder, first }`.
 */
export async function serve({ dist, engine: name, workload, threads, relaxed, folder, first }) {
  const model = loadWorkload(workload);
  let ceiling = null;
  if (name === "tilewright") {
    const { loadTilewright, startTilewright } = await import("../engines/tilewright.mjs");
    const tw = await loadTilewright(dist);
    engine = await startTilewright(tw, model, { threads, relaxed });
    ceiling = await tw.measurePeak(engine.info.relaxed_simd);
  } else {
    const { startOrt } = await import("../engines/ort.mjs");
    engine = await startOrt(model, { threads });
  }
  const outputs = await engine.run();
  if (first) for (const o of model.outputs) writeFileSync(join(folder, o.name), bytesOf(outputs[o.name].data));
  const difference = first ? null : largestDifference(model, readOutputs(folder, outputs), outputs);
  globalThis.gc();
  const slept = await fallAsleep();
  const { flops, codeBytes, startMs, info } = engine;
  const report = { flops, codeBytes, startMs, info: info === undefined ? null : { threads: info.threads, relaxed_simd: info.relaxed_simd } };
  return { ...report, right: isRight(model, outputs, engine.allowed), allowed: engine.allowed, difference, ceiling, slept, tasks: taskCount() };
}

const bytesOf = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** The outputs that the other process wrote, in the types of these; one of another size reads as empty, and differs. */
function readOutputs(folder, like) {
  const read = ([name, { data }]) => {
    const bytes = readFileSync(join(folder, name));
    const { buffer, byteOffset, length } = new Uint8Array(bytes);
    return [name, { data: new data.constructor(buffer, byteOffset, length === data.byteLength ? data.length : 0) }];
  };
  return Object.fromEntries(Object.entries(like).map(read));
}

/** Times `repeats` runs: milliseconds of one, the cores that were busy meanwhile, and whether all threads sleep now. */
export async function stretch({ repeats }) {
  const [begun, cpu] = [performance.now(), process.cpuUsage()];
  const ms = await engine.stretch(repeats);
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
