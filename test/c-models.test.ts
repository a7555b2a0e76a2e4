import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { modelFolder } from "../bench/suite.mjs";
import { levels } from "../src/targets/c/levels.ts";
import { CModel } from "./support/c-models.ts";
import { sanitizers, warningFlags, withCompiler } from "./support/c.ts";
import { suiteMissing } from "./support/models.ts";
import { twoAtATime } from "./support/processes.ts";

/** C of whole models, all levels in one file: what compilers and sanitizers say of it, and its size. */

/** Plain convolutions, depthwise ones, attention; with the levels that sanitizers look at: they make code that is slow enough slower. */
const models = [
  { name: "squeezenet1_1", levels },
  { name: "mobilenet_v3_small", levels },
  { name: "minilm", levels: levels.filter((l) => l.name !== "portable") },
];

if (suiteMissing !== null) console.log(`skipped: ${suiteMissing}`);
describe.skipIf(suiteMissing !== null).each(models)("$name as C", { timeout: 300_000 }, ({ name, levels: checked }) => {
  let model: CModel;
  beforeAll(async () => {
    model = await CModel.make(name, modelFolder(name));
  });
  afterAll(() => model.remove());

  if (name === "squeezenet1_1")
    test("is less than 500 kB for all levels", () => {
      expect(model.manifest.levels).toEqual(levels.map((l) => l.name));
      expect(model.manifest.files.find((f) => f.file === "model.c")?.bytes).toBeLessThan(500_000);
    });

  withCompiler("gcc", () => {
    test("no warnings; sanitizers find nothing at any level, on three threads", async () => {
      const tasks: (() => Promise<unknown>)[] = [
        () => model.compile("gcc", ["-O0", ...sanitizers, "main.c", "model.c", "-o", "checked", "-lm", "-lpthread"]),
        // Some warnings come from the optimiser.
        () => model.compile("gcc", ["-O1", ...warningFlags, "-c", "model.c", "-o", "gcc.o"]),
      ];
      await twoAtATime(tasks);
      const ran: string[] = [];
      await twoAtATime(
        checked.map((l) => async () => {
          const worst = await model.run("checked", l.name, 3);
          if (worst === null) return;
          expect(worst, l.name).toBeLessThanOrEqual(1);
          ran.push(l.name);
        }),
      );
      console.log(`${name}: sanitizers looked at ${ran.join(", ")}`);
      expect(ran.length).toBeGreaterThan(0);
    });
  });

  withCompiler("clang", () => {
    test("no warnings by clang", () => model.compile("clang", ["-O0", ...warningFlags, "-c", "model.c", "-o", "clang.o"]));
  });
});
