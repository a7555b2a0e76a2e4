// An engine started as a user would from files: tilewright from an artifact's folder, onnxruntime-web from the model's own.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { allowedShare } from "../suite.mjs";

/** An artifact does not tell which algorithms are in it. */
export const resultShare = allowedShare.winograd4;

/** Starts tilewright's artifact in `artifact`; gives a function that runs it once. */
export async function openArtifact({ artifact, threads }, inputs) {
  const { load } = await import(pathToFileURL(join(artifact, "model.js")).href);
  const model = await load(threads === 1 ? {} : { threads });
  const given = Object.fromEntries(inputs.map(({ name, data, dims }) => [name, { data, dims }]));
  return { run: () => model.run(given), info: () => model.info() };
}

/** The library of onnxruntime-web, not yet initialised: that is the first session's work. */
export async function importOrt(threads) {
  const ort = await import("onnxruntime-web");
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = threads;
  return ort;
}

/** Creates a session from a model's file, and its external data. */
export async function openSession(ort, { file, dir, name }, inputs) {
  const data = join(dir, `${name}.bin`);
  const session = await ort.InferenceSession.create(readFileSync(file), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    externalData: existsSync(data) ? [{ path: `${name}.bin`, data: readFileSync(data) }] : [],
  });
  const feeds = Object.fromEntries(inputs.map((i) => [i.name, new ort.Tensor(i.dtype, i.data, i.dims)]));
  return { run: () => session.run(feeds) };
}
