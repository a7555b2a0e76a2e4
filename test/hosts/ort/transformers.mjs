// @huggingface/transformers with the onnxruntime packages, or with tilewright/ort in their place; prints what it saw as JSON.
// Arguments: the module that is tilewright/ort, or "as it is"; how it is put in place: `symbol` or `package`; the folder of models.
import { Module, createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const [, , ours, way, folder] = process.argv;
if (ours !== "as it is" && way === "symbol") {
  // What the package looks for first: a runtime that the host brings.
  globalThis[Symbol.for("onnxruntime")] = await import(ours);
} else if (ours !== "as it is") {
  // What an alias of the package `onnxruntime-node` does.
  const file = ours.startsWith("file:") ? fileURLToPath(ours) : ours.startsWith("/") ? ours : createRequire(import.meta.url).resolve(ours);
  const resolve = Module._resolveFilename;
  Module._resolveFilename = (request, ...rest) => (request === "onnxruntime-node" ? file : resolve(request, ...rest));
}
const { env, pipeline } = await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.localModelPath = `${folder}/`;
// Without the packages' own list of devices the way is to let it choose.
const options = { dtype: "fp32", ...(way === "symbol" && ours !== "as it is" ? { device: "auto" } : {}) };

const classify = await pipeline("text-classification", "classifier", options);
const embed = await pipeline("feature-extraction", "embedder", options);
const generate = await pipeline("text-generation", "generator", options);
const embeddings = await embed(["the cat is good .", "dogs"], { pooling: "mean", normalize: true });
const seen = {
  classes: await classify(["the film was very good !", "a bad film", "not a film"], { top_k: 2 }),
  embeddings: { dims: embeddings.dims, data: [...embeddings.data] },
  text: [
    await generate("the cat", { max_new_tokens: 12, do_sample: false }),
    await generate(["the film was", "a dog"], { max_new_tokens: 6, do_sample: false }),
  ],
};
for (const p of [classify, embed, generate]) await p.dispose();
process.stdout.write(`\n${JSON.stringify(seen)}\n`, () => process.exit(0));
