import { afterEach, describe, expect, test } from "vitest";
import { type CompileOptions, type KeptTensor, type Model, compile } from "../src/index.ts";
import { importSource } from "../src/importer.ts";
import { buildArtifact } from "../src/load.ts";
import type { Manifest } from "../src/runtime/model.ts";
import { mlpText } from "./support/cli.ts";
import { model } from "./support/onnx.ts";
import { rowsText } from "./support/threads.ts";
import { randomSource } from "./support/values.ts";

const page = 65536;
const text = new TextEncoder();
const fixed = text.encode(mlpText);
const rows = text.encode(rowsText);
const open = model({ nodes: [{ op: "Add", in: ["x", "x"], out: ["y"] }], inputs: { x: ["f32", ["n", 100]] }, outputs: ["y"] });
/** Two outputs of sizes that differ: x twice, and its sum. */
const pair = model({
  nodes: [
    { op: "Concat", in: ["x", "x"], out: ["y"], attrs: { axis: 0 } },
    { op: "ReduceSum", in: ["x"], out: ["sum"], attrs: { keepdims: 0 } },
  ],
  inputs: { x: ["f32", ["n", 100]] },
  outputs: ["y", "sum"],
});
const upTo = (n: number): CompileOptions => ({ symbols: { n: { min: 1, max: n } } });
const input = (n: number) => ({ x: { data: Float32Array.from({ length: n * 100 }, (_, i) => i % 13), dims: [n, 100] } });

/** All memories made while something runs, as they were asked for. */
const RealMemory = WebAssembly.Memory;
let asked: WebAssembly.MemoryDescriptor[] = [];
function watchMemories(): void {
  asked = [];
  WebAssembly.Memory = class extends RealMemory {
    constructor(descriptor: WebAssembly.MemoryDescriptor) {
      super(descriptor);
      asked.push(descriptor);
    }
  };
}
afterEach(() => {
  WebAssembly.Memory = RealMemory;
});

function artifact(bytes: Uint8Array, options: CompileOptions = {}): { readonly manifest: Manifest; readonly modules: readonly Uint8Array[] } {
  const { symbols } = options;
  return buildArtifact(importSource(bytes, { name: "model", ...(symbols === undefined ? {} : { symbols }) }), options).artifact;
}
const planned = (m: Manifest): number => m.weights_base + m.weight_bytes + (m.memory.arena_bytes ?? 0);
const pages = (bytes: number): number => Math.ceil(bytes / page);

/** Does the module take that memory? */
async function takes(bytes: Uint8Array, descriptor: WebAssembly.MemoryDescriptor): Promise<boolean> {
  const module = await WebAssembly.compile(bytes as BufferSource);
  const env = { memory: new WebAssembly.Memory(descriptor), clock: () => {} };
  return WebAssembly.instantiate(module, { env }).then(
    () => true,
    (e) => {
      expect(e).toBeInstanceOf(WebAssembly.LinkError);
      return false;
    },
  );
}

describe("the memory in modules and manifests", () => {
  test.each<[string, Uint8Array, CompileOptions]>([
    ["known sizes", fixed, {}],
    ["sizes with a bound", open, upTo(1000)],
    ["threads", rows, { threads: 3 }],
    [
      "many weights",
      model({
        nodes: [{ op: "MatMul", in: ["x", "w"], out: ["y"] }],
        inputs: { x: ["f32", [1, 256]] },
        outputs: ["y"],
        initializers: { w: { dtype: "f32", dims: [256, 300], values: Array.from({ length: 76_800 }, (_, i) => i % 7) } },
      }),
      {},
    ],
  ])("%s: it begins with what is planned, and may grow to what the largest sizes need", async (_, bytes, options) => {
    const { manifest, modules } = artifact(bytes, options);
    const { memory } = manifest;
    const initial = pages(planned(manifest));
    expect(memory.initial_bytes).toBe(initial * page);
    const scratch = Math.ceil(planned(manifest) / 64) * 64;
    const maximum = (threads: number) => pages(scratch + (threads - 1) * (memory.thread_bytes ?? 0) + (memory.kept_bytes ?? 0));
    expect(memory.maximum_bytes).toBe(maximum(options.threads ?? 1) * page);
    for (const [i, m] of manifest.modules.entries()) {
      const module = modules[i] as Uint8Array;
      if (!WebAssembly.validate(module as BufferSource)) continue;
      const shared = m.shared;
      const most = maximum(shared ? 64 : 1);
      expect(await takes(module, { initial, maximum: most, shared })).toBe(true);
      expect(await takes(module, { initial, maximum: most + 1, shared })).toBe(false);
      if (initial > 1) expect(await takes(module, { initial: initial - 1, maximum: most, shared })).toBe(false);
    }
  });
  test("sizes without a bound: it begins with the weights, and has no maximum", async () => {
    const { manifest, modules } = artifact(open);
    expect(manifest.memory).toEqual({
      initial_bytes: pages(manifest.weights_base + manifest.weight_bytes) * page,
      maximum_bytes: null,
      arena_bytes: null,
      thread_bytes: null,
      kept_bytes: null,
    });
    expect(await takes(modules[0] as Uint8Array, { initial: 1 })).toBe(true);
  });
  test.each<[string, Uint8Array, CompileOptions]>([
    ["known sizes", fixed, {}],
    ["a bound", open, upTo(1000)],
  ])("%s: just that is asked of the engine", async (_, bytes, options) => {
    watchMemories();
    const m = await compile(bytes, options);
    const { memory } = artifact(bytes, options).manifest;
    expect(m.info()).toMatchObject({ maximum_bytes: memory.maximum_bytes });
    const mine = { initial: memory.initial_bytes / page, maximum: (memory.maximum_bytes ?? 0) / page, shared: false };
    expect(asked.filter((d) => d.maximum === mine.maximum)).toEqual([mine]);
    m.dispose();
  });
});

describe("room for kept tensors", () => {
  test("is by default for all outputs twice, at the largest sizes", async () => {
    const m = await compile(pair, upTo(300));
    const most = m.info().maximum_bytes as number;
    let last: KeptTensor[] = [];
    for (const n of [1, 17, 300, 299, 300, 5, 300, 300]) {
      const r = await m.run(input(n), { keep: ["y", "sum"] });
      for (const t of last) t.dispose();
      last = [r.y, r.sum];
      expect(m.info().memory_bytes).toBeLessThanOrEqual(most);
    }
    const again = await m.run(input(300), { keep: ["y", "sum"] });
    expect(m.read(again.y).data).toEqual(Float32Array.from({ length: 60_000 }, (_, i) => (i % 30_000) % 13));
    expect(m.info().memory_bytes).toBe(most);
    await expect(m.run(input(300), { keep: ["y"] })).rejects.toMatchObject({ code: "memory", message: expect.stringMatching(/kept/) });
  });
  test("may be as asked for; an error tells how much would do, and takes nothing", async () => {
    const small = await compile(pair, { ...upTo(300), keptMemory: 100_000 });
    const inputs = input(100);
    const first = await small.run(inputs, { keep: ["y"] });
    const refused = await small.run(inputs, { keep: ["y", "sum"] }).then(
      () => null,
      (e: Error) => e,
    );
    expect(refused).toMatchObject({ name: "UserError", code: "memory" });
    const needed = Number(/--kept-memory (\d+)/.exec(refused?.message ?? "")?.[1]);
    expect(needed).toBe(160_000);
    // What there is room for is still given, and runs that keep nothing go on.
    (await small.run(inputs, { keep: ["sum"] })).sum.dispose();
    expect((await small.run(inputs)).y?.data).toEqual(small.read(first.y).data);
    const larger = await compile(pair, { ...upTo(300), keptMemory: needed + 64 });
    for (let i = 0; i < 2; i++) await larger.run(inputs, { keep: i === 0 ? ["y"] : ["y", "sum"] });
    expect((larger.info().maximum_bytes ?? 0) - (small.info().maximum_bytes ?? 0)).toBeLessThanOrEqual(page);
    const none = await compile(pair, { ...upTo(300), keptMemory: 0 });
    await expect(none.run(inputs, { keep: ["sum"] })).rejects.toMatchObject({ code: "memory" });
  });
  test("limits sizes without a bound too", async () => {
    const m = await compile(pair, { keptMemory: 100_000 });
    expect(m.info().maximum_bytes).toBeNull();
    await m.run(input(100), { keep: ["y"] });
    await expect(m.run(input(100), { keep: ["y"] })).rejects.toMatchObject({ code: "memory" });
  });
  test("is used to the last byte: what is kept moves together", async () => {
    const m = await compile(pair, { ...upTo(300), keptMemory: 3 * 80_000 });
    const runs = [await m.run(input(100), { keep: ["y"] }), await m.run(input(100), { keep: ["y"] }), await m.run(input(50), { keep: ["y"] })];
    runs[1]?.y.dispose();
    // 120,000 bytes are free, in two pieces.
    const last = await m.run(input(150), { keep: ["y"] });
    for (const [n, t] of [
      [100, runs[0]?.y],
      [50, runs[2]?.y],
      [150, last.y],
    ] as const)
      expect(m.read(t as KeptTensor).data).toEqual(Float32Array.from({ length: 200 * n }, (_, i) => (i % (100 * n)) % 13));
  });
  test("of caches that grow is shared out as they need it: spare rows are given back", async () => {
    /** Two caches, of which one has its rows in several pieces. */
    const caches = model({
      nodes: [
        { op: "Concat", in: ["a", "x"], out: ["a2"], attrs: { axis: 0 } },
        { op: "Concat", in: ["b", "y"], out: ["b2"], attrs: { axis: 1 } },
      ],
      inputs: { a: ["f32", ["n", 16]], x: ["f32", [1, 16]], b: ["f32", [3, "n", 16]], y: ["f32", [3, 1, 16]] },
      outputs: ["a2", "b2"],
    });
    const random = randomSource(5);
    const bytes = (rows: number) => 4 * rows * 64;
    const room = 3 * bytes(60);
    const m = await compile(caches, { symbols: { n: { min: 1, max: 99 } }, keptMemory: room });
    const { maximum_bytes } = m.info();
    interface Pair {
      readonly a: KeptTensor;
      readonly b: KeptTensor;
      readonly rows: readonly number[];
    }
    const row = (v: number, n: number) => new Float32Array(16 * n).fill(v);
    const contents = (rows: readonly number[], outer: number) =>
      Float32Array.from({ length: outer * rows.length * 16 }, (_, i) => rows[(i >> 4) % rows.length] as number);
    const same = (x: ArrayBufferView, y: ArrayBufferView) => Buffer.from(x.buffer as ArrayBuffer).equals(Buffer.from(y.buffer as ArrayBuffer));
    let live: Pair[] = [];
    const drop = (p: Pair): void => {
      for (const t of [p.a, p.b]) t.dispose();
      live = live.filter((q) => q !== p);
    };
    let refused = 0;
    for (let step = 1; step <= 250; step++) {
      const from =
        live.length === 0 || random() < 0.05 ? null : (live[random() < 0.8 ? live.length - 1 : Math.floor(random() * live.length)] as Pair);
      const given =
        from === null || from.rows.length === 99
          ? { a: { data: row(step, 1), dims: [1, 16] }, b: { data: row(step, 3), dims: [3, 1, 16] }, rows: [step] }
          : from;
      const rows = [...given.rows, step];
      try {
        const r = await m.run({ a: given.a, b: given.b, x: row(step, 1), y: row(step, 3) }, { keep: ["a2", "b2"] });
        live.push({ a: r.a2, b: r.b2, rows });
        if (from !== null && random() < 0.8) drop(from);
      } catch (e) {
        expect(e).toMatchObject({ code: "memory" });
        refused++;
        expect(live.reduce((n, p) => n + bytes(p.rows.length), bytes(rows.length))).toBeGreaterThan(room / 2);
        drop(live[Math.floor(random() * live.length)] as Pair);
      }
      expect(m.info().memory_bytes).toBeLessThanOrEqual(maximum_bytes ?? 0);
      for (const p of live) {
        expect(same(m.read(p.a).data, contents(p.rows, 1))).toBe(true);
        expect(same(m.read(p.b).data, contents(p.rows, 3))).toBe(true);
      }
    }
    expect(refused).toBeGreaterThan(5);
  });
  test.each([-1, 0.5, Number.NaN])("%d bytes are refused", async (keptMemory) => {
    await expect(compile(pair, { keptMemory })).rejects.toMatchObject({ name: "UserError", code: "kept-memory" });
  });
});

describe("--max-memory", () => {
  const limits = (bytes: Uint8Array, options: CompileOptions): Manifest["memory"] => artifact(bytes, options).manifest.memory;
  test("takes in the threads' scratch memory, and what is to be kept", () => {
    const one = artifact(rows, { threads: 1 }).manifest;
    const needed = (threads: number) => pages(Math.ceil(planned(one) / 64) * 64 + (threads - 1) * (one.memory.thread_bytes ?? 0)) * page;
    const exact = limits(rows, { threads: 60, maxMemory: needed(60) });
    expect(exact.maximum_bytes).toBe(needed(60));
    const over = (options: CompileOptions, message: RegExp) =>
      expect(() => limits(rows, options)).toThrow(
        expect.objectContaining({ name: "UserError", code: "max-memory", message: expect.stringMatching(message) }),
      );
    over({ threads: 60, maxMemory: needed(60) - 1 }, /scratch memory of 60 threads/);
    over({ threads: 1, maxMemory: needed(1), keptMemory: 10 * page }, /kept tensors 640.0 KiB.*more than the limit/);
    expect(limits(rows, { threads: 1, maxMemory: needed(1) + 10 * page, keptMemory: 10 * page }).maximum_bytes).toBe(needed(1) + 10 * page);
  });
  test("leaves kept tensors that nobody asked for the room that is left", () => {
    const whole = limits(open, upTo(1000));
    const half = (whole.maximum_bytes ?? 0) - 6 * page;
    const less = limits(open, { ...upTo(1000), maxMemory: half });
    expect(less.maximum_bytes).toBe(half);
    expect(less.kept_bytes).toBeLessThan(whole.kept_bytes ?? 0);
  });
  test("cannot hold where a size has no bound", () => {
    expect(() => limits(open, { maxMemory: 2 ** 30 })).toThrow(/without an upper bound \(n\): bound them, for example --shape n=1..16/);
  });
  test("more than 32 bits address is refused, with and without a limit", () => {
    const large = upTo(6_000_000);
    for (const options of [large, { ...upTo(1000), keptMemory: 2 ** 32 }])
      expect(() => limits(open, options)).toThrow(
        expect.objectContaining({ name: "UserError", code: "memory", message: expect.stringMatching(/32-bit memory/) }),
      );
    const { memory } = artifact(open, upTo(3_000_000)).manifest;
    expect(memory.maximum_bytes).toBe(2 ** 32);
  });
});

describe("dispose", () => {
  const x = Float32Array.of(1, 0, 0, 0, 0, 1, 1, 1);
  const disposed = { name: "UserError", code: "disposed" };
  test("rejects the runs that have not begun, and all later ones; called again it does nothing", async () => {
    const m = await compile(fixed);
    const before = m.run({ x });
    const { scores } = await before;
    const queued = [m.run({ x }), m.run({ x })];
    m.dispose();
    m.dispose();
    for (const r of await Promise.allSettled(queued))
      expect(r).toMatchObject({ status: "rejected", reason: { ...disposed, message: expect.stringMatching(/before this run began/) } });
    await expect(m.run({ x })).rejects.toMatchObject({ ...disposed, message: expect.stringMatching(/load it again/) });
    expect(() => m.runNow({ x })).toThrow(expect.objectContaining(disposed));
    expect([...(scores?.data ?? [])]).toEqual([1, 2, 3, -1, 10, 11]);
    expect(m.info()).toMatchObject({ memory_bytes: 0, threads: 1 });
  });
  test("ends kept tensors too", async () => {
    const m = await compile(open);
    const { y } = await m.run(input(3), { keep: ["y"] });
    m.dispose();
    expect(() => m.read(y)).toThrow(expect.objectContaining(disposed));
    await expect(m.run({ x: y })).rejects.toMatchObject(disposed);
    y.dispose();
    y.dispose();
  });
  test("is what engines with 'using' call: at once, or after the runs that were asked for", async () => {
    const [now, later] = [await compile(fixed), await compile(fixed)];
    now[Symbol.dispose]();
    await expect(now.run({ x })).rejects.toMatchObject(disposed);
    const results = [later.run({ x }), later.run({ x })];
    const done = later[Symbol.asyncDispose]();
    const last = later.run({ x });
    await done;
    for (const r of await Promise.all([...results, last])) expect(r.scores?.data[5]).toBe(11);
    await expect(later.run({ x })).rejects.toMatchObject(disposed);
    const m = await compile(open);
    const { y } = await m.run(input(2), { keep: ["y"] });
    y[Symbol.dispose]();
    await expect(m.run({ x: y })).rejects.toMatchObject({ code: "kept" });
  });
});

/** What must not hang on to a model's memory, held by those who use it. */
test("a model that was disposed of holds neither its memory nor its weights' source", async () => {
  const m: Model = await compile(fixed);
  m.dispose();
  const seen = new Set<unknown>();
  const found: unknown[] = [];
  const walk = (v: unknown, depth: number): void => {
    if (v === null || typeof v !== "object" || seen.has(v) || depth > 6) return;
    seen.add(v);
    if (v instanceof WebAssembly.Memory || v instanceof WebAssembly.Module || v instanceof ArrayBuffer || ArrayBuffer.isView(v)) found.push(v);
    for (const k of Object.getOwnPropertyNames(v)) walk((v as Record<string, unknown>)[k], depth + 1);
  };
  walk(m, 0);
  expect(found).toEqual([]);
});
