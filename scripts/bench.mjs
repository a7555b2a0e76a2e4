// `npm run bench`: tilewright beside onnxruntime-web, in turns, in one process. See bench/README.md.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build, install, requireNode, root, runOrExit } from "./setup.mjs";

const help = `Usage: npm run bench -- [options]

Times tilewright beside onnxruntime-web: one process, one engine, one thread, the same inputs, in turns.

  --models a,b     models of the suite (default: squeezenet1_1,mobilenet_v2,resnet18,minilm)
  --matmul         square matrix products from 64 to 1024, with a constant right side and without; alone, no models
  --rounds N       rounds of each comparison (default 15)
  --json FILE      writes all numbers to a file
  --dist DIR       measures a build that lies elsewhere, of another commit for example
  --help           prints this

Example: npm run bench -- --models resnet50,vit_tiny --rounds 25
`;

const defaults = { models: ["squeezenet1_1", "mobilenet_v2", "resnet18", "minilm"], size: 512, rounds: 15 };
const sizes = [64, 128, 256, 512, 1024];

function fail(message) {
  console.error(`${message}\n\n${help}`);
  process.exit(2);
}

function parse() {
  try {
    const { values } = parseArgs({
      options: {
        models: { type: "string" },
        matmul: { type: "boolean", default: false },
        rounds: { type: "string", default: String(defaults.rounds) },
        json: { type: "string" },
        dist: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (e) {
    return fail(e.message);
  }
}

const values = parse();
if (values.help) {
  console.log(help);
  process.exit(0);
}
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) fail(`--rounds must be a positive integer, got '${values.rounds}'`);
const named = values.models?.split(",").filter((m) => m !== "");

requireNode();
if (values.dist === undefined) {
  install();
  build();
} else if (!existsSync(join(values.dist, "load.js"))) fail(`--dist ${values.dist}: there is no build of tilewright (no load.js)`);
installPeers();

const { suiteFolder, suiteNames } = await import("../bench/suite.mjs");
const known = suiteFolder() === null ? [] : suiteNames();
const unknown = (named ?? []).filter((m) => known.length > 0 && !known.includes(m));
if (unknown.length > 0) fail(`there is no model ${unknown.join(", ")}; there are: ${known.join(", ")}`);

const { runBenchmark } = await import(pathToFileURL(join(root, "bench/run.mjs")).href);
process.exit(
  await runBenchmark({
    models: named ?? (values.matmul ? [] : defaults.models),
    matmuls: (values.matmul ? sizes : named === undefined ? [defaults.size] : []).flatMap((size) =>
      [true, false].map((constant) => ({ size, constant })),
    ),
    rounds,
    json: values.json === undefined ? null : resolve(values.json),
    dist: resolve(values.dist ?? join(root, "dist")),
  }),
);

/** Installs what is compared with, into bench/; its optional package is only for the tests. */
function installPeers() {
  const folder = join(root, "bench");
  const wanted = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).dependencies;
  const there = ([name, version]) => {
    const file = join(folder, "node_modules", name, "package.json");
    return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).version === version;
  };
  if (Object.entries(wanted).every(there)) return;
  console.error("Installing onnxruntime-web (139 MB) into bench/ …");
  const args = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"];
  const advice = "onnxruntime-web could not be installed. Check the network and npm's proxy settings, then try again.";
  runOrExit("npm", args, advice, { cwd: folder, shell: process.platform === "win32" });
}
