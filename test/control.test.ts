import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kernelTimes, LaunchClock } from "../src/cli/kernel-times.ts";
import { importSource } from "../src/importer.ts";
import { buildArtifact, startArtifact } from "../src/load.ts";
import { compile } from "../src/node/index.ts";
import type { Model, OutputTensor } from "../src/runtime/model.ts";
import { missingForNative } from "./support/native.ts";

/** Models whose runs branch, loop and compute sizes, through the library, on every target and several threads. */

const missing = await missingForNative();
if (missing !== null) console.log(`skipped: target native (${missing})`);
const cacheHome = mkdtempSync(join(tmpdir(), "tilewright-control-"));
const before = process.env.XDG_CACHE_HOME;
beforeAll(() => {
  process.env.XDG_CACHE_HOME = cacheHome;
});
afterAll(() => {
  if (before === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = before;
  rmSync(cacheHome, { recursive: true, force: true });
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** y[i, j] = x[i] · j for j below n, a number among the data without a bound; and the sums of its rows. */
const unbounded = bytes(`graph @unbounded {
  symbol n in [0, inf] data
  input %n: i64[]
  input %x: f32[3]
  bind_size(%n) {symbol = [n]}
  %steps: f32[n] = iota() {dtype = f32, dims = [n], axis = 0}
  %a: f32[3, n] = broadcast(%steps) {dims = [3, n], map = [1]}
  %b: f32[3, n] = broadcast(%x) {dims = [3, n], map = [0]}
  %y: f32[3, n] = mul(%a, %b)
  %sum: f32[3] = reduce(%y) {monoid = add, axes = [1]}
  output %y, %sum
}
`);
const x = Float32Array.of(1, -2, 0.5);
const rowsOf = (n: number): number[] => [...x].flatMap((v) => Array.from({ length: n }, (_, j) => Math.fround(v * j)));

/** A state times a matrix, as often as a number among the data says, but at most 9 times; the even turns add its transpose. */
const turning = bytes(`graph @turning {
  symbol t in [0, 8] data <= 8
  symbol k in [0, 9] data <= 9
  input %turns: i32[]
  input %x: f32[192, 192]
  bind_size(%turns) {symbol = [k]}
  %ran: i32[], %last: f32[192, 192], %sums: f32[k, 192] = loop(%x) {index = [t], length = [k], states = 1, conditional = false}
  region (%s: f32[192, 192]) {
    %number: i32[] = iota_size() {dims = [t]}
    %one: i32[] = constant() {dtype = i32, dims = [], data = values(1)}
    %zero: i32[] = constant() {dtype = i32, dims = [], data = values(0)}
    %odd: i32[] = and(%number, %one)
    %even: bool[] = eq(%odd, %zero)
    %p: f32[192, 192] = dot(%s, %x) {batchA = [], batchB = [], contractA = [1], contractB = [0]}
    %q: f32[192, 192] = if(%even)
    region () {
      %turned: f32[192, 192] = transpose(%p) {perm = [1, 0]}
      %both: f32[192, 192] = add(%p, %turned)
      yield %both
    }
    region () {
      yield %p
    }
    %sum: f32[192] = reduce(%q) {monoid = add, axes = [1]}
    yield %q, %sum
  }
  output %last, %sums
}
`);

type Runner = Pick<Model, "run" | "dispose">;
const targets: readonly (readonly [string, (source: Uint8Array) => Promise<Runner>])[] = [
  ["wasm", (s) => compile(s)],
  ["wasm on 2 threads", (s) => compile(s, { threads: 2 })],
  ["native", (s) => compile(s, { target: "native" })],
  ["native on 2 threads", (s) => compile(s, { target: "native", threads: 2 })],
];

describe.each(targets)("target %s", (name, load) => {
  const skipped = name.startsWith("native") && missing !== null;
  test.skipIf(skipped)("sizes among the data: memory grows, is used again, faults are told", async () => {
    const m = await load(unbounded);
    const run = (n: number | bigint) => m.run({ n: [BigInt(n)], x });
    for (const n of [4, 0, 300_000, 1, 50_000]) {
      const { y, sum } = (await run(n)) as Record<string, OutputTensor>;
      expect(y?.dims).toEqual([3, n]);
      expect(
        [...(y?.data ?? [])].map(Number).every((v, i, all) => all.length === 3 * n && v === Math.fround((x[Math.floor(i / n)] as number) * (i % n))),
      ).toBe(true);
      const total = (n * (n - 1)) / 2;
      expect(Math.abs(Number(sum?.data[0]) - total)).toBeLessThanOrEqual(1e-5 * total);
    }
    await expect(run(-1)).rejects.toMatchObject({ name: "UserError", code: "size", message: expect.stringContaining("'n'") as string });
    await expect(run(2n ** 40n)).rejects.toMatchObject({ code: "size" });
    // 3 · 2^29 floats, which no tensor may have.
    await expect(run(2 ** 29)).rejects.toMatchObject({ code: "size", message: expect.stringContaining("2048 MiB") as string });
    const after = (await run(2)) as Record<string, OutputTensor>;
    expect([...(after.y?.data ?? [])]).toEqual(rowsOf(2));
    m.dispose();
  });

  test.skipIf(skipped)("an output of a size that the run computed stays inside", async () => {
    const m = await compile(unbounded, name.startsWith("native") ? { target: "native" } : {});
    const { y } = await m.run({ n: [7n], x }, { keep: ["y"] });
    await m.run({ n: [100_000n], x });
    expect(y.dims).toEqual([3, 7]);
    expect([...m.read(y).data]).toEqual(rowsOf(7));
    m.dispose();
  });
});

test("loops and branches give the same on any number of threads and target, and as many slices as turns", async () => {
  const value = Float32Array.from({ length: 192 * 192 }, (_, i) => ((i * 7919) % 101) / 5000 - 0.01);
  const wanted = new Map<string, Map<number, readonly Float32Array[]>>();
  for (const [name, load] of targets) {
    if (name.startsWith("native") && missing !== null) continue;
    const m = await load(turning);
    for (const k of [0, 1, 9, 4]) {
      const { last, sums } = (await m.run({ turns: [k], x: value })) as Record<string, OutputTensor>;
      expect(sums?.dims).toEqual([k, 192]);
      const got = [last?.data as Float32Array, sums?.data as Float32Array];
      if (k === 0) expect(got[0]).toEqual(value);
      const kind = name.split(" ")[0] as string;
      const of = wanted.get(kind) ?? new Map<number, readonly Float32Array[]>();
      wanted.set(kind, of);
      if (of.has(k)) expect(got).toEqual(of.get(k));
      of.set(k, got);
      // The same algorithm, with other vectors.
      wanted
        .get("wasm")
        ?.get(k)?.[1]
        ?.forEach((v, i) => expect(got[1]?.[i]).toBeCloseTo(v, 3));
    }
    await expect(m.run({ turns: [10], x: value })).rejects.toMatchObject({ code: "size", message: expect.stringContaining("at most 9") as string });
    m.dispose();
  }
});

test("sizes of inputs whose tensors no memory of 32 bits holds are refused", async () => {
  const outer = bytes(`graph @outer {
  symbol n
  input %x: f32[n]
  %a: f32[n, n] = broadcast(%x) {dims = [n, n], map = [0]}
  %b: f32[n, n] = broadcast(%x) {dims = [n, n], map = [1]}
  %y: f32[n, n] = mul(%a, %b)
  output %y
}
`);
  for (const [name, load] of targets) {
    if (name.startsWith("native") && missing !== null) continue;
    const m = await load(outer);
    const run = (n: number) => m.run({ x: { data: new Float32Array(n).fill(2), dims: [n] } });
    // 2^34 bytes, a multiple of 2^32; and 2^31.
    for (const n of [2 ** 16, 2 ** 17]) await expect(run(n)).rejects.toMatchObject({ name: "UserError", code: "memory" });
    expect([...((await run(2)).y?.data ?? [])]).toEqual([4, 4, 4, 4]);
    m.dispose();
  }
});

test("a limit on memory cannot be kept where nobody knows how much a run needs", async () => {
  await expect(compile(unbounded, { maxMemory: 2 ** 30 })).rejects.toMatchObject({ name: "UserError", code: "max-memory" });
  await expect(compile(turning, { maxMemory: 2 ** 10 })).rejects.toMatchObject({ code: "max-memory" });
});

test("a profiling build numbers launches in branches and loops as they stand in main", async () => {
  const built = buildArtifact(importSource(turning, { name: "turning" }), { features: ["simd"], profile: true });
  expect(built.artifact.manifest.shared_launches).toBeGreaterThan(0);
  const ticks = new Map<number, number>();
  const clock = new LaunchClock();
  const model = await startArtifact(built.artifact, undefined, (launch) => {
    ticks.set(launch, (ticks.get(launch) ?? 0) + 1);
    clock.tick(launch);
  });
  clock.begin();
  await model.run({ turns: [5], x: new Float32Array(192 * 192) });
  const times = kernelTimes(built.compiled.program.main, null, clock);
  const counts = times.map((_, i) => ticks.get(i) ?? 0);
  expect([...ticks.keys()].every((i) => i < times.length)).toBe(true);
  // Kernels of every turn, and those of the even turns 0, 2 and 4.
  expect(counts).toContain(5);
  expect(counts).toContain(3);
  expect(times.every((t, i) => t.ms > 0 === (counts[i] ?? 0) > 0)).toBe(true);
});
