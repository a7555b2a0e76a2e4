// The benchmark proper; `scripts/bench.mjs` prepares what it needs and says how it is called.
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import v8 from "node:v8";
import { runInNewContext } from "node:vm";
import { loadTilewright, ortVersion, startOrt, startTilewright, suiteModel } from "./engines.mjs";
import { matmulModel } from "./onnx.mjs";
import { head, row, table } from "./report.mjs";
import { compareSampled, readModel, suiteFolder } from "./suite.mjs";
import { geometricMean, summarise, timeRounds, warmUp } from "./timing.mjs";

// One model's memory must not be in the way of the next one's.
v8.setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

const note = (text) => console.error(text);

/**
 * Runs models and matrix multiplications as `{ models, matmuls: [{ size, constant }], rounds, json, dist }` says.
 * Gives the exit status: 1 when a result is wrong.
 */
export async function runBenchmark(options) {
  const tw = await loadTilewright(options.dist);
  const relaxed = enableRelaxedSimd(tw);
  const context = {
    tw,
    rounds: options.rounds,
    // Turbo and throttling change the ceiling while the benchmark runs: it is measured again before each model.
    peak: 0,
    relaxed,
  };
  note(`tilewright ${tw.version} and onnxruntime-web ${ortVersion}, one thread each, in Node ${process.versions.node} (V8 ${process.versions.v8})`);
  note(`on ${cpus()[0]?.model ?? "an unknown processor"}; ${relaxed.text}\n`);
  const results = { models: [], matmul: [] };
  for (const [list, jobs] of [
    [results.models, suiteJobs(options.models)],
    [results.matmul, options.matmuls.map(matmulJob)],
  ]) {
    for (const job of jobs) list.push(await measure(context, job));
  }
  for (const r of [...results.models, ...results.matmul]) if (r.gflops !== null) r.share = r.gflops / context.peak;
  print(results, context);
  if (options.json !== null) {
    const machine = { node: process.versions.node, v8: process.versions.v8, cpu: cpus()[0]?.model ?? null, relaxed_simd: relaxed.here };
    const versions = { tilewright: tw.version, onnxruntime_web: ortVersion };
    const summary = { ceiling_gflops: context.peak, geometric_mean: meanOf(results.models) };
    writeFileSync(options.json, `${JSON.stringify({ ...versions, ...machine, rounds: options.rounds, ...summary, ...results }, null, 1)}\n`);
  }
  return [...results.models, ...results.matmul].every((r) => r.right) ? 0 : 1;
}

/** Node 20 has relaxed SIMD behind a flag, which must be set before the first module; newer Nodes have it. */
function enableRelaxedSimd(tw) {
  if (tw.hasRelaxedSimd()) return { here: true, text: "relaxed SIMD" };
  if (process.versions.node.startsWith("20.")) v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  const here = tw.hasRelaxedSimd();
  return { here, text: here ? "relaxed SIMD, switched on here by --experimental-wasm-relaxed-simd" : "no relaxed SIMD in this engine" };
}

function suiteJobs(names) {
  if (names.length > 0 && suiteFolder() === null) {
    note(`skipped: ${names.join(", ")}: the model suite is not there (../shared/models)`);
    return [];
  }
  return names.map((name) => ({ label: name, load: () => suiteModel(readModel(name)) }));
}

/** Values of a small generator: the numbers do not matter, but they must be the same every time. */
function values(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 32;
  });
}

function matmulJob({ size, constant }) {
  const [a, b] = [values(size * size, 1), values(size * size, 2)];
  const dims = [size, size];
  const inputs = [{ name: "a", dtype: "float32", dims, data: a }, ...(constant ? [] : [{ name: "b", dtype: "float32", dims, data: b }])];
  return {
    label: `matmul ${size}${constant ? ", constant right side" : ""}`,
    load: () => ({ name: "matmul", bytes: matmulModel(size, constant ? b : null), dir: null, inputs, outputs: [expectedProduct(size, a, b)] }),
  };
}

/** Some elements of a product, in double precision, in the form of the suite's `expected.json`. */
function expectedProduct(size, a, b) {
  const index = Array.from({ length: 64 }, (_, i) => Math.floor((i * (size * size - 1)) / 63));
  const value = index.map((at) => {
    let sum = 0;
    for (let k = 0; k < size; k++) sum += a[Math.floor(at / size) * size + k] * b[k * size + (at % size)];
    return sum;
  });
  const mean = value.reduce((s, v) => s + v, 0) / value.length;
  const deviation = Math.sqrt(value.reduce((s, v) => s + (v - mean) ** 2, 0) / value.length);
  return { name: "c", dims: [size, size], index, value, deviation };
}

/** Compares both engines' results, then times them. */
async function measure(context, job) {
  note(`${job.label}: compiling, comparing …`);
  collectGarbage();
  const model = job.load();
  const engines = [await startTilewright(context.tw, model), await startOrt(model)];
  try {
    const outputs = [await engines[0].run(), await engines[1].run()];
    const right = model.outputs.every((o) => compareSampled(o, outputs[0][o.name]).ratio <= 1);
    const difference = Math.max(
      ...model.outputs.map((o) =>
        largestDifference(
          o,
          outputs.map((r) => r[o.name].data),
        ),
      ),
    );
    if (!right) note(`${job.label}: WRONG: tilewright's result differs from the expected one`);
    context.peak = Math.max(context.peak, await context.tw.measurePeak(context.relaxed.here));
    const { repeats, settled } = await warmUp(engines);
    note(`${job.label}: ${context.rounds} rounds of ${repeats[0]} and ${repeats[1]} runs${settled ? "" : " (times did not settle)"} …`);
    await sleep(1);
    const { first, second, ratio } = summarise(await timeRounds(engines, repeats, context.rounds));
    const { flops, codeBytes } = engines[0];
    return {
      model: job.label,
      right,
      settled,
      difference,
      tilewright: { ...first, start_ms: engines[0].startMs, code_bytes: codeBytes },
      ort: { ...second, start_ms: engines[1].startMs },
      ratio,
      gflops: flops === null ? null : flops / first.median_ms / 1e6,
      share: null,
    };
  } finally {
    for (const e of engines) await e.dispose();
  }
}

/** Over all elements, relative to the output's deviation. */
function largestDifference({ deviation }, [a, b]) {
  let largest = a.length === b.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(Number(a[i]) - Number(b[i]));
    largest = Math.max(largest, Number.isNaN(d) ? Number.POSITIVE_INFINITY : d);
  }
  return largest / (deviation || 1);
}

const meanOf = (rows) => (rows.length === 0 ? null : geometricMean(rows.map((r) => r.ratio.median)));

function print(results, { peak, relaxed }) {
  for (const rows of [results.models, results.matmul]) {
    if (rows.length > 0) console.log(`\n${table(head, rows.map(row))}`);
  }
  const mean = meanOf(results.models);
  console.log("");
  if (mean !== null)
    console.log(
      `  tilewright is ${mean.toFixed(2)} times as fast as onnxruntime-web (geometric mean over ${results.models.length === 1 ? "one model" : `${results.models.length} models`}).`,
    );
  if (peak > 0)
    console.log(
      `  The ${relaxed.here ? "relaxed multiply-add" : "multiply-then-add"} ceiling of this engine on this machine: ${peak.toFixed(1)} GFLOP/s, one thread.`,
    );
  const wrong = [...results.models, ...results.matmul].filter((r) => !r.right);
  if (wrong.length > 0) console.log(`  WRONG results: ${wrong.map((r) => r.model).join(", ")}; their times mean nothing.`);
}
