import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { LoadOptions } from "../src/runtime/artifact.ts";
import type { Model } from "../src/runtime/model.ts";
import { CliFolder, buildForTests } from "./support/cli.ts";
import { rowsText } from "./support/threads.ts";

/** Runs `x[0]` rounds in the first call; any negative x reads outside of memory. */
const trapText = `program @trap {
  memory weights, arena bytes 0
  alloc %x as ax bytes 256
  alloc %y as ay bytes 256
  input %x: i32[64] at ax
  output %y: i32[64] at ay
  kernel @work(param %x: i32, out param %y: i32) over [begin, end) {
    for i in [begin, end) {
      for j in [0, %x[i]) {
        %y[i] = %y[i] + 1
      }
      if %x[i] < 0 {
        %y[i] = %x[0 - %x[i]]
      }
    }
  }
  main {
    launch @work(ax, ay) over [0, 64) grain 1 threads from 1 from "loop"
  }
}
`;

const here = new CliFolder();
let library: typeof import("../src/index.ts");
const at = (...parts: readonly string[]): string => join(here.path, ...parts);
const text = new TextEncoder();

async function load(dir: string, options?: LoadOptions): Promise<Model> {
  const m = (await import(/* @vite-ignore */ pathToFileURL(at(dir, "model.js")).href)) as { load(o?: LoadOptions): Promise<Model> };
  return m.load(options);
}
const wave = (n: number) => ({ x: { data: Float32Array.from({ length: n }, (_, i) => Math.sin(i)), dims: [n] } });
async function sums(m: Model, n: number): Promise<Float32Array> {
  return (await m.run(wave(n))).y?.data as Float32Array;
}

beforeAll(async () => {
  library = (await import(join(buildForTests(), "index.js"))) as typeof library;
  here.file("rows.tw", rowsText);
  for (const args of [
    ["-o", "rows"],
    ["-o", "three", "--threads", "3"],
    ["-o", "single", "--features", "simd,relaxed"],
  ]) {
    const r = await here.spawn(["compile", "rows.tw", ...args]);
    if (r.status !== 0) throw new Error(r.stderr);
  }
});
afterAll(() => here.remove());

/** Runs a script beside the artifacts in a process of its own, which must end by itself. */
function script(body: string, flags: readonly string[] = []): string {
  here.file("script.mjs", body);
  const r = spawnSync(process.execPath, [...flags, "script.mjs"], { cwd: here.path, encoding: "utf8", timeout: 60_000 });
  if (r.status !== 0) throw new Error(`${r.status ?? r.signal}: ${r.stdout}${r.stderr}`);
  return r.stdout.trim();
}

describe("results", () => {
  test("are the same for every number of threads and size, run after run", async () => {
    const one = await load("rows", { threads: 1 });
    const sizes = [1, 2, 3, 5, 64, 1000, 7, 1500, 32];
    const expected = new Map<number, Float32Array>();
    for (const n of sizes) expected.set(n, await sums(one, n));
    expect(expected.get(64)?.[63]).toBeCloseTo(
      Array.from({ length: 64 }, (_, i) => Math.sin(i)).reduce((a, b) => a + b),
      4,
    );
    for (const threads of [2, 3, 7]) {
      const m = await load("rows", { threads });
      expect(m.info()).toMatchObject({ threads, threads_reason: `${threads} threads were asked for`, shared_memory: true });
      for (let round = 0; round < 3; round++) for (const n of sizes) expect(await sums(m, n)).toEqual(expected.get(n));
      m.dispose();
    }
    one.dispose();
  });
  test("do not change when threads fell asleep between runs, or launches follow one another", async () => {
    const [one, m] = [await load("rows", { threads: 1 }), await load("rows", { threads: 3 })];
    const expected = await sums(one, 200);
    for (const pause of [0, 1, 5, 100, 0, 2, 20]) {
      await new Promise((done) => setTimeout(done, pause));
      for (let i = 0; i < 100; i++) expect(m.runNow(wave(200)).y?.data).toEqual(expected);
    }
    m.dispose();
    one.dispose();
  });
  test("in process as from an artifact; the number given when compiling is the default", async () => {
    const expected = await sums(await load("single"), 100);
    const m = await library.compile(text.encode(rowsText), { threads: 2 });
    expect(m.info()).toMatchObject({ threads: 2, shared_memory: true });
    expect(await sums(m, 100)).toEqual(expected);
    m.dispose();
    const three = await load("three");
    expect(three.info()).toMatchObject({ threads: 3 });
    expect(await sums(three, 100)).toEqual(expected);
    three.dispose();
  });
  test("are copies into plain memory; views are of shared memory; kept outputs stay inside", async () => {
    const m = await load("rows", { threads: 2 });
    const copy = (await m.run(wave(10))).y?.data;
    expect(copy?.buffer).toBeInstanceOf(ArrayBuffer);
    const view = (await m.run(wave(10), { views: true })).y?.data;
    expect(view?.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(view).toEqual(copy);
    const { y } = await m.run(wave(10), { keep: ["y"] });
    // Larger sizes move what is kept.
    const twice = (await m.run({ x: y })).y?.data;
    await sums(m, 2000);
    expect(m.read(y).data).toEqual(copy);
    expect(await (await load("rows", { threads: 1 })).run({ x: { data: copy as Float32Array, dims: [10] } })).toMatchObject({ y: { data: twice } });
    m.dispose();
  });
});

describe("fewer threads than asked for, and why", () => {
  test("an artifact without modules for threads", async () => {
    const m = await load("single", { threads: 2 });
    expect(m.info()).toMatchObject({
      threads: 1,
      shared_memory: false,
      threads_reason: expect.stringMatching(/no module for threads: compile it with/),
    });
    expect(await here.spawn(["run", "single", "--random", "1", "--threads", "2", "--shape", "n=8"])).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(/^runs on 1 thread: 2 threads were asked for, but the artifact has no module/),
    });
  });
  test("modules that were given", async () => {
    const given = async (file: string) => ({ wasm: await WebAssembly.compile(readFileSync(at("rows", file)) as BufferSource) });
    const single = await load("rows", { threads: 2, ...(await given("model.wasm")) });
    expect(single.info()).toMatchObject({ threads: 1, threads_reason: expect.stringMatching(/the given module was compiled for one thread/) });
    const shared = await load("rows", { threads: 2, ...(await given("model.mt.wasm")) });
    expect(shared.info()).toMatchObject({ threads: 2, relaxed_simd: false });
    const alone = await load("rows", await given("model.mt.wasm"));
    expect(alone.info()).toMatchObject({ threads: 1, shared_memory: true, threads_reason: "one thread was asked for" });
    expect(await sums(alone, 50)).toEqual(await sums(single, 50));
    expect(await sums(shared, 50)).toEqual(await sums(single, 50));
    shared.dispose();
  });
  test("no shared memory", () => {
    const out = script(`delete globalThis.SharedArrayBuffer;
      const { load } = await import("./rows/model.js");
      const m = await load({ threads: 2 });
      console.log(JSON.stringify([m.info(), (await m.run({ x: { data: [1, 2, 3], dims: [3] } })).y.data]));`);
    expect(JSON.parse(out)).toMatchObject([
      { threads: 1, shared_memory: false, threads_reason: "2 threads were asked for, but this engine has no shared WebAssembly memory" },
      { 0: 1, 1: 3, 2: 6 },
    ]);
  });
  test("a script that cannot be started", async () => {
    // As after a bundler that does not know of workers: there is no model.js beside it.
    for (const f of ["model.mt.wasm", "model.relaxed.mt.wasm", "model.wasm", "model.relaxed.wasm"])
      here.file(`moved/${f}`, readFileSync(at("rows", f)));
    copyFileSync(at("rows", "model.js"), at("moved", "bundle.js"));
    here.file("moved/package.json", '{ "type": "module" }');
    const { load: moved } = (await import(/* @vite-ignore */ pathToFileURL(at("moved", "bundle.js")).href)) as {
      load(o?: LoadOptions): Promise<Model>;
    };
    const m = await moved({ threads: 3 });
    expect(m.info()).toMatchObject({
      threads: 1,
      threads_reason: expect.stringMatching(/^3 threads .* 2 of 2 workers did not start: Cannot find module/),
    });
    expect([...(await sums(m, 3))]).toEqual([...(await sums(await load("single"), 3))]);
  });
  test.each([0, 1.5, 65, Number.NaN, "2" as never])("threads: %s is refused", async (threads) => {
    const refused = { name: "UserError", code: "threads", message: expect.stringMatching(/whole number from 1 to 64/) };
    await expect(load("rows", { threads })).rejects.toMatchObject(refused);
    await expect(library.compile(text.encode(rowsText), { threads })).rejects.toMatchObject(refused);
  });
});

describe("workers", () => {
  test("end with the model, and keep no process alive; idle ones use no processor", () => {
    const out = script(`import { load } from "./rows/model.js";
      const x = { data: new Float32Array(500).fill(1), dims: [500] };
      const disposed = await load({ threads: 3 });
      await disposed.run({ x });
      disposed.dispose();
      const m = await load({ threads: 3 });
      await m.run({ x });
      await new Promise((done) => setTimeout(done, 100));
      const before = process.cpuUsage();
      await new Promise((done) => setTimeout(done, 500));
      const { user, system } = process.cpuUsage(before);
      console.log((user + system) / 1000, (await m.run({ x })).y.data[499]);`);
    const [busy, last] = out.split(" ").map(Number);
    expect(last).toBe(500);
    // Of 500 milliseconds.
    expect(busy).toBeLessThan(100);
  });
  test("50 models, one after the other, leave no memory behind", () => {
    const out = script(
      `import { load } from "./rows/model.js";
      const x = { data: new Float32Array(100), dims: [100] };
      for (let i = 0; i <= 50; i++) {
        const m = await load({ threads: 3 });
        await m.run({ x });
        m.dispose();
        if (i % 25 === 0) {
          await new Promise((done) => setTimeout(done, 200));
          gc();
          console.log(process.memoryUsage().rss);
        }
      }`,
      ["--expose-gc"],
    );
    const [, half = 0, all = 0] = out.split("\n").map(Number);
    // A worker that stayed would take some 5 MB.
    expect(all - half).toBeLessThan(20e6);
  });
  test("of a user's own can import the model, with threads of its own", () => {
    const worker = `import { parentPort, workerData } from "node:worker_threads";
      import { load } from "./rows/model.js";
      const m = await load({ threads: 2 });
      parentPort.postMessage([workerData, m.info().threads, [...(await m.run({ x: { data: [1, 2], dims: [2] } })).y.data]]);`;
    here.file("worker.mjs", worker);
    const out = script(`import { Worker } from "node:worker_threads";
      new Worker("./worker.mjs", { workerData: "mine" }).on("message", (m) => console.log(JSON.stringify(m)));`);
    expect(JSON.parse(out)).toEqual(["mine", 2, [1, 3]]);
  });
  test("a kernel that fails on one of them fails the run, and the model with it", async () => {
    const failed = {
      name: "InternalError",
      code: "trap",
      message: expect.stringMatching(/a kernel of trap failed \(RuntimeError: memory access out of bounds\)/),
    };
    const broken = { name: "UserError", code: "broken", message: expect.stringMatching(/load it again/) };
    const input = (...values: readonly (readonly [number, number])[]): { x: Int32Array } => {
      const x = new Int32Array(64);
      for (const [i, v] of values) x[i] = v;
      return { x };
    };
    const outside = -100_000_000;
    const onLeader: boolean[] = [];
    // The first call, which is the leader's as a rule, takes long: another thread gets the last one.
    for (const inputs of [input([0, outside]), input([0, 20_000_000], [63, outside]), input([0, 20_000_000], [63, outside])]) {
      const m = await library.compile(text.encode(trapText), { threads: 2 });
      await m.run(input());
      const e = await m.run(inputs).then(
        () => null,
        (reason: Error) => reason,
      );
      expect(e).toMatchObject(failed);
      onLeader.push(e?.cause !== undefined);
      await expect(m.run(input())).rejects.toMatchObject(broken);
      m.dispose();
    }
    expect(onLeader).toContain(false);
    const single = await library.compile(text.encode(trapText));
    await expect(single.run(input([5, outside]))).rejects.toMatchObject(failed);
    expect((await single.run(input([5, 3]))).y?.data[5]).toBe(3);
  });
});
