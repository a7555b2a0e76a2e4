// The benchmark proper: measures a plan part by part. `scripts/bench.mjs` prepares what it needs and says how it is called.
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { reportOf, summaryOf } from "./report.mjs";
import { measureMemory, measureStart } from "./sections/artifacts.mjs";
import { inFreshProcess } from "./sections/common.mjs";
import { measureCompile } from "./sections/compile.mjs";
import { measureSymbols } from "./sections/symbols.mjs";
import { timeKernels } from "./sections/kernels.mjs";
import { measureNativeCompile, measureNativeStart, timeNativeKernels } from "./sections/native.mjs";
import { timeWorkloads } from "./sections/speed.mjs";
import { suiteFolder } from "./suite.mjs";

export const fileFormat = "tilewright-bench-2";

const speed = (context, part) => timeWorkloads(context, part.workloads, part.peers ?? []);
const measurers = {
  wasm: {
    models: speed,
    matmul: speed,
    layers: speed,
    kernels: (context, part) => timeKernels(context, part.names),
    memory: (context, part) => measureMemory(context, part.names),
    start: (context, part) => measureStart(context, part.names),
    compile: (context, part) => measureCompile(context, part.names),
    symbols: (context) => measureSymbols(context),
  },
  native: {
    models: speed,
    matmul: speed,
    layers: speed,
    kernels: (context, part) => timeNativeKernels(context, part.names),
    start: (context, part) => measureNativeStart(context, part.names),
    compile: (context, part) => measureNativeCompile(context, part.names),
  },
};
/** The job that tells what runs. */
const probes = { wasm: "probe", native: "native-probe" };

/**
 * Measures `plan` (see plan.mjs) with the build in `dist`; `json` is a file or null, `python` what `describePython` gave or null. Prints the tables to `print`, progress
 * and failures to `note`. Gives the exit status: 1 when a result is wrong or a process failed.
 */
export async function runBenchmark({ plan, dist, json, python = null, settleMs, timeoutMs, print = console.log, note = console.error }) {
  const file = { format: fileFormat, date: new Date().toISOString(), machine: machine(), versions: versions(), parts: [], failures: [] };
  const write = () => json !== null && writeFileSync(json, `${JSON.stringify(file, null, 1)}\n`);
  let [configuration, ran] = ["", null];
  for (const part of plan) {
    const failed = (name, reason) => {
      file.failures.push({ section: part.section, name, reason });
      note(`${name}: FAILED: ${shortened(reason)}`);
    };
    const context = { ...part, dist, python, settleMs, timeoutMs, note, fail: failed };
    const here = JSON.stringify([part.target, part.node.path, part.threads, part.relaxed]);
    if (here !== configuration) {
      configuration = here;
      ran = await inFreshProcess(context, `Node ${part.node.node}`, probes[part.target], { dist, threads: part.threads, relaxed: part.relaxed });
      file.versions.openvino = python?.openvino ?? null;
      if (ran !== null) print(headLines[part.target](part, ran, file));
    }
    if (ran === null) continue;
    if (needsSuite(part) && suiteFolder() === null) {
      note(`skipped: ${part.section}: the model suite is not there (../shared/models)`);
      continue;
    }
    note(`\n${part.section}${part.network === undefined ? "" : ` of ${part.network}`}`);
    const { node, ...rest } = part;
    const configured = part.target === "wasm" ? { relaxed_simd: ran.relaxed_simd } : { level: ran.level, compiler: ran.compiler };
    const done = { ...rest, node: node.node, v8: node.v8, ...configured, rows: await measurers[part.target][part.section](context, part) };
    done.summary = summaryOf(done);
    file.parts.push(done);
    write();
    print(`\n${reportOf(done)}\n`);
  }
  write();
  for (const { name, section, reason } of file.failures) print(`  FAILED: ${name} (${section}): ${shortened(reason)}`);
  return file.failures.length === 0 ? 0 : 1;
}

/** The first lines; the file has all. */
function shortened(reason) {
  const lines = reason.split("\n");
  return lines.length <= 8 ? reason : [...lines.slice(0, 7), `… ${lines.length - 7} lines more`].join("\n");
}

const needsSuite = (part) => part.workloads === undefined || part.workloads.some((w) => w.kind === "model");

/** Which engine, which code, how many threads. */
const headLines = { wasm: wasmHead, native: nativeHead };

const threadsText = (ran, threads) => `threads: ${ran.threads}${ran.threads < threads ? ` (${ran.threads_reason})` : ""}`;

function wasmHead({ node, threads }, ran, file) {
  const module = ran.relaxed_simd ? "module with relaxed SIMD" : "module without relaxed SIMD";
  const flag = node.flags.find((f) => f.includes("relaxed"));
  file.versions.tilewright = ran.tilewright;
  return [
    `tilewright ${ran.tilewright}, ${module}, and onnxruntime-web ${file.versions["onnxruntime-web"]}; ${threadsText(ran, threads)}`,
    `in Node ${node.node} (V8 ${node.v8})${flag === undefined ? "" : ` started with ${flag}`}, on ${file.machine.cpu}`,
  ].join("\n");
}

function nativeHead({ node, threads }, ran, file) {
  file.versions.tilewright = ran.tilewright;
  const { "onnxruntime-node": ort, openvino } = file.versions;
  const peers =
    openvino === null ? ` and onnxruntime-node ${ort} (OpenVINO takes part with --python)` : `, onnxruntime-node ${ort}, OpenVINO ${openvino}`;
  return [
    `tilewright ${ran.tilewright}, native code for ${ran.level}${peers}; ${threadsText(ran, threads)}`,
    `compiled by ${ran.compiler}, in Node ${node.node}, on ${file.machine.cpu}`,
  ].join("\n");
}

function machine() {
  return {
    cpu: cpus()[0]?.model.trim() ?? "an unknown processor",
    hardware_threads: availableParallelism(),
    memory_bytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
  };
}

/** The packages compared with, as they are installed; null for those that are not. */
function versions() {
  const names = ["onnxruntime-web", "onnxruntime-node", "@tensorflow/tfjs-backend-wasm", "@jax-js/jax"];
  const version = (name) => {
    try {
      return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), "utf8")).version;
    } catch {
      return null;
    }
  };
  return { tilewright: null, openvino: null, ...Object.fromEntries(names.map((n) => [n, version(n)])) };
}
