// onnxruntime-node as the benchmark uses it: ONNX Runtime's own build for this machine. Outputs are written to memory that is
// allocated once.
import { join } from "node:path";
import ort from "onnxruntime-node";
import { allowedShare } from "../suite.mjs";
import { timeRuns } from "../timing.mjs";

const options = (threads) => ({
  executionProviders: ["cpu"],
  graphOptimizationLevel: "all",
  executionMode: "sequential",
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
});

/** A session of a model, and its inputs as it takes them. */
export async function openOrtNode(model, threads) {
  const session = await ort.InferenceSession.create(model.dir === null ? model.bytes : join(model.dir, `${model.name}.onnx`), options(threads));
  const feeds = Object.fromEntries(model.inputs.map(({ name, dtype, data, dims }) => [name, new ort.Tensor(dtype, data, dims)]));
  return { session, feeds };
}

export async function startOrtNode(model, { threads }) {
  const begun = performance.now();
  const { session, feeds } = await openOrtNode(model, threads);
  const startMs = performance.now() - begun;
  const places = await session.run(feeds);
  const engine = {
    name: "onnxruntime-node",
    // The expected values come from another build; what matters here is that it computes the same model.
    allowed: allowedShare.winograd4,
    run: () => session.run(feeds, places),
    stretch: (repeats) => timeRuns(engine, repeats),
    dispose: () => session.release(),
    startMs,
  };
  return engine;
}
