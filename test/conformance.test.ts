import { describe, expect, it } from "vitest";
import { exceptions } from "./support/conformance-shard.ts";
import { corpus } from "./support/corpora.ts";
import { caseNames, outOfScope, readCase } from "./support/onnx-cases.ts";

const suite = corpus("onnx-conformance");

// The cases themselves run in conformance-*.test.ts.
describe.skipIf(suite === null)("ONNX backend conformance", () => {
  const names = suite === null ? [] : caseNames(suite);

  it("at most 0.5% of the cases may fail, each for a reason that is written down", () => {
    console.log(`conformance: ${exceptions.length} of ${names.length} cases are excepted`);
    expect(new Set(exceptions.map((x) => x.name)).size).toBe(exceptions.length);
    expect(exceptions.filter((x) => !names.includes(x.name))).toEqual([]);
    expect(exceptions.filter((x) => x.reason.length < 20)).toEqual([]);
    expect(exceptions.length).toBeLessThanOrEqual(0.005 * names.length);
  });

  it("few cases are refused on purpose: strings, images and training", () => {
    const refused = names.filter((name) => outOfScope(readCase(suite ?? "", name)) !== null);
    console.log(`conformance: ${refused.length} of ${names.length} cases hold strings, ImageDecoder or training ops`);
    expect(names.length).toBeGreaterThan(2000);
    expect(refused.length).toBeLessThan(70);
  });
});
