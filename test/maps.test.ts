import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { importSource } from "../src/importer.ts";
import { buildArtifact } from "../src/load.ts";
import { declarationsOf } from "../src/node/declarations.ts";
import { compile } from "../src/node/index.ts";
import { missingForNative } from "./support/native.ts";
import { type AttrSpec, failure, model } from "./support/onnx.ts";

const missing = await missingForNative();
if (missing !== null) console.log(`skipped: target native (${missing})`);

/** Shares of features among all, as maps from labels. */
function spec(labels: Readonly<Record<string, AttrSpec>>, dims: readonly (number | string)[] = ["rows", 3]) {
  return {
    domains: { "ai.onnx.ml": 1 },
    inputs: { x: ["f32", dims] as const },
    nodes: [
      { op: "Softmax", in: ["x"], out: ["p"], attrs: { axis: -1 } },
      { op: "ZipMap", domain: "ai.onnx.ml", in: ["p"], out: ["maps"], attrs: labels },
    ],
    outputs: ["maps"],
  };
}
const numbers = { classlabels_int64s: [7, 20, -3] };
const names = { classlabels_strings: { strings: ["cat", "dog", "7"] } };
const x = { data: Float32Array.of(0, 1, 2, 3, 2, 1), dims: [2, 3] };
const row = (logits: readonly number[]): number[] => {
  const e = logits.map(Math.exp);
  return e.map((v) => v / e.reduce((a, b) => a + b, 0));
};

const cache = mkdtempSync(join(tmpdir(), "tilewright-maps-"));
const before = process.env.XDG_CACHE_HOME;
process.env.XDG_CACHE_HOME = cache;
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(cache, { recursive: true, force: true });
});

describe("ZipMap gives a map for each row", () => {
  const targets = missing === null ? (["wasm", "native"] as const) : (["wasm"] as const);
  test.each(targets)("%s: numbers and names as keys", async (target) => {
    for (const [labels, keys] of [
      [numbers, [7, 20, -3]],
      [names, ["cat", "dog", "7"]],
    ] as const) {
      const m = await compile(model(spec(labels)), { target });
      expect(m.outputs).toEqual([{ name: "maps", dtype: "f32", dims: ["rows", 3], labels: keys }]);
      const { maps } = await m.run({ x });
      expect(maps?.dims).toEqual([2, 3]);
      expect(maps?.maps?.map((r) => [...r.keys()])).toEqual([keys, keys]);
      [row([0, 1, 2]), row([3, 2, 1])].forEach((want, i) => {
        keys.forEach((k, j) => expect(maps?.maps?.[i]?.get(k)).toBeCloseTo(want[j] as number, 6));
      });
      // A result can be sent to another thread, maps and all.
      expect(structuredClone(maps)).toEqual({ ...maps });
      m.dispose();
    }
  });

  test("one row without a dimension of its own, none at all; a width that the labels decide", async () => {
    const one = await compile(model(spec(numbers, [3])));
    const { maps } = await one.run({ x: [0, 0, 0] });
    expect(maps?.maps?.map((r) => [...r.keys()])).toEqual([[7, 20, -3]]);
    one.dispose();
    const wide = await compile(model(spec(numbers, ["rows", "features"])));
    expect(wide.outputs[0]?.dims).toEqual(["rows", 3]);
    await expect(wide.run({ x: { data: new Float32Array(8), dims: [2, 4] } })).rejects.toMatchObject({ name: "UserError" });
    wide.dispose();
  });

  test("an integer that no number holds exactly is a text; other outputs have no maps", async () => {
    const large = importSource(model(spec({ classlabels_int64s: [1, 2, 2 ** 60] })), { name: "m" });
    expect(large.outputLabels).toEqual([[1, 2, String(2n ** 60n)]]);
    const m = await compile(model({ nodes: [{ op: "Neg", in: ["x"], out: ["y"] }], inputs: { x: ["f32", [1]] }, outputs: ["y"] }));
    expect(Object.keys((await m.run({ x: [1] })).y ?? {})).toEqual(["data", "dims", "dtype"]);
    m.dispose();
  });

  test("the artifact's types name the keys", () => {
    const built = buildArtifact(importSource(model(spec(names)), { name: "m" }));
    const text = declarationsOf(built.artifact.manifest);
    expect(text).toContain('readonly maps: readonly ReadonlyMap<"cat" | "dog" | "7", number>[]');
    expect(JSON.parse(JSON.stringify(built.artifact.manifest)).outputs[0].labels).toEqual(["cat", "dog", "7"]);
  });

  test("labels that cannot be keys", () => {
    expect(failure(spec({})).message).toContain("(ZipMap): there are no class labels");
    expect(failure(spec({ classlabels_int64s: [1, 2, 1] })).message).toContain("(ZipMap): the class labels [1, 2, 1] name one twice");
    expect(failure(spec({ classlabels_int64s: [1, 2] })).message).toContain("columns of X for 2 class labels: 3 has to be 2");
    expect(failure(spec(numbers, [1, 1, 3])).message).toContain("X is [1, 1, 3], expected [3] or [rows, 3]");
  });
});
