import { describe, expect, test } from "vitest";
import { compareSnapshots, differs, reportOf, withoutTexts } from "../scripts/kernels/compare.mjs";
import { type KernelSnapshot, type Snapshot, codeOf, snapshotOf } from "../scripts/kernels/snapshot.mjs";
import { f32 } from "../src/base/dtype.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { hostFrom } from "../src/graph/host.ts";
import type { GraphFunction, Value } from "../src/graph/ir.ts";
import { buildArtifact } from "../src/load.ts";
import * as print from "../src/loop/print.ts";

const dims = [32, 48];

/** Rows of `x` times a constant matrix, then `rest`. */
function graph(rest: (g: GraphBuilder, x: Value) => Value): GraphFunction {
  const g = new GraphBuilder();
  const x = g.param("x", { dtype: f32, dims });
  g.origin = ["product"];
  const w = g.host(
    hostFrom(f32, [48, 64], (i) => Math.sin(i)),
    "w",
  );
  const y = g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] }, "product");
  g.origin = ["rest"];
  return g.finish("small", [], [rest(g, y)]);
}

function snapshot(f: GraphFunction): Snapshot {
  const { artifact, compiled } = buildArtifact({ kind: "graph", graph: f, name: f.name, inputNames: ["x"], outputNames: ["y"] });
  return snapshotOf(compiled, artifact, print);
}
const plain = snapshot(graph((_, y) => y));
const softened = snapshot(graph((g, y) => g.one("softmax", [y], { axis: 1 }, "soft")));

const names = (list: readonly { readonly before: KernelSnapshot | null; readonly after: KernelSnapshot | null }[]) =>
  list.map((p) => [p.before?.name ?? null, p.after?.name ?? null]);

describe("snapshots", () => {
  test("hold every kernel with its text and its bytes of code, and main", () => {
    expect(plain.kernels[0]).toMatchObject({ name: "main", role: "main" });
    const run = plain.kernels.filter((k) => k.role === "run");
    expect(run.length).toBeGreaterThan(0);
    for (const k of run) {
      expect(k.bytes).toBeGreaterThan(20);
      expect(k.text).toContain(`kernel @${k.name}(`);
      expect(k.text).toMatch(/\}\s*$/);
    }
    expect(run.flatMap((k) => k.origins)).toContain("product");
    // The code is most of a module.
    const total = plain.kernels.reduce((n, k) => n + (k.bytes ?? 0), 0);
    expect(total).toBeLessThan(plain.modules["model.wasm"] as number);
    expect(total).toBeGreaterThan((plain.modules["model.wasm"] as number) / 2);
  });

  test("are the same for the same graph", () => {
    expect(snapshot(graph((_, y) => y))).toEqual(plain);
  });

  test("read the functions' code by name, imported ones apart", () => {
    const code = (n: number) => [2, 0, ...new Array<number>(n).fill(0x01), 0x0b];
    const name = (s: string) => [s.length, ...new TextEncoder().encode(s)];
    const names = [1, 15, 3, 0, ...name("clock"), 1, ...name("f"), 2, ...name("g")];
    const body = (n: number) => code(n).slice(1);
    const section = (id: number, b: readonly number[]) => [id, b.length, ...b];
    const functions = [2, body(3).length, ...body(3), body(7).length, ...body(7)];
    const module = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(10, functions), ...section(0, [...name("name"), ...names])]);
    expect([...codeOf(module)].map(([n, b]) => [n, b.length])).toEqual([
      ["f", 5],
      ["g", 9],
    ]);
  });
});

describe("comparison", () => {
  test("of a snapshot with itself, with or without texts, finds nothing", () => {
    for (const other of [plain, withoutTexts(plain)]) {
      const pairs = compareSnapshots(other, plain);
      expect(differs(pairs)).toBe(false);
      expect(pairs.same).toHaveLength(plain.kernels.length);
      expect(reportOf("small", other, plain, pairs)).toEqual([expect.stringMatching(/^small: all \d+ kernels the same; bytes: /)]);
    }
    expect(withoutTexts(plain).kernels.every((k) => !("text" in k))).toBe(true);
  });

  test("finds a kernel that appeared, and main that launches it; what is untouched stays the same", () => {
    const pairs = compareSnapshots(plain, softened);
    expect(differs(pairs)).toBe(true);
    expect(names(pairs.changed)).toContainEqual(["main", "main"]);
    expect(pairs.appeared.length + pairs.changed.length).toBeGreaterThan(1);
    const back = compareSnapshots(softened, plain);
    expect(names(back.vanished).map(([n]) => n)).toEqual(names(pairs.appeared).map(([, n]) => n));
    const text = reportOf("small", plain, softened, pairs).join("\n");
    expect(text).toMatch(/^small: .*changed.*model\.wasm \d+ → \d+ \+\d+ \(\+\d+\.\d %\)/);
    expect(text).toContain("\n  ~ main  ");
  });

  const kernel = (
    name: string,
    hash: string,
    bytes: number,
    origins: readonly string[] = [],
    role: KernelSnapshot["role"] = "run",
  ): KernelSnapshot => ({
    name,
    role,
    hash,
    bytes,
    origins,
  });
  const of = (...kernels: KernelSnapshot[]): Snapshot => ({ modules: { "model.wasm": kernels.reduce((n, k) => n + (k.bytes ?? 0), 0) }, kernels });

  test("takes a kernel that only has another name for the same", () => {
    const pairs = compareSnapshots(of(kernel("dot", "a", 10), kernel("dot_1", "b", 20)), of(kernel("dot", "b", 20), kernel("dot_1", "a", 10)));
    expect(differs(pairs)).toBe(false);
    expect(names(pairs.renamed)).toEqual([
      ["dot_1", "dot"],
      ["dot", "dot_1"],
    ]);
  });

  test("pairs changed kernels by name, then by the nodes that they serve", () => {
    const before = of(kernel("dot", "a", 100, ["n1"]), kernel("add", "b", 20, ["n3", "n2"]), kernel("gone", "c", 30, ["n4"]));
    const after = of(kernel("dot", "d", 150, ["n1"]), kernel("mul", "e", 20, ["n2", "n3"]), kernel("fresh", "f", 5));
    const pairs = compareSnapshots(before, after);
    expect(names(pairs.changed)).toEqual([
      ["dot", "dot"],
      ["add", "mul"],
    ]);
    expect(names(pairs.appeared)).toEqual([[null, "fresh"]]);
    expect(names(pairs.vanished)).toEqual([["gone", null]]);
    expect(reportOf("m", before, after, pairs)).toEqual([
      "m: 2 changed, 1 appeared, 1 vanished, 0 the same; bytes: model.wasm 150 → 175 +25 (+16.7 %)",
      "  ~ dot  100 → 150  +50 (+50.0 %)  [n1]",
      "  ~ add → mul  20  [n2, n3]",
      "  + fresh  5",
      "  - gone  30  [n4]",
    ]);
  });

  test("keeps kernels that make weights apart from those that run, and counts equal ones", () => {
    const weights = kernel("pack", "a", 10, [], "prepare");
    const pairs = compareSnapshots(of(kernel("pack", "a", 10), weights), of(weights, { ...weights }));
    expect(names(pairs.same)).toEqual([["pack", "pack"]]);
    expect(names(pairs.vanished)).toEqual([["pack", null]]);
    expect(names(pairs.appeared)).toEqual([[null, "pack"]]);
    expect(pairs.appeared[0]?.after?.role).toBe("prepare");
  });
});
