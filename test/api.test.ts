import { describe, expect, test } from "vitest";
import { type Model, compile } from "../src/index.ts";
import { compile as compileFile } from "../src/node/index.ts";
import { fileURLToPath } from "node:url";
import { mlpText } from "./support/cli.ts";
import { model } from "./support/onnx.ts";

const text = new TextEncoder();
const mlp = (): Promise<Model> => compile(text.encode(mlpText));
const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);

/** A decoder's memory in small: `next = concat(past, x)`, `sum = its sum`. */
const cache = model({
  nodes: [
    { op: "Concat", in: ["past", "x"], out: ["next"], attrs: { axis: 0 } },
    { op: "ReduceSum", in: ["next"], out: ["sum"], attrs: { keepdims: 0 } },
  ],
  inputs: { past: ["f32", ["p", 8]], x: ["f32", [1, 8]] },
  outputs: ["next", "sum"],
});

describe("compile and run", () => {
  test("IR text, ONNX bytes, a path", async () => {
    expect([...((await (await mlp()).run({ x })).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    const digits = await compileFile(fileURLToPath(new URL("../examples/digits/digits.onnx", import.meta.url)));
    expect(digits.inputs).toEqual([{ name: "image", dtype: "f32", dims: [1, 1, 8, 8] }]);
    expect((await digits.run({ image: new Float32Array(64) })).logits).toMatchObject({ dims: [1, 10], dtype: "f32" });
  });
  test("runs queue in the order they are asked for; outputs are copies unless views are asked for", async () => {
    const m = await mlp();
    const [a, b] = await Promise.all([m.run({ x }), m.run({ x: x.map((v) => 2 * v) })]);
    expect([...(a.scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    expect([...(b.scores?.data ?? [])]).toEqual([2, 4, 6, -2, 20, 22]);
    const view = (await m.run({ x }, { views: true })).scores;
    await m.run({ x: x.map((v) => 3 * v) });
    expect(view?.data[0]).toBe(3);
  });
  test("a run that fails does not stop those after it", async () => {
    const m = await mlp();
    const results = await Promise.allSettled([m.run({}), m.run({ x })]);
    expect(results.map((r) => r.status)).toEqual(["rejected", "fulfilled"]);
  });
  test("plain numbers, { data, dims } and views of larger buffers are taken", async () => {
    const m = await mlp();
    for (const given of [[...x], { data: x, dims: [2, 4] }, Float32Array.of(9, ...x).subarray(1)])
      expect((await m.run({ x: given })).scores?.data[5]).toBe(11);
  });
  test.each([
    [{}, "missing-input", /input 'x' is missing; the inputs are: x: f32\[2, 4\]/],
    [{ x, y: x }, "unknown-input", /there is no input 'y'; the inputs are: x: f32\[2, 4\]/],
    [{ x: new Float64Array(8) }, "dtype", /expected a Float32Array \(f32\), got Float64Array/],
    [{ x: new Float32Array(7) }, "size", /shape \[2, 4\] needs 8 elements, got 7/],
    [{ x: { data: x, dims: [4, 2] } }, "shape", /expected shape \[2, 4\], got \[4, 2\]/],
    [{ x: { data: x, dims: [8] } }, "shape", /expected shape \[2, 4\], got \[8\]/],
    [{ x: ["1", 2, 3, 4, 5, 6, 7, 8] }, "dtype", /element 0 is 1, expected a number/],
    [{ x: 5 }, "dtype", /expected a Float32Array \(f32\), got Number/],
  ])("%j is refused", async (inputs, code, message) => {
    const m = await mlp();
    await expect(m.run(inputs as never)).rejects.toMatchObject({ name: "UserError", code, message: expect.stringMatching(message) });
  });
  test("options that are wrong or of a later version are refused", async () => {
    const bytes = text.encode(mlpText);
    await expect(compile(bytes, { threads: 0 })).rejects.toMatchObject({ name: "UserError", code: "threads" });
    await expect(compile(bytes, { features: ["mt"] })).rejects.toMatchObject({ name: "UserError", code: "features" });
    await expect(compile(bytes, { target: "c" as never })).rejects.toMatchObject({ name: "UnsupportedError", code: "target" });
    await expect(compile(bytes, { maxMemory: 100 })).rejects.toMatchObject({ name: "UserError", code: "max-memory" });
    await expect(compile(bytes, { deterministic: true, features: ["relaxed"] })).rejects.toMatchObject({ name: "UserError", code: "features" });
    await expect(compile("mlp.tw" as never)).rejects.toMatchObject({ name: "UserError", code: "model" });
    await expect(compileFile("no/such/file.onnx")).rejects.toMatchObject({ name: "UserError", code: "file" });
  });
  test("an aborted signal stops the compilation", async () => {
    await expect(compile(text.encode(mlpText), { signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    const controller = new AbortController();
    const started = compile(text.encode(mlpText), { signal: controller.signal });
    setTimeout(() => controller.abort(new Error("later")));
    await expect(started).rejects.toThrow("later");
  });
});

describe("outputs kept inside", () => {
  test("a growing cache is fed back, while the arena grows underneath", async () => {
    const m = await compile(cache);
    const row = (v: number) => new Float32Array(8).fill(v);
    let { next, sum } = await m.run({ past: { data: row(1), dims: [1, 8] }, x: row(2) }, { keep: ["next"] });
    expect(sum?.data[0]).toBe(24);
    for (let step = 3; step <= 60; step++) {
      const r = await m.run({ past: next, x: row(step) }, { keep: ["next"] });
      next.dispose();
      ({ next, sum } = r);
      expect(sum?.data[0]).toBe(8 * ((step * (step + 1)) / 2));
    }
    expect(next.dims).toEqual([60, 8]);
    // A large size in between moves what is kept out of the arena's way.
    await m.run({ past: { data: new Float32Array(8 * 5000), dims: [5000, 8] }, x: row(0) });
    expect(m.read(next).data.filter((_, i) => i % 8 === 0)).toEqual(Float32Array.from({ length: 60 }, (_, i) => i + 1));
  });
  test("memory of disposed handles is used again", async () => {
    const m = await compile(cache);
    const inputs = { past: { data: new Float32Array(8 * 4000), dims: [4000, 8] }, x: new Float32Array(8) };
    (await m.run(inputs, { keep: ["next"] })).next.dispose();
    const before = m.info().memory_bytes;
    for (let i = 0; i < 50; i++) (await m.run(inputs, { keep: ["next"] })).next.dispose();
    expect(m.info().memory_bytes).toBe(before);
  });
  test("handles of another model, disposed ones and unknown names are refused", async () => {
    const [a, b] = [await compile(cache), await compile(cache)];
    const inputs = { past: { data: new Float32Array(8), dims: [1, 8] }, x: new Float32Array(8) };
    const { next } = await a.run(inputs, { keep: ["next"] });
    await expect(b.run({ ...inputs, past: next })).rejects.toMatchObject({ code: "kept", message: expect.stringMatching(/another model/) });
    await expect(a.run({ ...inputs, x: next })).rejects.toMatchObject({ code: "shape" });
    next.dispose();
    await expect(a.run({ ...inputs, past: next })).rejects.toMatchObject({ code: "kept", message: expect.stringMatching(/disposed/) });
    await expect(a.run(inputs, { keep: ["nothing"] })).rejects.toMatchObject({ code: "unknown-output" });
  });
});
