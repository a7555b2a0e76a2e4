import { expect, test } from "vitest";
import { graphOps } from "../src/graph/registry.ts";
import { randomChooser, seededRandom } from "../src/schedule/random.ts";
import { cDisagreements, cMachine, cOptions, exampleCases, warningFlags, withCompiler } from "./support/c.ts";

/** Every example of every op as C, at all levels that this processor has. */
withCompiler("gcc", () => {
  const flags = ["-O1", ...warningFlags];
  test("op examples under default schedules, without warnings", async () => {
    expect(
      await cDisagreements(
        exampleCases(graphOps, () => cOptions),
        "gcc",
        flags,
      ),
    ).toEqual([]);
  }, 300_000);

  test("op examples under random schedules", async () => {
    const random = seededRandom(31);
    const cases = exampleCases(graphOps, () => ({ ...cOptions, schedule: randomChooser(cMachine("avx512"), random) }));
    expect(await cDisagreements(cases, "gcc", flags)).toEqual([]);
  }, 300_000);

  test("op examples under the empty schedule", async () => {
    expect(
      await cDisagreements(
        exampleCases(graphOps, () => ({ ...cOptions, schedule: "empty" })),
        "gcc",
        flags,
      ),
    ).toEqual([]);
  }, 300_000);
});
