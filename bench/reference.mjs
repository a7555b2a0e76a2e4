// Writes every element of a model's outputs as ONNX Runtime's native build gives them, its optimiser off, to the model's
// folder: `node bench/reference.mjs NAME FOLDER`. It needs `npm ci --prefix bench`. A process of its own, for its memory.
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readModel } from "./suite.mjs";

const [name, dir] = process.argv.slice(2);
const ort = (await import("onnxruntime-node")).default;
const model = readModel(name, dir);
const session = await ort.InferenceSession.create(model.file, { graphOptimizationLevel: "disabled", intraOpNumThreads: 1 });
const results = await session.run(Object.fromEntries(model.inputs.map((i) => [i.name, new ort.Tensor(i.dtype, i.data, i.dims)])));
for (const { name: output } of model.outputs) {
  const { data } = results[output];
  const file = join(dir, `reference-${output}.raw`);
  writeFileSync(`${file}.${process.pid}`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  renameSync(`${file}.${process.pid}`, file);
}
