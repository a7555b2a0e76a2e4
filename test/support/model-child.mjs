// A process of its own for one model of the suite: compiles it, runs it on cases of several sizes, compares. It prints one
// JSON object. A fresh process, so that memory and CPU time are this model's, and what is compiled after loading shows.
//   node model-child.mjs '{"dist": "…", "mode": "run"|"write", "name": "…", "dir": "…"}'
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import v8 from "node:v8";
import { readModel } from "../../bench/suite.mjs";
import { casesOf, compareCase } from "./model-cases.mjs";

// Node 20 has relaxed SIMD behind this flag; newer engines have it anyway.
v8.setFlagsFromString("--experimental-wasm-relaxed-simd");

const job = JSON.parse(process.argv[2]);
const part = (path) => import(pathToFileURL(join(job.dist, path)).href);
const { importOnnx } = await part("frontends/onnx/import.js");
const { buildArtifact, startArtifact } = await part("load.js");
const { folderResolver } = await part("node/external-data.js");
const { readFile } = await part("node/files.js");

const cpu = () => {
  const u = process.cpuUsage();
  return (u.user + u.system) / 1000;
};
// The pipeline's trace, too, shall tell CPU time: what else this machine does must not count.
performance.now = cpu;
const start = cpu();
const model = readModel(job.name, job.dir);
const sizes = {};
const steps = {};

/** Imports and compiles, without weights. */
function build() {
  const imported = importOnnx(readFile(model.file), { resolver: folderResolver(dirname(model.file)), name: job.name });
  steps.import = cpu() - start;
  const source = { kind: "graph", graph: imported.graph, name: job.name, inputNames: imported.inputNames, outputNames: imported.outputNames };
  const { artifact, compiled } = buildArtifact(source);
  for (const e of compiled.trace.events) steps[e.step] = (steps[e.step] ?? 0) + e.ms;
  for (const m of artifact.manifest.modules) sizes[m.file] = m.bytes;
  return { artifact, compiled };
}

/** Counts what the engine is asked to compile from now on. */
function countCompilations() {
  const seen = { count: 0 };
  for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming", "Module"]) {
    const original = WebAssembly[name];
    if (original === undefined) continue;
    WebAssembly[name] = new Proxy(original, {
      apply(f, self, args) {
        seen.count++;
        return Reflect.apply(f, self, args);
      },
      construct(f, args) {
        seen.count++;
        return Reflect.construct(f, args);
      },
    });
  }
  return seen;
}

const hashOf = (modules) => modules.map((m) => createHash("sha256").update(m).digest("hex"));

/** The pieces of the arena, with the dims and the origin of the tensor that each was made for (scratch memory has none). */
function plannedTensors(artifact, compiled) {
  const tensors = new Map(compiled.scheduled.function.tensors.map((t) => [t.name, t]));
  return artifact.manifest.buffers.map(({ name, bytes }) => {
    const t = tensors.get(name);
    return { name, bytes, dims: t === undefined ? [] : t.dims.map(String), origin: t?.origin ?? [] };
  });
}

async function runCases() {
  const { artifact, compiled } = build();
  const before = cpu();
  const loaded = await startArtifact(artifact);
  steps.weights = cpu() - before;
  const compileCpu = cpu() - start;
  const hashes = hashOf(artifact.modules);
  const compilations = countCompilations();
  const cases = [];
  for (const c of casesOf(model)) cases.push(...compareCase(model, c.name, await c.run(loaded)));
  loaded.dispose();
  const unchanged = `${hashOf(artifact.modules)}` === `${hashes}`;
  return {
    cases,
    compileCpu,
    compiledAfterLoad: compilations.count,
    unchanged,
    kernels: artifact.manifest.kernels.length,
    planned: plannedTensors(artifact, compiled),
  };
}

/** What `compile -o` does, and the memory that it took. The largest constant is read from the graph. */
async function writeFiles() {
  const { writeArtifact } = await part("node/artifact.js");
  const { artifact, compiled } = build();
  const before = cpu();
  const out = mkdtempSync(join(tmpdir(), "tilewright-artifact-"));
  try {
    await writeArtifact(artifact, out);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
  steps.weights = cpu() - before;
  const constants = [...compiled.weights, ...compiled.prepare.flatMap((p) => p.inputs)].flatMap((t) => (t.data === null ? [] : [t.data.byteLength]));
  return { compileCpu: cpu() - start, largestConstant: Math.max(0, ...constants) };
}

const modes = { run: runCases, write: writeFiles };
const result = await modes[job.mode]();
console.log(JSON.stringify({ ...result, steps, code: sizes, maxRssKiB: process.resourceUsage().maxRSS }));
