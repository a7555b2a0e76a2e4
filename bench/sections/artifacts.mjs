// What tilewright's artifact of a model costs beside another engine's session of it: peak memory, and the time to start.
import { median } from "../statistics.mjs";
import { inFreshProcess, notNull, withArtifact } from "./common.mjs";

const engines = ["tilewright", "onnxruntime-web"];

/** A job done by each engine, in a fresh process each; null when one fails or gives wrong results. */
async function byEach(context, job, names, name, artifact) {
  const out = {};
  for (const engine of names) {
    const result = await inFreshProcess(context, name, job, { dist: context.dist, engine, name, artifact, threads: context.threads });
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
    const both = await withArtifact(context, name, (artifact) => byEach(context, "memory", engines, name, artifact));
    if (both !== null) for (const engine of engines) both[engine].above_empty_bytes = both[engine].peak_bytes - empty.peak_bytes;
    rows.push(both === null ? null : { name, empty_bytes: empty.peak_bytes, ...both });
  }
  return notNull(rows);
}

export const measureStart = (context, names) =>
  startTimes(context, names, "start", engines, (ours, theirs) => ({
    session: theirs.ready_ms / ours.start_ms,
    first_result: theirs.start_ms / ours.start_ms,
  }));

const repeats = 5;

/** Medians over pairs of fresh processes of two engines, in turns; `ratiosOf` makes ratios of the two's times. */
export async function startTimes(context, names, job, pair, ratiosOf) {
  const rows = [];
  for (const name of names) {
    const all = await withArtifact(context, name, async (artifact) => {
      const pairs = [];
      for (let i = 0; i < repeats; i++) {
        context.note(`${name}: start ${i + 1} of ${repeats}`);
        pairs.push(await byEach(context, job, pair, name, artifact));
        // It would fail again.
        if (pairs.at(-1) === null) break;
      }
      return pairs;
    });
    const pairs = notNull(all ?? [null]);
    rows.push(pairs.length === 0 ? null : startRow(name, pairs, pair, ratiosOf));
  }
  return notNull(rows);
}

function startRow(name, pairs, pair, ratiosOf) {
  const times = (engine) => {
    const of = (key) => median(pairs.map((p) => p[engine][key]));
    return { ready_ms: of("ready_ms"), first_ms: of("first_ms"), run_ms: of("run_ms"), start_ms: of("start_ms") };
  };
  const [ours, theirs] = pair.map(times);
  const weights = pairs[0].tilewright.weight_bytes;
  return { name, weight_bytes: weights, repeats: pairs.length, tilewright: ours, [pair[1]]: theirs, ratios: ratiosOf(ours, theirs), runs: pairs };
}
