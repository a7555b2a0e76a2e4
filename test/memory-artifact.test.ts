import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import ts from "typescript";
import type { LoadOptions } from "../src/runtime/artifact.ts";
import type { Manifest, Model } from "../src/runtime/model.ts";
import { CliFolder, buildForTests } from "./support/cli.ts";
import { model } from "./support/onnx.ts";
import { rowsText } from "./support/threads.ts";

// Memory as users of artifacts and of the command line meet it.

const proc = existsSync("/proc/self/status") ? null : "the system does not tell how much memory a process had at most";
if (proc !== null) console.log(`a test of copies is skipped: ${proc}`);
const here = new CliFolder();
const at = (...parts: readonly string[]): string => join(here.path, ...parts);
const manifestOf = (dir: string): Manifest => JSON.parse(readFileSync(at(dir, "model.json"), "utf8")) as Manifest;
const page = 65536;
async function load(dir: string, options?: LoadOptions): Promise<Model> {
  const m = (await import(/* @vite-ignore */ pathToFileURL(at(dir, "model.js")).href)) as { load(o?: LoadOptions): Promise<Model> };
  return m.load(options);
}

/** A product with a matrix of so many rows. */
function product(rows: number): Uint8Array {
  const values = Array.from({ length: rows * 1024 }, (_, i) => ((i * 7919) % 997) / 997 - 0.5);
  return model({
    nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
    inputs: { x: ["f32", [1, rows]] },
    outputs: ["y"],
    initializers: { w: { dtype: "f32", dims: [rows, 1024], values } },
  });
}

beforeAll(async () => {
  buildForTests();
  here.file("rows.tw", rowsText);
  here.file("open.tw", rowsText.replace("symbol n in [1, 4096]", "symbol n in [1, inf]"));
  here.file("small.onnx", product(64));
  here.file("large.onnx", product(4096));
  for (const args of [
    ["rows.tw", "-o", "rows", "--threads", "3"],
    ["small.onnx", "-o", "sharded", "--shard", "60000"],
    ["large.onnx", "-o", "large", "--shard", "1MiB"],
  ]) {
    const r = await here.spawn(["compile", ...args]);
    if (r.status !== 0) throw new Error(r.stderr);
  }
});
afterAll(() => here.remove());
const RealMemory = WebAssembly.Memory;
afterEach(() => {
  WebAssembly.Memory = RealMemory;
  vi.unstubAllGlobals();
});

describe("threads", () => {
  test("are counted in the memory that is made, and in what it may grow to", async () => {
    const m = manifestOf("rows");
    const { memory } = m;
    for (const threads of [1, 2, 3, 7]) {
      const asked: WebAssembly.MemoryDescriptor[] = [];
      WebAssembly.Memory = class extends RealMemory {
        constructor(d: WebAssembly.MemoryDescriptor) {
          super(d);
          asked.push(d);
        }
      };
      const loaded = await load("rows", { threads });
      const end = m.weights_base + m.weight_bytes + (memory.arena_bytes ?? 0) + (threads - 1) * (memory.thread_bytes ?? 0);
      const maximum = Math.ceil((end + (memory.kept_bytes ?? 0)) / page);
      expect(asked.filter((d) => (d.maximum ?? 0) > 1)).toEqual([{ initial: memory.initial_bytes / page, maximum, shared: threads > 1 }]);
      expect(loaded.info()).toMatchObject({ threads, maximum_bytes: maximum * page });
      const n = 4096;
      const x = { data: new Float32Array(n).fill(1), dims: [n] };
      const [a, b] = [await loaded.run({ x }, { keep: ["y"] }), await loaded.run({ x }, { keep: ["y"] })];
      expect([loaded.read(a.y).data[n - 1], loaded.read(b.y).data[0]]).toEqual([n, 1]);
      expect(loaded.info().memory_bytes).toBe(maximum * page);
      loaded.dispose();
      expect(loaded.info()).toMatchObject({ threads: 1, memory_bytes: 0 });
      if (threads === 3) expect(memory.maximum_bytes).toBe(maximum * page);
    }
  });
});

describe("sharded weights", () => {
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const x = { x: new Float32Array(64).fill(1) };
  test.each(["the engine's SHA-256", "the own one"])("are checked while they are loaded, with %s: one byte is enough", async (way) => {
    if (way === "the own one") vi.stubGlobal("crypto", {});
    const { weights, sharded } = manifestOf("sharded");
    expect([weights.length, sharded]).toEqual([5, true]);
    const expected = (await (await load("sharded")).run(x)).y?.data;
    for (const [i, w] of [...weights.entries()].filter(([k]) => k % 2 === 0)) {
      const file = at("sharded", w.file);
      const bytes = readFileSync(file);
      const damaged = Uint8Array.from(bytes);
      const place = (damaged.length * i) >> 3;
      damaged[place] = (damaged[place] as number) ^ 16;
      writeFileSync(file, damaged);
      const message = `${w.file}: its SHA-256 is ${hash(damaged)}, expected ${hash(bytes)}`;
      for (const threads of [1, 2])
        await expect(load("sharded", { threads })).rejects.toMatchObject({
          name: "UserError",
          code: "artifact",
          message: expect.stringContaining(message),
        });
      expect(await here.run(["run", "sharded", "--random", "1"])).toMatchObject({ status: 2, stderr: expect.stringContaining(message) });
      writeFileSync(file, bytes);
    }
    expect((await (await load("sharded")).run(x)).y?.data).toEqual(expected);
  });
  test("are checked where they are handed in, too", async () => {
    const { weights } = manifestOf("sharded");
    const all = new Uint8Array(Buffer.concat(weights.map((w) => readFileSync(at("sharded", w.file)))));
    const folder = pathToFileURL(at("sharded/"));
    for (const given of [all, all.buffer, folder]) await (await load("sharded", { weights: given })).run(x);
    all[all.length - 1] = (all[all.length - 1] as number) ^ 1;
    await expect(load("sharded", { weights: all })).rejects.toMatchObject({
      message: expect.stringMatching(new RegExp(`^${weights.at(-1)?.file}: its SHA-256`)),
    });
  });
  test("are checked also where one piece holds all", async () => {
    expect((await here.spawn(["compile", "small.onnx", "-o", "one", "--shard", "100MB"])).status).toBe(0);
    const file = at("one/model.weights.bin");
    const bytes = readFileSync(file);
    bytes[5] = (bytes[5] as number) ^ 1;
    writeFileSync(file, bytes);
    await expect(load("one")).rejects.toMatchObject({ message: expect.stringMatching(/^model.weights.bin: its SHA-256/) });
  });
});

test.skipIf(proc !== null)("weights go straight into the model's memory: there is no second copy of them", () => {
  const peak = (dir: string, threads: number): number => {
    const script = `const { load } = await import("./${dir}/model.js");
      const m = await load({ threads: ${threads} });
      if (m.info().threads !== ${threads}) throw new Error(m.info().threads_reason);
      const { readFileSync } = await import("node:fs");
      console.log(1024 * Number(/VmHWM:\\s+(\\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))[1]));`;
    const r = spawnSync(process.execPath, ["--input-type=module", "-e", script], { cwd: here.path, encoding: "utf8" });
    expect(r).toMatchObject({ status: 0, stderr: "" });
    return Number(r.stdout);
  };
  const { memory } = manifestOf("large");
  for (const threads of [1, 2]) {
    const taken = peak("large", threads) - peak("rows", threads);
    expect(taken).toBeGreaterThan(0.8 * memory.initial_bytes);
    expect(taken).toBeLessThan(1.5 * memory.initial_bytes);
  }
});

describe("the command line", () => {
  test("compile tells the planned peak, threads included, and room for kept tensors that was asked for", async () => {
    const one = await here.spawn(["compile", "rows.tw", "-o", "out"]);
    const peak = (text: string) => Number(/planned peak ([\d.]+) kB/.exec(text)?.[1]);
    expect(one.status).toBe(0);
    expect(one.stdout).not.toMatch(/kept/);
    const many = await here.spawn(["compile", "rows.tw", "-o", "out", "--threads", "60", "--kept-memory", "1MB"]);
    expect(many.stdout).toMatch(/planned peak [\d.]+ kB, 1.0 MB for kept tensors;/);
    const { memory } = manifestOf("out");
    expect(memory.kept_bytes).toBe(1e6);
    expect(peak(many.stdout) - peak(one.stdout)).toBeCloseTo((59 * (memory.thread_bytes ?? 0)) / 1000, 0);
    expect((await here.spawn(["compile", "rows.tw", "-o", "out", "--kept-memory", "0"])).status).toBe(0);
    expect(manifestOf("out").memory.kept_bytes).toBe(0);
  });
  test.each<[readonly string[], RegExp]>([
    [
      ["compile", "rows.tw", "-o", "no", "--max-memory", "1KiB"],
      /the planned peak is .* \(weights 0.0 KiB, arena .*\), .* more than the limit of 1.0 KiB/,
    ],
    [["compile", "rows.tw", "-o", "no", "--max-memory", "1MiB", "--kept-memory", "1MiB"], /kept tensors 1.0 MiB/],
    [["compile", "rows.tw", "-o", "no", "--kept-memory", "much"], /'much' is no size/],
    [["compile", "rows.tw", "-o", "no", "--target", "c", "--kept-memory", "1MB"], /keptMemory is for target 'wasm'/],
    [["run", "rows", "--random", "1", "--kept-memory", "1MB"], /--kept-memory belongs to 'tilewright compile'/],
  ])("%j is refused", async (args, message) => {
    expect(await here.run(args)).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
  });
  test("an artifact of an earlier version is told from others", async () => {
    expect((await here.spawn(["compile", "rows.tw", "-o", "old"])).status).toBe(0);
    const { memory: _, ...old } = manifestOf("old");
    writeFileSync(at("old/model.json"), JSON.stringify(old));
    expect(await here.run(["run", "old", "--random", "1", "--shape", "n=3"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/compile the model again/),
    });
  });
});

test("'using' and 'await using' fit the declarations", () => {
  here.file("package.json", '{ "type": "module" }');
  const use = here.file(
    "use.ts",
    `import { load } from "./rows/model.js";
{
  await using m = await load();
  using kept = (await m.run({ x: { data: [1, 2], dims: [2] } }, { keep: ["y"] })).y;
  const most: number | null = m.info().maximum_bytes;
  console.log(m.read(kept).dims, most);
}
`,
  );
  const program = ts.createProgram([use], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
    noEmit: true,
    lib: ["lib.es2022.d.ts", "lib.dom.d.ts"],
    types: [],
  });
  expect(ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"))).toEqual([]);
});
