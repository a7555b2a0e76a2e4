// What a call of the benchmark measures, as a list of parts: `{ section, target, node, threads, relaxed, rounds, … }`. Parts of one
// configuration (Node, threads, module) follow one another.
import { layersOf } from "./layers.mjs";
import { besideModels, defaultModels } from "./models.mjs";
import { layerWorkload, matmulWorkload, suiteWorkload } from "./workloads.mjs";

const squares = [64, 128, 256, 512, 1024, 2048].map((n) => ({ m: n, k: n, n }));
/** Products of transformers: a feed-forward layer's two, of a small and a larger vision model, a projection, one token's. */
const shapes = [
  [128, 384, 1536],
  [128, 1536, 384],
  [197, 192, 768],
  [197, 768, 192],
  [128, 768, 768],
  [128, 768, 3072],
  [1, 512, 2048],
  [1, 2048, 512],
].map(([m, k, n]) => ({ m, k, n }));

const matmuls = (sizes) =>
  sizes === undefined
    ? [...squares.flatMap((s) => [matmulWorkload(s, true), matmulWorkload(s, false)]), ...shapes.map((s) => matmulWorkload(s, true))]
    : sizes.flatMap((n) => [matmulWorkload({ m: n, k: n, n }, true), matmulWorkload({ m: n, k: n, n }, false)]);

/** Without a word on rounds: fewer where there are many workloads. */
const usualRounds = { symbols: 15, models: 15, matmul: 11, layers: 7, kernels: 10 };

const layerParts = (o) =>
  Object.entries(layersOf)
    .filter(([network]) => o.models === undefined || o.models.includes(network))
    .map(([network, layers]) => ({ section: "layers", network, workloads: layers.map(layerWorkload) }));

/** The sections that a user can ask for, each by its option: what it takes from the options. */
const wasmSections = {
  models: (o) => [{ section: "models", workloads: (o.models ?? defaultModels).map(suiteWorkload) }],
  matmul: (o) => [{ section: "matmul", workloads: matmuls(o.sizes), peers: ["tfjs", "jax-js"] }],
  layers: layerParts,
  kernels: (o) => [{ section: "kernels", names: o.models ?? defaultModels }],
  memory: (o) => [{ section: "memory", names: o.models ?? defaultModels }],
  start: (o) => [{ section: "start", names: o.models ?? defaultModels }],
  compile: (o) => [{ section: "compile", names: o.models ?? defaultModels }],
  symbols: () => [{ section: "symbols" }],
};
const nativeSizes = [512, 1024, 2048];
/** What the times to start are asked for of, and a few whose code is compiled: each takes a while. */
const startModels = ["resnet50", "minilm"];
const compileModels = ["squeezenet1_1", "mobilenet_v2", "resnet50", "minilm"];
const nativeSections = {
  models: (o) => [{ section: "models", workloads: (o.models ?? [...defaultModels, ...besideModels]).map(suiteWorkload) }],
  matmul: (o) => [{ section: "matmul", workloads: matmuls(o.sizes ?? nativeSizes) }],
  layers: layerParts,
  kernels: (o) => [{ section: "kernels", names: o.models ?? defaultModels }],
  start: (o) => [{ section: "start", names: o.models ?? startModels }],
  compile: (o) => [{ section: "compile", names: o.models ?? compileModels }],
};
const targets = { wasm: wasmSections, native: nativeSections };
export const targetNames = Object.keys(targets);
export const sectionNames = Object.keys(wasmSections);
/** Those of them that are about one thread alone. */
const oneThread = { wasm: ["matmul", "kernels", "compile", "symbols"], native: ["compile"] };

/**
 * `options`: `{ target, sections, models, sizes, rounds, threads, relaxed, nodes: [this, newest or null], all }`. `all` means every
 * section, and the models in every configuration that there is: one and two threads, and for target `wasm` both Nodes, and without
 * relaxed SIMD.
 */
export function makePlan(options) {
  const { target, threads, relaxed } = options;
  const [node, newest] = options.nodes;
  const sections = targets[target];
  const parts = (names, configuration) =>
    names
      .flatMap((name) => sections[name](options))
      .map((part) => ({ rounds: options.rounds ?? usualRounds[part.section] ?? null, target, ...configuration, ...part }));
  if (!options.all) {
    const unknown = options.sections.filter((s) => sections[s] === undefined);
    if (unknown.length > 0) throw new Error(`--target ${target}: --${unknown.join(", --")} is for another target`);
    const single = options.sections.filter((s) => oneThread[target].includes(s) && threads > 1);
    if (single.length > 0) throw new Error(`--threads ${threads}: --${single.join(", --")} measure one thread`);
    return parts(options.sections, { node, threads, relaxed });
  }
  const at = (n, t, r) => ({ node: n, threads: t, relaxed: r });
  if (target === "native") return [...parts(Object.keys(sections), at(node, 1, true)), ...parts(["models", "matmul"], at(node, 2, true))];
  return [
    ...parts(sectionNames, at(node, 1, true)),
    ...parts(["models"], at(node, 1, false)),
    ...parts(["models"], at(node, 2, true)),
    ...(newest === null ? [] : [...parts(["models", "matmul"], at(newest, 1, true)), ...parts(["models"], at(newest, 2, true))]),
  ];
}
