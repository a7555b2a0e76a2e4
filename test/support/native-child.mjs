// A process of its own for one model of the suite, as native code: compiles it for this processor, by this machine's C
// compiler, runs its cases on each number of threads that is asked for and compares them. It prints one JSON object.
//   node native-child.mjs '{"dist": "…", "name": "…", "dir": "…", "threads": [2]}'
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { readModel } from "../../bench/suite.mjs";
import { casesOf, compareCase } from "./model-cases.mjs";

const job = JSON.parse(process.argv[2]);
const part = (path) => import(pathToFileURL(join(job.dist, path)).href);
const { importSource } = await part("importer.js");
const { folderResolver } = await part("node/external-data.js");
const { readFile } = await part("node/files.js");
const { nativeSource } = await part("node/native/source.js");
const { startNative } = await part("node/native/index.js");
const { findToolchain } = await part("node/native/toolchain.js");

/** Runs all cases: how each compares, and a hash of every byte of every output. */
async function runCases(model, loaded) {
  const hash = createHash("sha256");
  const cases = [];
  for (const c of casesOf(model)) {
    const outputs = await c.run(loaded);
    for (const { data } of Object.values(outputs)) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    cases.push(...compareCase(model, c.name, outputs));
  }
  return { cases, hash: hash.digest("hex") };
}

// Nothing that was built before is used, and nothing stays.
const cache = mkdtempSync(join(tmpdir(), "tilewright-native-"));
process.env.XDG_CACHE_HOME = cache;
try {
  const model = readModel(job.name, job.dir);
  const imported = importSource(readFile(model.file), { resolver: folderResolver(dirname(model.file)), name: job.name });
  const source = nativeSource(imported, {});
  const tools = await findToolchain();
  const runs = [];
  let [level, builds] = ["", 0];
  for (const asked of job.threads) {
    const { model: loaded, built } = await startNative(source, tools, { threads: asked });
    builds += Number(built);
    const info = loaded.info();
    level = info.level;
    runs.push({ asked, threads: info.threads, reason: info.threads_reason, ...(await runCases(model, loaded)) });
    loaded.dispose();
  }
  const { levels, shared_launches, files } = source.manifest;
  console.log(JSON.stringify({ level, levels, builds, runs, shared: shared_launches, cBytes: files.find((f) => f.file === "model.c").bytes }));
} finally {
  rmSync(cache, { recursive: true, force: true });
}
