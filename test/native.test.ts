import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NativeModel, compile } from "../src/node/index.ts";
import { nativeLevel } from "../src/node/native/processor.ts";
import { CliFolder, mlpText } from "./support/cli.ts";
import { model } from "./support/onnx.ts";
import { missingForNative } from "./support/native.ts";

const missing = await missingForNative();
if (missing !== null) console.log(`skipped: target native (${missing})`);

const cacheHome = mkdtempSync(join(tmpdir(), "tilewright-native-"));
const here = new CliFolder();
const before = process.env.XDG_CACHE_HOME;
beforeAll(() => {
  process.env.XDG_CACHE_HOME = cacheHome;
  here.file("mlp.tw", mlpText);
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(cacheHome, { recursive: true, force: true });
  rmSync(here.path, { recursive: true, force: true });
});

const bytes = new TextEncoder().encode(mlpText);
const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);
/** A decoder's memory in small: `next = concat(past, x)`, `sum = its sum`. */
const growing = model({
  nodes: [
    { op: "Concat", in: ["past", "x"], out: ["next"], attrs: { axis: 0 } },
    { op: "ReduceSum", in: ["next"], out: ["sum"], attrs: { keepdims: 0 } },
  ],
  inputs: { past: ["f32", ["p", 8]], x: ["f32", [1, 8]] },
  outputs: ["next", "sum"],
});

describe.skipIf(missing !== null)("compile with target native", () => {
  test("IR text, a path with weights: the results of target wasm", async () => {
    const m = await compile(bytes, { target: "native", name: "int" });
    expect(m).toBeInstanceOf(NativeModel);
    expect([...((await m.run({ x })).scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    expect(m.info()).toMatchObject({ target: "native", threads: 1, level: nativeLevel() ?? m.info().level });
    m.dispose();
    await expect(m.run({ x })).rejects.toMatchObject({ name: "UserError", code: "disposed" });
    const file = fileURLToPath(new URL("../examples/digits/digits.onnx", import.meta.url));
    const image = Float32Array.from({ length: 64 }, (_, i) => (i % 7) / 7);
    const [native, wasm] = [await compile(file, { target: "native" }), await compile(file)];
    const [a, b] = [(await native.run({ image })).logits, (await wasm.run({ image })).logits];
    expect(a?.dims).toEqual(b?.dims);
    a?.data.forEach((v, i) => expect(v).toBeCloseTo(Number(b?.data[i]), 4));
    expect(readdirSync(join(cacheHome, "tilewright/weights"))).toHaveLength(2);
    native.dispose();
  });

  test("symbolic sizes, outputs that stay inside", async () => {
    const m = await compile(growing, { target: "native" });
    const row = (v: number) => new Float32Array(8).fill(v);
    let { next } = await m.run({ past: { data: row(1), dims: [1, 8] }, x: row(2) }, { keep: ["next"] });
    for (let i = 3; i < 200; i++) {
      const old = next;
      ({ next } = await m.run({ past: old, x: row(i) }, { keep: ["next"] }));
      old.dispose();
    }
    expect(next.dims).toEqual([200 - 1, 8]);
    expect((await m.run({ past: next, x: row(0) })).sum?.data[0]).toBe((8 * (199 * 200)) / 2);
    await expect(m.run({ past: { data: new Float32Array(12), dims: [3, 4] }, x: row(0) })).rejects.toMatchObject({ code: "shape" });
    m.dispose();
  });

  test("options that are not for it, and an abort", async () => {
    await expect(compile(bytes, { target: "native", features: ["simd"] })).rejects.toMatchObject({ name: "UserError", code: "features" });
    expect((await compile(bytes, { target: "native", deterministic: true })).info().level).toBe("portable");
    await expect(compile(bytes, { target: "native", threads: 0 })).rejects.toMatchObject({ code: "threads" });
    await expect(compile(bytes, { target: "native", maxMemory: 10 })).rejects.toMatchObject({ code: "max-memory" });
    await expect(compile(growing, { target: "native", maxMemory: 1000 })).rejects.toMatchObject({ code: "max-memory" });
    await expect(compile(growing, { target: "native", signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrowError("enough");
    await expect(compile(bytes, { target: "x" as never })).rejects.toMatchObject({ name: "UnsupportedError", code: "target" });
  });
});

describe.skipIf(missing !== null)("the command line with target native", () => {
  test("run and bench", async () => {
    const native = await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"]);
    expect(native).toMatchObject({ status: 0, stderr: "" });
    expect(native.stdout).toBe((await here.run(["run", "mlp.tw", "--random", "1"])).stdout);
    const bench = await here.run(["bench", "mlp.tw", "--target", "native", "--runs", "3", "--json", "--per-kernel"]);
    expect(bench).toMatchObject({ status: 0, stderr: "" });
    const json = JSON.parse(bench.stdout) as Record<string, unknown> & { readonly kernels: readonly { readonly ms: number }[] };
    expect(json).toMatchObject({ model: "mlp.tw", target: "native", threads: 1, runs: 3, level: expect.any(String), compiler: expect.any(String) });
    expect(json.code_bytes).toBeGreaterThan(1000);
    expect(json.peak_gflops).toBeGreaterThan(0.1);
    expect(json.kernels.length).toBeGreaterThan(0);
    const text = await here.run(["bench", "mlp.tw", "--target", "native", "--runs", "3"]);
    expect(text.stdout).toMatch(/^mlp.tw: median .*\nnative, 1 thread, level \w+, .*\ncompile .* ms, load .* ms, code \d+ B/);
  });

  test("an artifact of target c comes with its library, and runs", async () => {
    const written = await here.run(["compile", "mlp.tw", "--target", "c", "-o", "art"]);
    expect(written).toMatchObject({ status: 0, stderr: "", stdout: expect.stringMatching(/^art: model.c .*, (lib)?model\.(so|dylib|dll) /) });
    expect(here.list("art").filter((f) => /\.(so|dylib|dll)$/.test(f))).toHaveLength(1);
    const inProcess = await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"]);
    expect(await here.run(["run", "art", "--random", "1", "--target", "native"])).toMatchObject({ status: 0, stderr: "", stdout: inProcess.stdout });
    expect(await here.run(["bench", "art", "--runs", "1", "--target", "native", "--json"])).toMatchObject({ status: 0 });
    const refused: [string[], RegExp][] = [
      [["run", "art", "--random", "1"], /art was compiled for target c: run it with --target native/],
      [["bench", "art", "--target", "native", "--per-kernel"], /art is an artifact; a profiling build needs the model's file/],
      [["run", "art", "--random", "1", "--target", "native", "--exact"], /art is compiled already: --exact belongs to 'tilewright compile'/],
      [["run", "art", "--random", "1", "--target", "native", "--shape", "q=1x2"], /no such input or symbol; it has x/],
    ];
    for (const [args, message] of refused) expect(await here.run(args)).toMatchObject({ status: 2, stderr: expect.stringMatching(message) });
    rmSync(join(here.path, "art/model.c"));
    expect(await here.run(["run", "art", "--random", "1", "--target", "native"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/model.c: cannot be read \(it does not exist\)/),
    });
    // Without a compiler the artifact is whole all the same, and no library of an older model stays in it.
    const cc = process.env.CC;
    process.env.CC = "/no/such/cc";
    try {
      const without = await here.run(["compile", "mlp.tw", "--target", "c", "-o", "art", "--cpu", "portable"]);
      expect(without).toMatchObject({ status: 0, stderr: expect.stringMatching(/^no shared library was built, .*CC is '\/no\/such\/cc'/) });
      expect(here.list("art")).toEqual(["model.c", "model.h", "model.json", "model.weights.bin"]);
    } finally {
      if (cc === undefined) delete process.env.CC;
      else process.env.CC = cc;
    }
  });

  test("what is wrong is told in a sentence", async () => {
    const path = process.env.PATH;
    const cc = process.env.CC;
    here.file(
      "bad-cc",
      "#!/bin/sh\nif [ \"$1\" = --version ]; then echo badcc 1.0; exit 0; fi\necho 'model.c:1: error: I do not know C' >&2\nexit 7\n",
    );
    try {
      process.env.PATH = here.path;
      delete process.env.CC;
      expect(await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"])).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(/^error: native code needs a C compiler, but none of cc, gcc, clang was found on the PATH: install/),
      });
      process.env.PATH = path;
      process.env.CC = "/no/such/cc";
      expect(await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"])).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(/^error: CC is '\/no\/such\/cc', which cannot be run/),
      });
      process.env.CC = `sh ${join(here.path, "bad-cc")}`;
      expect(await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"])).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(
          /^error: sh .*bad-cc \(badcc 1.0\) could not compile the model's C code \(exit status 7\):\n {2}model.c:1: error: I do not/,
        ),
      });
    } finally {
      process.env.PATH = path;
      if (cc === undefined) delete process.env.CC;
      else process.env.CC = cc;
    }
    expect(readdirSync(join(cacheHome, "tilewright/native")).filter((f) => f.startsWith("."))).toEqual([]);
    process.env.XDG_CACHE_HOME = here.file("file", "");
    try {
      expect(await here.run(["run", "mlp.tw", "--random", "1", "--target", "native"])).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(/^error: the cache folder .*file.tilewright cannot be written \(.*\).*set XDG_CACHE_HOME/),
      });
    } finally {
      process.env.XDG_CACHE_HOME = cacheHome;
    }
    expect(await here.run(["run", here.path, "--random", "1", "--target", "native"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/holds no artifact \(there is no model.json\): make one with 'tilewright compile MODEL --target c/),
    });
    writeFileSync(join(here.path, "model.json"), "[]");
    expect(await here.run(["run", here.path, "--random", "1", "--target", "native"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/model.json is not the manifest of an artifact of target c/),
    });
    rmSync(join(here.path, "model.json"));
    expect(await here.run(["run", "mlp.tw", "--random", "1", "--target", "native", "--features", "simd"])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^error: features are modules of target 'wasm'/),
    });
  });
});
