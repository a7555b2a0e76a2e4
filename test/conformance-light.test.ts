import { describe, expect, it } from "vitest";
import { compilerThere } from "./support/c.ts";
import { runAsC } from "./support/c-jobs.ts";
import { checkCase, importedCase, runCase } from "./support/conformance.ts";
import { corpus } from "./support/corpora.ts";
import { caseNames, readCase } from "./support/onnx-cases.ts";

const suite = corpus("onnx-conformance");
const names = suite === null ? [] : caseNames(suite).filter((n) => n.startsWith("light/"));

/** The smallest one; the reference takes minutes to hours for the others, whose multiplications are thousands of millions. */
const interpreted = "light/light_squeezenet";

// Whole networks whose weights are filled with one number. They take seconds where other cases take none.
describe.skipIf(suite === null)("ONNX backend conformance, whole networks", () => {
  it("are nine", () => expect(names).toHaveLength(9));

  it("the smallest one through the graph interpreter", { timeout: 300_000 }, async () => {
    expect(await runCase(readCase(suite ?? "", interpreted), "interpreter")).toEqual({ kind: "pass" });
  });

  it.each(names)("%s as WASM, with its weights as they are and as inputs", { timeout: 120_000 }, async (name) => {
    const c = readCase(suite ?? "", name);
    expect(await runCase(c, "wasm")).toEqual({ kind: "pass" });
    expect(await runCase(c, "wasm-inputs")).toEqual({ kind: "pass" });
  });

  it.skipIf(!compilerThere("gcc")).each(names)("%s as C", { timeout: 120_000 }, async (name) => {
    const c = readCase(suite ?? "", name);
    const ready = importedCase(c);
    const job = {
      what: name,
      graph: ready.model.graph,
      inputs: ready.inputs,
      check: (got: Parameters<typeof checkCase>[2]) => checkCase(c, ready, got),
    };
    expect((await runAsC([job])).get(job)).toEqual({ kind: "pass" });
  });
});
