// From files on disk to the first result, in a fresh process: tilewright from an artifact's shared library, ONNX Runtime from
// the model's file. Both are called from Node; neither's packages count that are loaded before there is a model.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { loadNative } from "../../engines/native.mjs";
import { isRight } from "../../results.mjs";
import { readModel } from "../../suite.mjs";
import { resultShare } from "../artifact.mjs";
import { timeStart } from "../start.mjs";

const openers = {
  async tilewright({ dist, artifact, threads }, model) {
    const tw = await loadNative(dist);
    const ffi = await tw.loadFfi();
    const given = Object.fromEntries(model.inputs.map(({ name, data, dims }) => [name, { data, dims }]));
    return () => {
      const manifest = JSON.parse(readFileSync(join(artifact, "model.json"), "utf8"));
      const file = join(artifact, libraryOf(artifact));
      const library = new tw.NativeLibrary(ffi, file, manifest.prefix, false, tw.runsOf(manifest));
      const weights = manifest.weight_bytes === 0 ? null : join(artifact, manifest.weights[0].file);
      const opened = new tw.NativeModel(manifest, { library, file, compiler: "", weights, threads });
      return { run: () => opened.runNow(given), weightBytes: manifest.weight_bytes };
    };
  },
  async "onnxruntime-node"({ threads }, model) {
    const { openOrtNode } = await import("../../engines/ort-node.mjs");
    return async () => {
      const { session, feeds } = await openOrtNode(model, threads);
      return { run: () => session.run(feeds) };
    };
  },
};

/** The shared library in an artifact's folder. */
function libraryOf(artifact) {
  const found = readdirSync(artifact).find((f) => /\.(so|dylib|dll)$/.test(f));
  if (found === undefined)
    throw new Error("the artifact holds no shared library: there is no C compiler that works ('tilewright doctor' tells more)");
  return found;
}

/** `{ dist, engine, name, artifact, threads }`: milliseconds until it could run, until the first result, and of one run. */
export async function nativeStart(params) {
  const model = readModel(params.name);
  const open = await openers[params.engine](params, model);
  const { opened, outputs, ...times } = await timeStart(open);
  return { right: isRight(model, outputs, resultShare), ...times, ...(opened.weightBytes === undefined ? {} : { weight_bytes: opened.weightBytes }) };
}
