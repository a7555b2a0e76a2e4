import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { TilewrightError } from "../src/base/errors.ts";
import { compileGraph } from "../src/compile.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { decodeModel } from "../src/frontends/onnx/proto.ts";
import { brief } from "./support/compare.ts";
import { type Outcome, checkOutputs, outcomeOf } from "./support/conformance.ts";
import { corpus, filesBelow } from "./support/corpora.ts";
import { type Case, expectedOutputs, importModel, inputValues, opsOf, outOfScope } from "./support/onnx-cases.ts";
import { faulty, opCases } from "./support/op-cases.ts";
import { runInWasm } from "./support/run.ts";

const suites = corpus("onnx-suites");
const at = (...parts: string[]) => join(suites ?? "", ...parts);

/** Collects what fails. `foreign` says why a case is of no op of ONNX; it must then be refused, or be right. */
class Tally {
  readonly wrong: string[] = [];
  ran = 0;
  refused = 0;
  add(name: string, o: Outcome | null, foreign: string | null): void {
    if (o?.kind === "pass") this.ran++;
    else if (o?.kind === "unsupported" && foreign !== null) this.refused++;
    else if (o !== null) this.wrong.push(`${name}: ${o.kind}: ${o.message}`);
  }
}

describe.skipIf(suites === null)("suites of other projects", () => {
  it("op tests of ONNX Runtime for the web", { timeout: 240_000 }, async () => {
    const tally = new Tally();
    const passed: string[] = [];
    for (const c of opCases(at("ort-web-ops-jsonc", "js", "web", "test", "data", "ops"))) {
      const o = await outcomeOf(async () => {
        const ready = importModel(c.model, c.inputs);
        checkOutputs(ready, await runInWasm(compileGraph(ready.model.graph), ready.inputs, false), c.outputs);
        return true;
      });
      if (!(c.name in faulty)) tally.add(c.name, o, ["", "com.microsoft"].includes(c.domain) ? removedOp(c.model) : c.domain);
      else if (o?.kind === "pass") passed.push(c.name);
    }
    // So the list stays true.
    expect(passed).toEqual([]);
    console.log(`op tests of ONNX Runtime for the web: ${tally.ran} pass, ${tally.refused} are of other domains' ops`);
    expect(tally.wrong).toEqual([]);
  });

  it("op tests of onnx2c", { timeout: 240_000 }, async () => {
    const tally = new Tally();
    const folder = at("onnx2c", "test");
    for (const set of filesBelow(folder, "output_0.pb").map((f) => join(f, ".."))) {
      const path = join(set, "..", "model");
      const model = readFileSync(`${path}.onnx`);
      const c: Case = { name: relative(folder, set), model, proto: decodeModel(model), files: set, path };
      const o = await outcomeOf(async () => {
        const ready = importModel(model, inputValues(c));
        checkOutputs(ready, await runInWasm(compileGraph(ready.model.graph), ready.inputs, false), expectedOutputs(c));
        return true;
      });
      tally.add(c.name, o, outOfScope(c) ?? foreignOp(model));
    }
    console.log(`op tests of onnx2c: ${tally.ran} pass, ${tally.refused} are of other domains' ops`);
    expect(tally.wrong).toEqual([]);
  });

  it("all other models are imported, or refused with an error that says why", { timeout: 120_000 }, () => {
    const wrong: string[] = [];
    const folders = [at("burn-onnx"), at("onnx2c"), at("ort-testdata")];
    for (const file of folders.filter((f) => existsSync(f)).flatMap((f) => filesBelow(f, ".onnx"))) {
      try {
        importOnnx(readFileSync(file));
      } catch (e) {
        const clear = e instanceof TilewrightError && e.name !== "InternalError" && e.name !== "VerifyError";
        if (!clear) wrong.push(`${relative(at(), file)}: ${brief(e)}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

/** An op of another domain in the model; null when there is none. */
function foreignOp(model: Uint8Array): string | null {
  return [...opsOf(decodeModel(model))].find((o) => o.includes(".")) ?? null;
}
/** An op that ONNX once had, and has no more. */
function removedOp(model: Uint8Array): string | null {
  return [...opsOf(decodeModel(model))].find((o) => o === "ImageScaler") ?? null;
}
