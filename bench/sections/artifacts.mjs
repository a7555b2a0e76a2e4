// What tilewright's artifact of a model costs beside onnxruntime-web's session of it: peak memory, and the time to start.
import { median } from "../statistics.mjs";
import { inFreshProcess, notNull, withArtifact } from "./common.mjs";

const engines = ["tilewright", "onnxruntime-web"];

/** A job done by each engine, in a fresh process each; null when one fails or gives wrong results. */
async function byEach(context, job, name, artifact) {
  const out = {};
  for (const engine of engines) {
    const result = await inFreshProcess(context, name, job, { engine, name, artifact, threads: context.threads });
    if (result === null) return null;
    if (!result.right) context.fail(name, `WRONG results of ${engine} (${job})`);
    out[engine] = result;
  }
  return out;
}

/** Peak resident memory over that of an empty process, and bytes of WebAssembly memory. */
export async function measureMemory(context, names) {
  const empty = await inFreshProcess(context, "an empty process", "empty", {});
  if (empty === null) return [];
  const rows = [];
  for (const name of names) {
    const both = await withArtifact(context, name, (artifact) => byEach(context, "memory", name, artifact));
    if (both !== null) for (const engine of engines) both[engine].above_empty_bytes = both[engine].peak_bytes - empty.peak_bytes;
    rows.push(both === null ? null : { name, empty_bytes: empty.peak_bytes, ...both });
  }
  return notNull(rows);
}

/** Medians over `repeats` pairs of fresh processes, in turns. */
export async function measureStart(context, names, repeats = 5) {
  const rows = [];
  for (const name of names) {
    const all = await withArtifact(context, name, async (artifact) => {
      const pairs = [];
      for (let i = 0; i < repeats; i++) {
        context.note(`${name}: start ${i + 1} of ${repeats}`);
        pairs.push(await byEach(context, "start", name, artifact));
      }
      return pairs;
    });
    const pairs = notNull(all ?? [null]);
    rows.push(pairs.length === 0 ? null : startRow(name, pairs));
  }
  return notNull(rows);
}

function startRow(name, pairs) {
  const times = (engine) => {
    const of = (key) => median(pairs.map((p) => p[engine][key]));
    return { ready_ms: of("ready_ms"), first_ms: of("first_ms"), run_ms: of("run_ms"), start_ms: of("start_ms") };
  };
  const [ours, theirs] = engines.map(times);
  const ratios = { session: theirs.ready_ms / ours.start_ms, first_result: theirs.start_ms / ours.start_ms };
  const weights = pairs[0].tilewright.weight_bytes;
  return { name, weight_bytes: weights, repeats: pairs.length, tilewright: ours, "onnxruntime-web": theirs, ratios, runs: pairs };
}
