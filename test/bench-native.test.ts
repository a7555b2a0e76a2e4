import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compareResults, comparisonText } from "../bench/comparison.mjs";
import { launchBytes } from "../bench/engines/traffic.mjs";
import { loadNative, startNativeEngine, timedEngine } from "../bench/engines/native.mjs";
import { PythonChild, describePython } from "../bench/processes.mjs";
import { importSource } from "../src/importer.ts";
import { buildForTests } from "./support/cli.ts";
import { missingForNative } from "./support/native.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "tilewright-bench-native-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let dist = "";
beforeAll(() => {
  dist = buildForTests();
});
const bench = (args: readonly string[]) =>
  spawnSync(process.execPath, ["scripts/bench.mjs", "--dist", dist, ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, XDG_CACHE_HOME: folder },
  });

describe("bytes that launches move", () => {
  const text = `graph @traffic {
  input %x: f32[4, 8]
  input %w: f32[8, 16]
  %p: f32[4, 16] = dot(%x, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} from "product"
  %r: f32[4, 16] = exp(%p) from "exponential"
  %s: f32[4, 16] = neg(%r) from "negative"
  output %s, %p
}`;
  const source = importSource(new TextEncoder().encode(text), { name: "traffic" });
  const graph = source.kind === "graph" ? source.graph : null;
  const bytes = (launches: readonly (readonly string[])[], times: readonly number[]) =>
    graph === null
      ? null
      : launchBytes(
          launches.map((origin) => ({ origin })),
          times,
          graph,
        );
  const [x, w, out] = [4 * 4 * 8, 4 * 8 * 16, 4 * 4 * 16];

  test("every operand and result once", () => {
    expect(bytes([["product"], ["exponential"], ["negative"]], [1, 1, 1])).toEqual([x + w + out, 2 * out, 2 * out]);
  });
  test("what stays in a launch does not count, results of the graph do", () => {
    expect(bytes([["product"], ["exponential", "negative"]], [1, 1])).toEqual([x + w + out, 2 * out]);
    expect(bytes([["product", "exponential", "negative"]], [1])).toEqual([x + w + 2 * out]);
  });
  test("of several launches of one node the longest has its bytes", () => {
    expect(bytes([["product"], ["product"], ["exponential", "negative"]], [1, 3, 1])).toEqual([null, x + w + out, 2 * out]);
  });
});

test("native results are compared by the ratio to the better of the others", () => {
  const row = (ms: number, against: string) => ({
    name: "a",
    times: { tilewright: { median_ms: ms } },
    ratios: { "onnxruntime-node": { median: 1.5 }, openvino: { median: 1 } },
    against,
  });
  const results = (target: string, ms: number, against: string) => ({
    parts: [{ section: "models", target, node: "20.1.0", threads: 1, relaxed: true, rows: [row(ms, against)] }],
  });
  const compared = compareResults(results("native", 4, "openvino"), results("native", 2, "onnxruntime-node"));
  expect(compared.map((p) => [p.title, p.faster, p.relative])).toEqual([[expect.stringContaining("native models, 1 thread"), 2, 1.5]]);
  expect(comparisonText(compared)).toContain("1.50× by the ratios to the better of the others");
  expect(compareResults(results("wasm", 4, "openvino"), results("native", 2, "openvino"))).toEqual([]);
});

describe("processes of Python", () => {
  const here = ["python3", "python"].find((p) => spawnSync(p, ["--version"]).status === 0);
  if (here === undefined) console.log("skipped: measuring processes of Python (there is none)");
  const open = (python: string, script: string) => new PythonChild({ python, script, timeoutMs: 20_000, note: () => {} });

  test("one that is not there is reported", async () => {
    const child = open(join(folder, "none"), "openvino_engine.py");
    await expect(child.call("serve")).rejects.toThrow(/could not be started: .*ENOENT/);
    await child.close();
    expect(() => describePython(join(folder, "none"))).toThrow(/--python .* does not run: .*ENOENT/);
  });
  test.skipIf(here === undefined)("one that ends is reported with its last words", async () => {
    const child = open(here ?? "", "there_is_no_such_script.py");
    await expect(child.call("serve")).rejects.toThrow(/ended with status 2; its last words:\n.*there_is_no_such_script/s);
    await child.close();
  });
  test.skipIf(here === undefined)("what it writes that is no answer is kept for its last words", async () => {
    const file = join(folder, "chatty.py");
    writeFileSync(file, "import sys\nprint('not an answer')\nsys.exit(3)\n");
    // An absolute path: the script need not lie beside the others.
    const child = open(here ?? "", file);
    await expect(child.call("serve")).rejects.toThrow(/ended with status 3; its last words:\nnot an answer/);
    await child.close();
  });
});

describe("the command", () => {
  const refused: readonly (readonly [readonly string[], string])[] = [
    [["--target", "cuda"], "--target is one of wasm, native; got 'cuda'"],
    [["--target", "native", "--memory"], "--target native: --memory is for another target"],
    [["--target", "native", "--no-relaxed"], "--no-relaxed belongs to --target wasm"],
    [["--target", "native", "--compile", "--threads", "2"], "--threads 2: --compile measure one thread"],
    [["--python", "python3"], "--python belongs to --target native"],
    [["--target", "native", "--python", join(folder, "none")], "does not run"],
  ];
  test.each(refused)("%j is refused", (args, message) => {
    const ran = bench(args);
    expect(ran.stderr).toContain(message);
    expect(ran.status).toBe(2);
  });
});

const noNative = await missingForNative();
test.skipIf(noNative !== null)(
  "the engine that is timed runs, as C programs would use it and with profiling",
  async () => {
    process.env["XDG_CACHE_HOME"] = folder;
    const tw = await loadNative(dist);
    const inputs = [{ name: "image", data: new Float32Array(64).fill(0.5), dims: [1, 1, 8, 8] }];
    const model = { name: "digits", bytes: readFileSync(join(root, "examples/digits/digits.onnx")), dir: null, inputs };
    for (const profile of [false, true]) {
      const engine = await startNativeEngine(tw, model, { threads: 1, profile });
      expect(engine.runModel()["logits"]?.data.length).toBe(10);
      const timed = timedEngine(tw, engine, inputs, 1);
      timed.run();
      expect(await timed.stretch(3)).toBeDefined();
      timed.dispose();
    }
  },
  120_000,
);

/** Why the whole cannot be tried here, or null. */
async function partsMissing(): Promise<string | null> {
  if (!existsSync(join(root, "bench/node_modules/onnxruntime-node/package.json")))
    return "not installed in bench/: onnxruntime-node; 'npm ci --prefix bench' does that";
  return missingForNative();
}
const reason = await partsMissing();
if (reason !== null) console.log(`skipped: the native benchmark as a whole (${reason})`);

test.skipIf(reason !== null)(
  "the native benchmark measures a small product, and writes its numbers",
  () => {
    const json = join(folder, "out.json");
    const ran = bench(["--target", "native", "--matmul", "--sizes", "16", "--rounds", "1", "--settle", "1", "--json", json]);
    expect(ran.status, ran.stderr + ran.stdout).toBe(0);
    expect(ran.stdout).toContain("16, constant right side");
    const { parts, failures } = JSON.parse(readFileSync(json, "utf8"));
    expect(failures).toEqual([]);
    const [part] = parts;
    expect(part).toMatchObject({ section: "matmul", target: "native", threads: 1, rounds: 1, compiler: expect.any(String) });
    expect(part.rows).toHaveLength(2);
    for (const r of part.rows) {
      expect(r).toMatchObject({ wrong: [], absent: {}, threads: 1, flops: 2 * 16 ** 3, against: "onnxruntime-node", level: part.level });
      expect(Object.keys(r.times)).toEqual(["tilewright", "onnxruntime-node"]);
      expect(r.difference["onnxruntime-node"]).toBeLessThan(1e-5);
      expect(r.ceiling_gflops).toBeGreaterThan(0);
    }
  },
  120_000,
);
