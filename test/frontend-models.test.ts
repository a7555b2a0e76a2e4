import { existsSync, readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ExternalDataResolver, importOnnx, inspectOnnx } from "../src/frontends/onnx/import.ts";
import { shared } from "./support/corpora.ts";

const models = join(shared, "models");
const present = existsSync(models);
if (!present) console.log("skipped: no shared models beside the repository");

/** The weights are not there: whoever reads them fails. */
const absent: ExternalDataResolver = {
  open: (location, offset, length) => ({
    byteLength: length ?? 0,
    key: `${location}:${offset}`,
    read() {
      throw new Error(`'${location}' was read during import`);
    },
  }),
};

const quantised = ["minilm_int8", "mobilenet_v2_qdq", "resnet18_qdq"];
const names = present
  ? readdirSync(models)
      .filter((f) => f.endsWith(".onnx"))
      .map((f) => basename(f, ".onnx"))
  : [];

describe.skipIf(!present)("architectures of the suite", () => {
  const read = (name: string) => new Uint8Array(readFileSync(join(models, `${name}.onnx`)));

  it("there are 18 float models", () => {
    expect(names.filter((n) => !quantised.includes(n))).toHaveLength(18);
  });

  it.each(names.filter((n) => !quantised.includes(n)))("%s is imported without reading its weights", (name) => {
    const m = importOnnx(read(name), { resolver: absent });
    expect(m.graph.results.map((r) => r.dims.length)).toEqual(m.graph.results.map((_, i) => declaredRank(name, i)));
    expect(m.graph.params.map((p) => p.name)).toEqual(m.inputNames);
    const named = new Set(m.graph.ops.flatMap((o) => o.results.flatMap((r) => r.origin)));
    expect(named.size).toBeGreaterThan(0.5 * m.info.nodes);
  });

  /** Rank of an output as inspect shows it, without the graph. */
  function declaredRank(name: string, i: number): number {
    return inspectOnnx(read(name)).outputs[i]?.dims?.length ?? -1;
  }

  it.each(quantised)("%s is imported whole", (name) => {
    const { problems, info } = inspectOnnx(read(name));
    expect(problems).toEqual([]);
    expect((info.ops["DequantizeLinear"] ?? 0) + (info.ops["MatMulInteger"] ?? 0)).toBeGreaterThan(20);
    expect(importOnnx(read(name), { resolver: absent }).graph.params.length).toBeGreaterThan(0);
  });

  it("minilm_dyn keeps its symbols, and finds how long a sequence may be", () => {
    const { graph } = importOnnx(read("minilm_dyn"), { resolver: absent });
    expect(graph.symbols.map(({ name, min, max }) => ({ name, min, max }))).toEqual([
      { name: "batch", min: 0, max: Number.POSITIVE_INFINITY },
      { name: "seq", min: 0, max: 512 },
    ]);
    expect(graph.results.map((r) => r.dims.join())).toEqual(["batch,seq,384"]);
    const fixed = importOnnx(read("minilm_dyn"), { resolver: absent, symbols: { batch: 2 }, shapes: { input_ids: ["batch", 7] } });
    expect(fixed.graph.symbols).toEqual([]);
    expect(fixed.graph.results.map((r) => r.dims.join())).toEqual(["2,7,384"]);
    expect(() => importOnnx(read("minilm_dyn"), { resolver: absent, symbols: { seq: { min: 600 } } })).toThrow(/512.*--shape seq=N/);
  });

  it("gpt_kv keeps its symbols", () => {
    const { graph } = importOnnx(read("gpt_kv"), { resolver: absent });
    expect(graph.symbols.map((s) => s.name)).toEqual(["tokens", "past"]);
    expect(graph.results.map((r) => r.dims.join())).toEqual(["1,tokens,8000", "6,1,6,past + tokens,64", "6,1,6,past + tokens,64"]);
  });
});
