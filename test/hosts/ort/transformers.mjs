// @huggingface/transformers with the onnxruntime packages, or with tilewright/ort in their place; prints what it saw as JSON.
// Arguments: the module that is tilewright/ort, or "as it is"; how it is put in place: `symbol` or `package`; the folder of models.
import { Module, createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { transformersPrograms } from "./transformers-programs.mjs";

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
const transformers = await import("@huggingface/transformers");
// Beside a runtime of the host's the package knows no devices: it is to let that choose.
const options = way === "symbol" && ours !== "as it is" ? { device: "auto" } : {};
const seen = await transformersPrograms(transformers, `${folder}/`, options);
process.stdout.write(`\n${JSON.stringify(seen)}\n`, () => process.exit(0));
