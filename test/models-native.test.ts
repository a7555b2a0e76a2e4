import { beforeAll, describe, expect, test } from "vitest";
import { nativeLevel } from "../src/node/native/processor.ts";
import { buildForTests } from "./support/cli.ts";
import { type NativeResult, checkAgreement, cnns, referenceMissing, runNative, suiteMissing, symbolic, transformers } from "./support/models.ts";
import { missingForNative } from "./support/native.ts";

/** The float models of the suite as native code: what they must give, on any number of threads. */

const missing = suiteMissing ?? (await missingForNative());
for (const reason of new Set([missing, referenceMissing])) if (reason !== null) console.log(`skipped: ${reason}`);

/** Models whose bits are compared for several numbers of threads: convolutions, some depthwise; fused attention; a cache. */
const onManyThreads: readonly string[] = ["squeezenet1_1", "mobilenet_v3_small", "minilm", "gpt_kv"];

let dist = "";
beforeAll(() => {
  dist = buildForTests();
});

async function check(name: string): Promise<NativeResult> {
  const many = onManyThreads.includes(name);
  const r = await runNative(dist, name, many ? [1, 2, 3, 7] : [2]);
  const worst = Math.max(...r.runs.map((run) => checkAgreement(`${name} on ${run.threads}`, run.cases)));
  console.log(`${name}: ${r.level}, off by at most ${worst.toFixed(3)} of what is allowed; ${(r.cBytes / 1000).toFixed(0)} kB of C`);
  expect(r.runs.map((run) => run.threads)).toEqual(r.runs.map((run) => run.asked));
  expect(r.shared, "launches that threads share").toBeGreaterThan(5);
  if (nativeLevel() !== null) expect(r.level).toBe(nativeLevel());
  expect(r.levels).toContain(r.level);
  expect(r.builds, "runs of the C compiler").toBe(1);
  if (many) expect(new Set(r.runs.map((run) => run.hash)).size, "results on 1, 2, 3 and 7 threads").toBe(1);
  return r;
}

// Two at a time (vitest's maxConcurrency): most of the time goes to the C compiler, which has one thread.
describe.skipIf(missing !== null).concurrent("models of the suite, native", { timeout: 300_000 }, () => {
  test.each([...cnns, ...transformers.map(([name]) => name)])("%s agrees with the reference", async (name) => {
    await check(name);
  });

  test.each(symbolic)("%s, compiled once without sizes, agrees at several of them", async (name) => {
    const { runs } = await check(name);
    for (const run of runs) expect(new Set(run.cases.map((c) => c.case)).size).toBeGreaterThanOrEqual(4);
  });
});
