import { describe, expect, test } from "vitest";
import { type PipelineOptions, compileTensor } from "../src/compile.ts";
import { importSource } from "../src/importer.ts";
import { applySchedule, emptyChooser } from "../src/schedule/choose.ts";
import { kernelViolations } from "../src/schedule/legal.ts";
import { seededRandom } from "../src/schedule/random.ts";
import { type KernelSchedule, parseSchedule } from "../src/schedule/schedule.ts";
import { wasmMachine } from "../src/targets/wasm/machine.ts";
import { blocksOf, placeOf } from "./support/doc-blocks.ts";
import { randomTensor, runInWasm } from "./support/run.ts";

/** The schedules that docs/schedules.md shows are legal for its kernel, and compute what the kernel says. */

const blocks = blocksOf("docs/schedules.md");
const kernel = blocks.find((b) => b.language === "tw")?.text ?? "";
const schedules = blocks.filter((b) => b.language === "json");

async function result(options: PipelineOptions): Promise<readonly number[]> {
  const source = importSource(new TextEncoder().encode(kernel), { name: "example" });
  if (source.kind !== "tensor") throw new Error("expected tensor IR");
  const compiled = compileTensor(source.sc, source.function, { ...options, layouts: "keep", verify: true });
  const random = seededRandom(7);
  const inputs = source.function.inputs.map((t) => randomTensor(t, random));
  return (await runInWasm(compiled, inputs, false)).flatMap((t) => [...t.data].map(Number));
}

/** The page's kernel under a schedule; what packs ask for besides, copies of operands, runs loop by loop. */
function under(schedule: KernelSchedule): PipelineOptions {
  return {
    schedule: (sc, k) => {
      if (k.name !== "product") return emptyChooser(sc, k);
      const chosen = applySchedule(sc, wasmMachine, k, schedule);
      expect(kernelViolations(chosen.kernel, schedule)).toEqual([]);
      return chosen;
    },
  };
}

describe("docs/schedules.md", () => {
  test("shows schedules", () => {
    expect(schedules.length).toBeGreaterThanOrEqual(6);
    expect(new Set(schedules.map((b) => JSON.stringify(parseSchedule(b.text)))).size).toBe(schedules.length);
  });

  test.each(schedules.map((b) => [placeOf(b), b.text] as const))("the schedule at %s", async (_, text) => {
    const expected = await result({ schedule: "empty" });
    const got = await result(under(parseSchedule(text)));
    expect(got).toHaveLength(expected.length);
    // Sums of 48 products of numbers below 2, in another order.
    got.forEach((v, i) => expect(Math.abs(v - (expected[i] as number))).toBeLessThan(1e-4));
  });
});
