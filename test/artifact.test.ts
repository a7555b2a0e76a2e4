import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import ts from "typescript";
import type { LoadOptions } from "../src/runtime/artifact.ts";
import type { Manifest, Model } from "../src/runtime/model.ts";
import { CliFolder, buildForTests, mlpText } from "./support/cli.ts";
import { model } from "./support/onnx.ts";

const here = new CliFolder();
const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);
beforeAll(async () => {
  buildForTests();
  here.file("mlp.tw", mlpText);
  here.file("other.tw", mlpText.replace("values(1.0,", "values(2.0,").replace("max(%y, %y)", "add(%y, %y)"));
  // 2,000 random-looking weights, so that they make several pieces.
  const values = Array.from({ length: 2000 }, (_, i) => ((i * 7919) % 997) / 997 - 0.5);
  here.file(
    "wide.onnx",
    model({
      nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
      inputs: { x: ["f32", ["rows", 40]] },
      outputs: ["y"],
      initializers: { w: { dtype: "f32", dims: [40, 50], values } },
    }),
  );
  for (const args of [
    ["mlp.tw", "-o", "mlp"],
    ["other.tw", "-o", "other"],
    ["wide.onnx", "-o", "wide"],
    ["wide.onnx", "-o", "sharded", "--shard", "3000"],
  ]) {
    const r = await here.spawn(["compile", ...args]);
    if (r.status !== 0) throw new Error(r.stderr);
  }
});
afterAll(() => here.remove());

const at = (...parts: readonly string[]): string => join(here.path, ...parts);
const manifestOf = (dir: string): Manifest => JSON.parse(readFileSync(at(dir, "model.json"), "utf8")) as Manifest;
async function load(dir: string, options?: LoadOptions): Promise<Model> {
  const m = (await import(/* @vite-ignore */ `${pathToFileURL(at(dir, "model.js"))}?${Math.random()}`)) as { load(o?: LoadOptions): Promise<Model> };
  return m.load(options);
}

test("the files, and what the manifest says of them", () => {
  expect(here.list("mlp")).toEqual([
    "model.d.ts",
    "model.js",
    "model.json",
    "model.mt.wasm",
    "model.relaxed.mt.wasm",
    "model.relaxed.wasm",
    "model.wasm",
    "model.weights.bin",
    "package.json",
  ]);
  const m = manifestOf("mlp");
  expect(m).toMatchObject({
    format: "tilewright",
    target: "wasm",
    name: "mlp",
    inputs: [{ name: "x", dtype: "f32", dims: [2, 4] }],
    outputs: [{ name: "scores", dtype: "f32", dims: [2, 3] }],
  });
  expect(m.kernels.flatMap((k) => k.origins)).toEqual(expect.arrayContaining(["fc"]));
  expect(m.buffers.map((b) => b.bytes)).toEqual(expect.arrayContaining([32, 24]));
  const hash = (file: string) => createHash("sha256").update(readFileSync(file)).digest("hex");
  expect(m.source_hash).toBe(hash(at("mlp.tw")));
  for (const f of m.modules) expect(readFileSync(at("mlp", f.file)).length).toBe(f.bytes);
  for (const w of m.weights) expect(hash(at("mlp", w.file))).toBe(w.hash);
});

test("model.js loads, runs, and needs nothing that a strict page forbids", async () => {
  const text = readFileSync(at("mlp", "model.js"), "utf8");
  expect(text).not.toMatch(/\beval\(|new Function|createObjectURL|blob:|^import /m);
  const m = await load("mlp", { threads: 4 });
  expect([...((await m.run({ x })).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
  expect(m.info()).toMatchObject({ target: "wasm", threads: 1, threads_reason: expect.stringMatching(/^4 threads were asked for/) });
  m.dispose();
  await expect(m.run({ x })).rejects.toMatchObject({ name: "UserError", code: "disposed" });
});

test("plain Node loads it, from a package of either kind", () => {
  const script =
    'import("./mlp/model.js").then(async ({ load }) => console.log((await (await load()).run({ x: [1, 0, 0, 0, 0, 1, 1, 1] })).scores.data.join()))';
  const r = spawnSync(process.execPath, ["-e", script], { cwd: here.path, encoding: "utf8" });
  expect(r).toMatchObject({ status: 0, stdout: "1,2,3,-1,10,11\n", stderr: "" });
});

test("modules and weights can be handed in", async () => {
  const m = manifestOf("mlp");
  for (const f of m.modules.filter((k) => WebAssembly.validate(readFileSync(at("mlp", k.file)) as BufferSource))) {
    const wasm = await WebAssembly.compile(readFileSync(at("mlp", f.file)) as BufferSource);
    const weights = new Uint8Array(readFileSync(at("mlp", "model.weights.bin")));
    const loaded = await load("mlp", { wasm, weights });
    expect(loaded.info().relaxed_simd).toBe(f.relaxed);
    expect([...((await loaded.run({ x })).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    const elsewhere = await load("mlp", { wasm, weights: pathToFileURL(at("mlp", "model.weights.bin")) });
    expect([...((await elsewhere.run({ x })).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    await expect(load("mlp", { wasm, weights: weights.subarray(4) })).rejects.toMatchObject({ name: "UserError", code: "weights" });
  }
});

test("files of two builds, and damaged ones, are noticed", async () => {
  const wasm = await WebAssembly.compile(readFileSync(at("other", "model.wasm")) as BufferSource);
  await expect(load("mlp", { wasm })).rejects.toMatchObject({ code: "artifact", message: expect.stringMatching(/does not belong to this manifest/) });
  copyFileSync(at("mlp", "model.weights.bin"), at("kept.bin"));
  appendFileSync(at("mlp", "model.weights.bin"), "more");
  await expect(load("mlp")).rejects.toMatchObject({
    code: "artifact",
    message: expect.stringMatching(/model.weights.bin: expected 64 bytes, got 68/),
  });
  expect(await here.run(["run", "mlp", "--random", "1"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/model.weights.bin: expected 64 bytes, got 68/),
  });
  rmSync(at("mlp", "model.weights.bin"));
  await expect(load("mlp")).rejects.toMatchObject({ code: "artifact", message: expect.stringMatching(/model.weights.bin: cannot be read/) });
  copyFileSync(at("kept.bin"), at("mlp", "model.weights.bin"));
  expect(await here.run(["run", "mlp", "--random", "1"])).toMatchObject({ status: 0 });
  writeFileSync(at("kept.json"), readFileSync(at("mlp", "model.json")));
  writeFileSync(at("mlp", "model.json"), "{}");
  expect(await here.run(["run", "mlp", "--random", "1"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/is not the manifest of an artifact/),
  });
  copyFileSync(at("kept.json"), at("mlp", "model.json"));
});

test("sizes of an artifact's symbols come from --shape", async () => {
  expect(await here.run(["run", "wide", "--random", "1", "--shape", "rows=3"])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^y: f32\[3, 50\]/),
  });
  expect(await here.run(["run", "wide", "--random", "1", "--shape", "columns=3"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/'columns', but wide has no such input or symbol; it has x, rows/),
  });
});

test("sharded weights give the same results, and replace the files of an earlier artifact", async () => {
  const { weights, weight_bytes } = manifestOf("sharded");
  expect(weights.length).toBe(Math.ceil(weight_bytes / 3000));
  expect(weights.reduce((n, w) => n + w.bytes, 0)).toBe(weight_bytes);
  const inputs = { x: { data: Float32Array.from({ length: 120 }, (_, i) => Math.sin(i)), dims: [3, 40] } };
  const [one, many] = [await load("wide"), await load("sharded")];
  expect((await many.run(inputs)).y).toEqual((await one.run(inputs)).y);
  here.file("sharded/notes.txt", "mine");
  expect((await here.spawn(["compile", "wide.onnx", "-o", "sharded"])).status).toBe(0);
  expect(here.list("sharded")).toEqual([
    "model.d.ts",
    "model.js",
    "model.json",
    "model.mt.wasm",
    "model.relaxed.mt.wasm",
    "model.relaxed.wasm",
    "model.wasm",
    "model.weights.bin",
    "notes.txt",
    "package.json",
  ]);
});

test("the declarations fit their use", () => {
  here.file("package.json", '{ "type": "module" }');
  const use = here.file(
    "use.ts",
    `import { load } from "./wide/model.js";
const m = await load();
const { y } = await m.run({ x: { data: new Float32Array(40), dims: [1, 40] } });
const first: number | undefined = y.data[0];
const rank: 2 = y.dims.length;
const kept = await m.run({ x: { data: [1, 2], dims: [1, 2] } }, { keep: ["y"] });
kept.y.dispose();
// @ts-expect-error there is no such input
await m.run({ z: new Float32Array(1) });
// @ts-expect-error a symbolic size must be told
await m.run({ x: new Float32Array(40) });
export { first, rank };
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
  const messages = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, "\n"));
  expect(messages).toEqual([]);
});

test("--features and --deterministic choose the modules", async () => {
  expect((await here.spawn(["compile", "mlp.tw", "-o", "plain", "--deterministic"])).status).toBe(0);
  expect(manifestOf("plain").modules.map((m) => m.file)).toEqual(["model.wasm", "model.mt.wasm"]);
  expect(existsSync(at("plain", "model.relaxed.wasm"))).toBe(false);
  expect((await here.spawn(["compile", "mlp.tw", "-o", "plain", "--features", "relaxed"])).status).toBe(0);
  expect(manifestOf("plain").modules.map((m) => m.file)).toEqual(["model.relaxed.wasm"]);
  expect(existsSync(at("plain", "model.mt.wasm"))).toBe(false);
});
