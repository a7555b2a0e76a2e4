import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { importOnnx } from "../src/frontends/onnx/import.ts";
import { CBatch, testBatch } from "./support/c.ts";
import { graphDisagreements } from "./support/executions.ts";
import { hostFrom } from "../src/graph/host.ts";
import { seededRandom } from "../src/schedule/random.ts";

const batch = new CBatch();

/** The example model goes the whole road on every execution: interpreters, random schedules, WASM, C. */
it("the digits model agrees on every execution", async () => {
  const bytes = new Uint8Array(readFileSync(new URL("../examples/digits/digits.onnx", import.meta.url)));
  const { graph } = importOnnx(bytes, { resolver: null, name: "digits" });
  const random = seededRandom(20);
  const inputs = graph.params.map((p) => hostFrom(p.dtype, p.dims.map(Number), () => random()));
  expect(await graphDisagreements({ graph, inputs }, { schedules: 20, seed: 20, batch })).toEqual([]);
}, 120_000);

testBatch(batch);
