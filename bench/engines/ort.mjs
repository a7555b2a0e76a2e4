// onnxruntime-web as the benchmark uses it: its build for Node, which has threads there; the WebAssembly is the same as that
// of its builds for browsers.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-web";
import { allowedShare } from "../suite.mjs";
import { timeRuns } from "../timing.mjs";

ort.env.logLevel = "error";

export async function startOrt(model, { threads }) {
  ort.env.wasm.numThreads = threads;
  const begun = performance.now();
  const file = model.dir === null ? null : join(model.dir, `${model.name}.bin`);
  const session = await ort.InferenceSession.create(model.bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    externalData: file === null || !existsSync(file) ? [] : [{ path: `${model.name}.bin`, data: readFileSync(file) }],
  });
  const feeds = Object.fromEntries(model.inputs.map(({ name, dtype, data, dims }) => [name, new ort.Tensor(dtype, data, dims)]));
  const engine = {
    name: "onnxruntime-web",
    // The expected values come from another runtime; what matters here is that it computes the same model.
    allowed: allowedShare.winograd4,
    run: () => session.run(feeds),
    stretch: (repeats) => timeRuns(engine, repeats),
    dispose: () => session.release(),
    startMs: performance.now() - begun,
  };
  return engine;
}
