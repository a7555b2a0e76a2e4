import { existsSync, readFileSync } from "node:fs";
import { relative } from "node:path";
import { describe, expect, it } from "vitest";
import { TilewrightError } from "../src/base/errors.ts";
import { compileGraph } from "../src/compile.ts";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { brief } from "./support/compare.ts";
import { corpus, filesBelow } from "./support/corpora.ts";
import { againstGolden } from "./support/golden.ts";
import { type Golden, readGolden } from "./support/npz.ts";
import { importModel } from "./support/onnx-cases.ts";
import { variants } from "./support/relaxed.ts";
import { runInWasm } from "./support/run.ts";

const suite = corpus("onnx-real");

/** Models that are compiled for the sizes of their reference inputs, with the reason. */
const sized: Readonly<Record<string, string>> = {
  "silero-vad/src/silero_vad/data/silero_vad_16k_op15.onnx": "the rank of a result of an If depends on the number of samples",
};

describe.skipIf(suite === null)("models of projects", () => {
  const all = suite === null ? [] : filesBelow(suite, ".onnx");
  const name = (file: string) => relative(suite ?? "", file);
  const golden = all.filter((f) => existsSync(f.replace(/onnx$/, "golden.npz")));

  it.each(golden.map((f) => [name(f), f] as const))("%s", async (_, file) => {
    const bytes = readFileSync(file);
    const reference = readGolden(file.replace(/onnx$/, "golden.npz"));
    if (reference === null) {
      // Of models of strings there are no tensors to compare with.
      expect(() => importOnnx(bytes)).toThrow(TilewrightError);
      return;
    }
    const fixed = name(file) in sized;
    // So the list stays true.
    if (fixed) expect(() => importModel(bytes, reference.inputs)).toThrow(/--shape/);
    expect(await wrongOutputs(bytes, reference, fixed)).toEqual([]);
  });

  it("models without reference results are imported, or refused with an error that says why", () => {
    const unclear: string[] = [];
    for (const file of all.filter((f) => !golden.includes(f))) {
      try {
        importOnnx(readFileSync(file));
      } catch (e) {
        const clear = e instanceof TilewrightError && e.name !== "InternalError" && e.name !== "VerifyError" && e.message.length > 30;
        if (!clear) unclear.push(`${name(file)}: ${brief(e)}`);
      }
    }
    expect(unclear).toEqual([]);
  });
});

/**
 * Like the reference, the module that engines of today take fuses multiplications and additions; where each product is rounded by
 * itself, a deep network of many additions (FastestDet) is twice as far from the exact result.
 */
const relaxed = variants.includes(true);

async function wrongOutputs(bytes: Uint8Array, reference: Golden, fixed: boolean): Promise<string[]> {
  const ready = importModel(bytes, reference.inputs, fixed);
  return againstGolden(bytes, ready, await runInWasm(compileGraph(ready.model.graph), ready.inputs, relaxed), reference);
}
