import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { featureMacros, hostedRuntime } from "../../targets/c/runtime.ts";
import { cacheFolder, cacheSize, cachedWeights } from "./cache.ts";
import { compileLibrary, findCompiler, libraryFlags, listCompilers } from "./compiler.ts";
import { loadFfi } from "./ffi.ts";
import { type CSource, startNative } from "./index.ts";
import type { NativeModel } from "./model.ts";
import { measureNativePeak } from "./peak.ts";
import { findToolchain } from "./toolchain.ts";
import { missingForNative } from "../../../test/support/native.ts";

const missing = await missingForNative();
if (missing !== null) console.log(`skipped: native models (${missing})`);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "tilewright-native-"));
const before = process.env.XDG_CACHE_HOME;
beforeAll(() => {
  process.env.XDG_CACHE_HOME = folder;
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  fs.rmSync(folder, { recursive: true, force: true });
});

/**
 * A model by hand with the interface of an emitted one: y[i] = x[i] * w[i % 4] + b, after a pause of so many milliseconds.
 * With a symbol n, x and y have n elements; without, four. A 64-bit integer input comes second.
 */
function handmade(options: { readonly symbolic?: boolean; readonly pauseMs?: number; readonly mark?: string } = {}): CSource {
  const { symbolic = false, pauseMs = 0, mark = "" } = options;
  const count = symbolic ? "symbols[0]" : "4";
  const text = `${featureMacros}/* ${mark} */
${hostedRuntime({ pool: false, files: true, clock: true })}
#include <string.h>
#include "model.h"
struct tiny { const unsigned char *weights; void *file; unsigned char *arena; int64_t bytes; int threads; double seconds; };
static int64_t size(const int32_t *symbols) { (void)symbols; return 4 * (int64_t)${count}; }
int64_t tiny_arena_bytes(const int32_t *symbols) { return size(symbols) > 1 << 20 ? -9 : 64 + 2 * size(symbols); }
int tiny_open(struct tiny **out, const char *path, int threads) {
  struct tiny *m = (struct tiny *)calloc(1, sizeof *m);
  if (m == NULL) return -9;
  m->weights = tw_map(path, 64, &m->file);
  m->threads = threads;
  if (m->weights == NULL) { free(m); return -8; }
  ${symbolic ? "" : "m->arena = (unsigned char *)malloc((size_t)tiny_arena_bytes(NULL)); if (m->arena == NULL) return -9;"}
  *out = m;
  return 0;
}
void tiny_close(struct tiny *m) { tw_unmap(m->file, 64); free(m->arena); free(m); }
void *tiny_input(struct tiny *m, const int32_t *symbols, int i) { return m->arena == NULL ? NULL : m->arena + (i == 0 ? 8 : 0) + 0 * size(symbols); }
int64_t tiny_input_dim(const int32_t *symbols, int i, int d) { (void)d; return i == 0 ? size(symbols) / 4 : 1; }
int64_t tiny_output_dim(const int32_t *symbols, int i, int d) { (void)d; (void)i; return size(symbols) / 4; }
const char *tiny_level_name(const struct tiny *m) { (void)m; return "portable"; }
int tiny_threads(const struct tiny *m) { return m->threads; }
int tiny_launch_times(const struct tiny *m, double *seconds, int capacity) { if (capacity > 0) seconds[0] = m->seconds; return 1; }
const char *tiny_error(int status) { return status == -9 ? "there is not enough memory: use smaller symbols" : status == -8 ? "the weights' file cannot be read" : "unknown"; }
int tiny_run(struct tiny *m, const int32_t *symbols, const void *const *inputs, void *const *outputs) {
  double start = tw_clock();
  ${symbolic ? "unsigned char *arena = (unsigned char *)realloc(m->arena, (size_t)tiny_arena_bytes(symbols)); if (arena == NULL) return -9; m->arena = arena;" : ""}
  struct timespec pause = {0, ${pauseMs} * 1000000L};
  nanosleep(&pause, NULL);
  if (inputs[0] != NULL) memcpy(m->arena + 8, inputs[0], (size_t)size(symbols));
  if (inputs[1] != NULL) memcpy(m->arena, inputs[1], 8);
  int64_t b;
  memcpy(&b, m->arena, 8);
  for (int64_t i = 0; i < size(symbols) / 4; i++) {
    float x, w;
    memcpy(&x, m->arena + 8 + 4 * i, 4);
    memcpy(&w, m->weights + 4 * (i % 4), 4);
    x = x * w + (float)b;
    memcpy((unsigned char *)outputs[0] + 4 * i, &x, 4);
  }
  m->seconds = tw_clock() - start;
  return 0;
}
`;
  const dims = symbolic ? ["n"] : [4];
  return {
    files: { "model.c": text, "model.h": "#include <stdint.h>\n" },
    manifest: {
      prefix: "tiny",
      name: "tiny",
      inputs: [
        { name: "x", dtype: "f32", dims },
        { name: "b", dtype: "i64", dims: [1] },
      ],
      outputs: [{ name: "y", dtype: "f32", dims }],
      symbols: symbolic ? [{ name: "n", min: 1, max: null, multiple: 1 }] : [],
      data_symbols: [],
      faults: [],
      room_fault: null,
      weight_bytes: 64,
      arena_bytes: symbolic ? null : 96,
      kernels: [],
      shared_launches: 1,
    },
    weightsKey: () => "tiny",
    writeWeights: async (sink) => sink(0, new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)),
  };
}

async function start(source: CSource, options: Parameters<typeof startNative>[2] = {}): Promise<NativeModel> {
  return (await startNative(source, await findToolchain(), options)).model;
}
const x = Float32Array.of(1, 2, 3, 4);
const b = [1n];

describe.skipIf(missing !== null)("a native model", () => {
  test("runs, at once and beside JavaScript, and tells what it is", async () => {
    const m = await start(handmade(), { threads: 2 });
    const { y } = await m.run({ x, b });
    expect(y).toEqual({ data: Float32Array.of(2, 5, 10, 17), dims: [4], dtype: "f32" });
    const now = m.runNow({ x: [0, 0, 0, 1], b: [2] }, { views: true });
    expect(now.y?.data).toEqual(Float32Array.of(2, 2, 2, 6));
    expect(m.runNow({ x, b }, { views: true }).y?.data).toBe(now.y?.data);
    expect(y?.data).toEqual(Float32Array.of(2, 5, 10, 17));
    expect(m.info()).toMatchObject({ target: "native", threads: 2, arena_bytes: 96, weight_bytes: 64, level: "portable" });
    expect(m.info().compiler).toBe(findCompiler().version);
    m.dispose();
  });

  test("leaves the event loop free, queues runs, and waits for the last one when it is disposed of", async () => {
    const m = await start(handmade({ pauseMs: 60 }));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    const runs = [1, 2, 3].map((v) => m.run({ x: [v, v, v, v], b: [0n] }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(() => m.runNow({ x, b })).toThrowError(/another run of the model is going on/);
    const results = await Promise.all(runs);
    clearInterval(timer);
    expect(results.map((r) => r.y?.data[1])).toEqual([2, 4, 6]);
    expect(ticks).toBeGreaterThan(10);
    const last = m.run({ x, b });
    await new Promise((resolve) => setTimeout(resolve, 20));
    m.dispose();
    expect((await last).y?.data[3]).toBe(17);
    await expect(m.run({ x, b })).rejects.toMatchObject({ name: "UserError", code: "disposed" });
    expect(() => m.runNow({ x, b })).toThrowError(/disposed of/);
    m.dispose();
  });

  test("memory of inputs may go away while it runs", async () => {
    const m = await start(handmade({ pauseMs: 40, symbolic: true }));
    const data = new Float32Array(1000).fill(3);
    const running = m.run({ x: { data, dims: [1000] }, b });
    await new Promise((resolve) => setTimeout(resolve, 15));
    structuredClone(data.buffer, { transfer: [data.buffer] });
    const { y } = await running;
    expect(y?.data.length).toBe(1000);
    expect(y?.data[3]).toBe(13);
    m.dispose();
  });

  test("takes any size of a symbol, and keeps outputs inside", async () => {
    const m = await start(handmade({ symbolic: true }));
    for (const n of [5, 1, 300]) {
      const { y } = await m.run({ x: { data: new Float32Array(n).fill(2), dims: [n] }, b });
      expect(y?.dims).toEqual([n]);
      expect(y?.data[n - 1]).toBe(2 * (((n - 1) % 4) + 1) + 1);
    }
    const { y: kept } = await m.run({ x: { data: x, dims: [4] }, b }, { keep: ["y"] });
    const { y } = await m.run({ x: kept, b });
    expect(y?.data).toEqual(Float32Array.of(3, 11, 31, 69));
    expect(m.read(kept).data).toEqual(Float32Array.of(2, 5, 10, 17));
    expect(m.info().memory_bytes).toBeGreaterThan(m.info().weight_bytes + m.info().arena_bytes);
    kept.dispose();
    await expect(m.run({ x: kept, b })).rejects.toMatchObject({ code: "kept" });
    expect(() => m.read(kept)).toThrowError(/not kept/);
    const other = await start(handmade());
    const { y: foreign } = await other.run({ x, b }, { keep: ["y"] });
    await expect(m.run({ x: foreign, b })).rejects.toMatchObject({ code: "kept" });
    m.dispose();
    other.dispose();
  });

  test("refuses what does not fit, in the words of target wasm", async () => {
    const m = await start(handmade());
    const wrong: [Record<string, unknown>, string, RegExp][] = [
      [{ x }, "missing-input", /input 'b' is missing; the inputs are: x: f32\[4\], b: i64\[1\]/],
      [{ x, b, c: x }, "unknown-input", /there is no input 'c'/],
      [{ x: new Float64Array(4), b }, "dtype", /expected a Float32Array \(f32\), got Float64Array/],
      [{ x: new Float32Array(3), b }, "size", /needs 4 elements, got 3/],
      [{ x: { data: x, dims: [2, 2] }, b }, "shape", /expected shape \[4\], got \[2, 2\]/],
    ];
    for (const [inputs, code, text] of wrong)
      await expect(m.run(inputs as never)).rejects.toMatchObject({ name: "UserError", code, message: expect.stringMatching(text) });
    await expect(m.run({ x, b }, { keep: ["z"] })).rejects.toMatchObject({ code: "unknown-output" });
    m.dispose();
    const s = await start(handmade({ symbolic: true }));
    const large = new Float32Array(1 << 19);
    await expect(s.run({ x: { data: large, dims: [large.length] }, b })).rejects.toMatchObject({
      name: "UserError",
      code: "memory",
      message: "tiny: there is not enough memory: use smaller symbols",
    });
    expect((await s.run({ x: { data: x, dims: [4] }, b })).y?.data[0]).toBe(2);
    s.dispose();
  });

  test("tells how long launches took, built for profiling", async () => {
    const m = await start(handmade({ pauseMs: 5 }), { profile: true });
    m.runNow({ x, b });
    expect(m.launchTimes(3)).toHaveLength(1);
    expect(m.launchTimes(3)[0]).toBeGreaterThan(0.004);
    m.dispose();
  });
});

test.skipIf(missing !== null)("the peak of multiply-adds is measured", async () => {
  const peak = await measureNativePeak(await findToolchain(), "portable");
  expect(peak).toBeGreaterThan(0.5);
  expect(peak).toBeLessThan(5000);
  await expect(measureNativePeak(await findToolchain(), "other")).rejects.toThrowError(/no level of native code is called 'other'/);
});

describe.skipIf(missing !== null)("the cache", () => {
  test("builds once; what decides the code decides the entry; a broken entry is built again", async () => {
    const t = await findToolchain();
    const source = handmade({ mark: "cache" });
    const first = await startNative(source, t);
    const second = await startNative(source, t);
    const other = await startNative(handmade({ mark: "other" }), t);
    const profiled = await startNative(source, t, { profile: true });
    expect([first, second, other, profiled].map((s) => s.built)).toEqual([true, false, true, true]);
    const { library } = first.model.info();
    expect(second.model.info().library).toBe(library);
    expect(new Set([first, other, profiled].map((s) => s.model.info().library)).size).toBe(3);
    for (const s of [first, second, other, profiled]) s.model.dispose();
    const breakages: readonly (() => void)[] = [
      () => fs.rmSync(library),
      // A new file in its place: the old one is still mapped into this process.
      () => {
        fs.rmSync(library);
        fs.writeFileSync(library, "broken");
      },
      () => fs.writeFileSync(path.join(path.dirname(library), "entry.json"), "{"),
    ];
    for (const breakIt of breakages) {
      breakIt();
      const again = await startNative(source, t);
      expect(again.built).toBe(true);
      expect(again.model.runNow({ x, b }).y?.data[0]).toBe(2);
      again.model.dispose();
    }
    expect(fs.readdirSync(path.join(cacheFolder(), "native")).filter((f) => f.startsWith("."))).toEqual([]);
    expect(cacheSize(cacheFolder()).files).toBeGreaterThan(3);
  });

  test("writes weights once, whole or not at all", async () => {
    let written = 0;
    const write = (size: number) =>
      cachedWeights(cacheFolder(), "some", size, async (sink) => {
        written++;
        sink(4, Uint8Array.of(1));
      });
    const file = (await write(8)) as string;
    expect([...fs.readFileSync(file)]).toEqual([0, 0, 0, 0, 1, 0, 0, 0]);
    await write(8);
    expect(written).toBe(1);
    fs.truncateSync(file, 3);
    await write(8);
    expect(written).toBe(2);
    fs.rmSync(file);
    await expect(
      cachedWeights(cacheFolder(), "some", 8, async () => {
        throw new Error("stopped");
      }),
    ).rejects.toThrowError("stopped");
    expect(fs.readdirSync(path.dirname(file)).filter((f) => f.includes("some") || f.startsWith("."))).toEqual([]);
    expect(await write(0)).toBeNull();
  });

  test("a folder that cannot be written is named, with a way out", async () => {
    const file = path.join(folder, "a-file");
    fs.writeFileSync(file, "");
    process.env.XDG_CACHE_HOME = file;
    try {
      await expect(start(handmade({ mark: "nowhere" }))).rejects.toMatchObject({
        name: "UserError",
        code: "cache",
        message: expect.stringMatching(/a-file.tilewright cannot be written \(.*\).*set XDG_CACHE_HOME/),
      });
    } finally {
      process.env.XDG_CACHE_HOME = folder;
    }
  });

  test("a file of weights of another size is refused by the model", async () => {
    const source = handmade({ mark: "weights" });
    const manifest = { ...source.manifest, weight_bytes: 32 };
    await expect(start({ ...source, manifest })).rejects.toMatchObject({ code: "weights", message: "tiny: the weights' file cannot be read" });
  });
});

describe("finding what it takes", () => {
  test("no compiler, and a wrong CC", () => {
    const none = { PATH: folder };
    expect(() => findCompiler(none)).toThrowError(/needs a C compiler, but none of cc, gcc, clang was found on the PATH: .*install.*or set CC/);
    expect(() => findCompiler({ ...process.env, CC: "no-such-compiler -m64" })).toThrowError(/CC is 'no-such-compiler -m64', which cannot be run/);
    expect(listCompilers(none)).toEqual([]);
  });

  test.skipIf(missing !== null)("CC with arguments is taken apart", () => {
    const { command } = findCompiler({ ...process.env, CC: "" });
    expect(findCompiler({ ...process.env, CC: ` ${command}  -g ` })).toMatchObject({ command, args: ["-g"] });
  });

  test("no FFI package, or one without a binary for this platform", async () => {
    const absent = Object.assign(new Error("Cannot find package 'koffi'"), { code: "ERR_MODULE_NOT_FOUND" });
    await expect(loadFfi(() => Promise.reject(absent))).rejects.toMatchObject({
      name: "UnsupportedError",
      code: "ffi",
      message: expect.stringMatching(/the package koffi, which is not installed: npm install koffi/),
    });
    await expect(loadFfi(() => Promise.reject(new Error("Cannot find the native Koffi module")))).rejects.toThrowError(
      /which cannot be loaded here \(Cannot find the native Koffi module\): npm install koffi/,
    );
  });

  test.skipIf(missing !== null)("a compiler that fails is quoted, and leaves nothing behind; a compilation can be aborted", async () => {
    const source = handmade();
    const text = `#error this is wrong\n${"int x = y;\n".repeat(40)}`;
    const broken = { ...source, files: { ...source.files, "model.c": text } };
    const entries = (): string[] =>
      fs.existsSync(path.join(folder, "tilewright/native")) ? fs.readdirSync(path.join(folder, "tilewright/native")) : [];
    const old = entries();
    await expect(start(broken)).rejects.toMatchObject({
      name: "UserError",
      code: "compiler",
      message: expect.stringMatching(
        /could not compile the model's C code \(exit status 1\):\n.*this is wrong[\s\S]*… and \d+ more lines\n.*CC chooses another/,
      ),
    });
    expect(entries()).toEqual(old);
    const stop = AbortSignal.abort(new Error("enough"));
    await expect(compileLibrary(findCompiler(), "x.c", "x.so", libraryFlags, stop)).rejects.toThrowError("enough");
    const slow = { ...findCompiler(), command: process.execPath, args: ["-e", "setTimeout(() => {}, 60000)", "--"] };
    await expect(compileLibrary(slow, "x.c", "x.so", [], AbortSignal.timeout(100))).rejects.toThrowError(/timeout/);
  });

  test("the cache lies where XDG says, if that is an absolute path", () => {
    expect(cacheFolder({ XDG_CACHE_HOME: folder })).toBe(path.join(folder, "tilewright"));
    if (process.platform !== "win32") expect(cacheFolder({ XDG_CACHE_HOME: "here" })).toBe(path.join(os.homedir(), ".cache/tilewright"));
  });
});
