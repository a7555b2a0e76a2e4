// A process of its own: one model on one and on several threads, from an artifact and in process. It prints one JSON object
// with a hash of all outputs' bytes for each number of threads.
//   node threads-child.mjs '{"dist": "…", "file": "….onnx", "name": "…", "dir": "…" (of the suite) or null}'
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { readModel } from "../../bench/suite.mjs";
import { casesOf } from "./model-cases.mjs";

const job = JSON.parse(process.argv[2]);
const part = (path) => import(pathToFileURL(join(job.dist, path)).href);
const { importOnnx } = await part("frontends/onnx/import.js");
const { artifactOf, buildArtifact, featuresHere, startArtifact } = await part("load.js");
const { folderResolver } = await part("node/external-data.js");
const { writeArtifact } = await part("node/artifact.js");
const { readFile } = await part("node/files.js");

const imported = importOnnx(readFile(job.file), { resolver: folderResolver(dirname(job.file)), name: job.name });
const { inputNames, outputNames } = imported;
const source = { kind: "graph", graph: imported.graph, name: job.name, inputNames, outputNames };
const compiled = (threads) => buildArtifact(source, { threads, features: featuresHere({ threads }) });

/** Every launch that may be shared is, however small. */
function sharingAll({ compiled: c }) {
  const main = c.program.main.map((s) => (s.kind === "launch" && s.threadsFrom !== null ? { ...s, threadsFrom: 2 } : s));
  const variants = [false, true].map((shared) => ({ relaxed: false, shared }));
  return artifactOf({ ...c, program: { ...c.program, main } }, { name: job.name, sourceHash: "", inputNames, outputNames }, variants);
}

/** Inputs of the suite, or waves. */
function cases(model) {
  if (job.dir !== null) return casesOf(readModel(job.name, job.dir));
  const inputs = Object.fromEntries(
    model.inputs.map((p) => [p.name, Float32Array.from({ length: p.dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i))]),
  );
  return [{ run: (loaded) => loaded.run(inputs) }];
}

/** Runs all cases twice: the later run finds threads awake. */
async function hashOf(model) {
  const hash = createHash("sha256");
  for (let round = 0; round < 2; round++) {
    const inRound = createHash("sha256");
    for (const c of cases(model)) for (const { data } of Object.values(await c.run(model))) inRound.update(Buffer.from(data.buffer));
    hash.update(inRound.digest());
  }
  return hash.digest("hex");
}

async function resultOf(model) {
  const { threads, threads_reason } = model.info();
  const result = { threads, threads_reason, hash: await hashOf(model) };
  model.dispose();
  return result;
}

const folder = mkdtempSync(join(tmpdir(), "tilewright-threads-"));
try {
  const usual = compiled(1);
  const artifact = sharingAll(usual);
  await writeArtifact(artifact, folder);
  const { load } = await import(pathToFileURL(join(folder, "model.js")).href);
  const fromArtifact = [];
  for (const threads of [1, 2, 3, 7]) fromArtifact.push(await resultOf(await load({ threads })));
  const inProcess = [];
  for (const built of [usual, compiled(2), compiled(3)]) inProcess.push(await resultOf(await startArtifact(built.artifact)));
  console.log(JSON.stringify({ shared: artifact.manifest.shared_launches, fromArtifact, inProcess }));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
