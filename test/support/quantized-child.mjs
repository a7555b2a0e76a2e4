// A process of its own for one quantised model of the suite: compiles it, runs it as WASM on the given inputs and prints, for each
// output, the sampled elements beside the expected ones as one JSON object.
//   node quantized-child.mjs '{"dist": "…", "name": "…", "dir": "…"}'
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import v8 from "node:v8";
import { readModel } from "../../bench/suite.mjs";
import { casesOf } from "./model-cases.mjs";

// Node 20 has relaxed SIMD behind this flag; newer engines have it anyway.
v8.setFlagsFromString("--experimental-wasm-relaxed-simd");

const job = JSON.parse(process.argv[2]);
const part = (path) => import(pathToFileURL(join(job.dist, path)).href);
const { importOnnx } = await part("frontends/onnx/import.js");
const { buildArtifact, startArtifact } = await part("load.js");
const { folderResolver } = await part("node/external-data.js");
const { readFile } = await part("node/files.js");

const model = readModel(job.name, job.dir);
const imported = importOnnx(readFile(model.file), { resolver: folderResolver(dirname(model.file)), name: job.name });
const source = { kind: "graph", graph: imported.graph, name: job.name, inputNames: imported.inputNames, outputNames: imported.outputNames };
const { artifact } = buildArtifact(source);
const loaded = await startArtifact(artifact);
const [first] = casesOf(model);
const outputs = await first.run(loaded);
loaded.dispose();
const results = model.outputs.map(({ name, index, value, deviation }) => ({
  name,
  deviation,
  expected: value,
  got: index.map((i) => Number(outputs[name].data[i])),
}));
console.log(JSON.stringify(results));
