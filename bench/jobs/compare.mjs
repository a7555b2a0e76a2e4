// tilewright and others in this process, on the same inputs: results first, then times, in turns.
import { startOrt } from "../engines/ort.mjs";
import { startJax, startTfjs } from "../engines/peers.mjs";
import { loadTilewright, startTilewright } from "../engines/tilewright.mjs";
import { isRight, largestDifference } from "../results.mjs";
import { measure } from "../timing.mjs";
import { loadWorkload } from "../workloads.mjs";
import { rowOf } from "./row.mjs";

const peers = { tfjs: startTfjs, "jax-js": startJax };

/**
 * `{ dist, workload, peers: names besides onnxruntime-web, relaxed, rounds, settleMs }`, one thread each. Gives what `rowOf` says;
 * a peer that does not run is in `absent`, with its reason.
 */
export async function compare({ dist, workload, peers: names, relaxed, rounds, settleMs }, note) {
  note("compiling, comparing");
  const model = loadWorkload(workload);
  const tw = await loadTilewright(dist);
  const engines = [await startTilewright(tw, model, { threads: 1, relaxed }), await startOrt(model, { threads: 1 })];
  const absent = {};
  for (const name of names) {
    try {
      engines.push(await peers[name](model));
    } catch (e) {
      absent[name] = e.message;
    }
  }
  const checks = await check(model, engines);
  const ceilings = [await tw.measurePeak(engines[0].info.relaxed_simd)];
  globalThis.gc();
  const measured = await measure(engines, { rounds, settleMs }, note);
  // Turbo and throttling change the ceiling while the benchmark runs.
  ceilings.push(await tw.measurePeak(engines[0].info.relaxed_simd));
  for (const e of engines) await e.dispose();
  return { ...rowOf(engines[0], measured, Math.max(...ceilings)), ...checks, absent };
}

/** Whose results are wrong, and how far the others' are from the first's. */
async function check(model, engines) {
  const outputs = [];
  for (const e of engines) outputs.push(await e.run());
  return {
    allowed: engines[0].allowed,
    wrong: engines.filter((e, i) => !isRight(model, outputs[i], e.allowed)).map((e) => e.name),
    difference: Object.fromEntries(engines.slice(1).map((e, i) => [e.name, largestDifference(model, outputs[0], outputs[i + 1])])),
  };
}
