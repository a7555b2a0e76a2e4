// The two sides of the comparison, behind one face: `{ name, run(): outputs by name, each { dims, data }, dispose() }`.
// Both take a model's bytes, the external data beside it, and the same typed arrays; both give copies of their outputs.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";
export const ortVersion = ort.env.versions.web;

/** Loads the parts of a build of tilewright that the benchmark needs. */
export async function loadTilewright(dist) {
  const part = (path) => import(pathToFileURL(join(dist, path)).href);
  const [{ importSource }, { buildArtifact, featuresHere, startArtifact }, { folderResolver }, { measurePeak }, { hasRelaxedSimd }, { version }] =
    await Promise.all(["importer.js", "load.js", "node/external-data.js", "targets/wasm/peak.js", "runtime/model.js", "version.js"].map(part));
  return { importSource, buildArtifact, featuresHere, startArtifact, folderResolver, measurePeak, hasRelaxedSimd, version };
}

/** `model`: `{ name, bytes, dir, inputs: [{ name, dims, dtype, data }] }`, `dir` null where there is no external data. */
export async function startTilewright(tw, model) {
  const begun = performance.now();
  const resolver = model.dir === null ? undefined : tw.folderResolver(model.dir);
  const source = tw.importSource(model.bytes, { name: model.name, ...(resolver === undefined ? {} : { resolver }) });
  const { artifact } = tw.buildArtifact(source, { features: tw.featuresHere({}) });
  const loaded = await tw.startArtifact(artifact);
  resolver?.close();
  const inputs = Object.fromEntries(model.inputs.map(({ name, data, dims }) => [name, { data, dims }]));
  return {
    name: "tilewright",
    startMs: performance.now() - begun,
    flops: artifact.manifest.flops,
    codeBytes: artifact.manifest.modules[0].bytes,
    run: () => loaded.run(inputs),
    dispose: () => loaded.dispose(),
  };
}

export async function startOrt(model) {
  const begun = performance.now();
  const weights = model.dir === null ? [] : [{ path: `${model.name}.bin`, data: readFileSync(join(model.dir, `${model.name}.bin`)) }];
  const session = await ort.InferenceSession.create(model.bytes, {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
    externalData: weights,
  });
  const feeds = Object.fromEntries(model.inputs.map(({ name, dtype, data, dims }) => [name, new ort.Tensor(dtype, data, dims)]));
  return {
    name: "onnxruntime-web",
    startMs: performance.now() - begun,
    run: () => session.run(feeds),
    dispose: () => session.release(),
  };
}

/** A model of the suite, as both sides take it. */
export function suiteModel({ name, file, inputs, outputs }) {
  return { name: basename(name), bytes: readFileSync(file), dir: dirname(file), inputs, outputs };
}
