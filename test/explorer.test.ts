import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { UserError } from "../src/base/errors.ts";
import { explore } from "../src/explorer/explore.ts";
import { usualSizes } from "../src/explorer/sizes.ts";
import type { BufferView, Exploration, GraphView } from "../src/explorer/types.ts";
import { importSource } from "../src/importer.ts";
import { buildArtifact, featuresHere } from "../src/load.ts";
import { model as encodeModel } from "./support/onnx.ts";

// What the explorer tells of a model: data that holds together, and texts that are those of the compiler.

const digits = new Uint8Array(readFileSync(fileURLToPath(new URL("../examples/digits/digits.onnx", import.meta.url))));
/** Compiled once: it takes longest. */
const explored = explore(digits, { name: "digits" });
const text = (t: string): Uint8Array => new TextEncoder().encode(t);

/** A perceptron of an open number of rows, one of whose layers runs only if asked for. */
const open = text(`graph @open {
  symbol rows in [1, inf]
  input %x: f32[rows, 8]
  input %more: bool[]
  %w: f32[8, 4] = constant() {dtype = f32, dims = [8, 4], data = values(${Array.from({ length: 32 }, (_, i) => `${i % 5}.0`).join(", ")})}
  %y: f32[rows, 4] = dot(%x, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} from "first"
  %z: f32[rows, 4] = if(%more)
  region () {
    %twice: f32[rows, 4] = add(%y, %y) from "twice"
    yield %twice
  }
  region () {
    %root: f32[rows, 4] = abs(%y) from "absolute"
    yield %root
  }
  output %z as "result"
}
`);

test("digits: the file, the steps, the kernels", () => {
  const x = explored;
  const { model, steps, program, error } = x.exploration;
  expect(error).toBeNull();
  expect(model).toMatchObject({
    name: "digits",
    format: "ONNX, IR version 8",
    producer: "pytorch",
    nodes: 10,
    ops: { Conv: 3, Relu: 3, MaxPool: 2, Flatten: 1, Gemm: 1 },
    parameters: 15338,
    inputs: [{ name: "image", dtype: "f32", dims: [1, 1, 8, 8] }],
    outputs: [{ name: "logits", dtype: "f32", dims: [1, 10] }],
    flops: 912906,
    problems: [],
  });
  expect(steps.map((s) => s.stage).filter((s, i, all) => s !== all[i - 1])).toEqual(["graph", "tensor", "schedule", "loop", "code"]);
  for (const s of steps) expect([s.step, s.doc.length > 10]).toEqual([steps.indexOf(s), true]);
  expect(program?.kernels.length).toBe(new Set(program?.kernels.map((k) => k.name)).size);
  // Arithmetic is counted once, whichever kernels share it.
  expect(program?.launches.reduce((n, l) => n + (l.flops ?? 0), 0)).toBe(912906);
  // What the code does is another matter: an algorithm saves most of the arithmetic of some convolutions.
  const saved = (program?.launches ?? []).map((l) => {
    const fast = program?.kernels.some((k) => k.schedule.includes('"winograd-') && k.origins.some((o) => l.origins.includes(o)));
    const ratio = (l.operations ?? 0) / (l.flops ?? 1);
    if (l.flops !== null) expect(fast ? ratio < 0.5 : ratio >= 1 && ratio < 1.2, l.origins.join()).toBe(true);
    return fast && l.flops !== null;
  });
  expect(saved).toContain(true);
  const origins = new Set(program?.launches.flatMap((l) => l.origins));
  for (const node of x.graph(0).nodes.filter((n) => n.op === "convolution")) expect(origins).toContain(node.origins[0]);
  // It can be sent to a page as it is.
  expect(structuredClone(x.exploration)).toEqual(x.exploration);
});

test("digits: texts are those that the compiler had at each step, also when they are asked for later", () => {
  const options = { name: "digits" };
  const at: string[] = [];
  const source = importSource(digits, options);
  buildArtifact(source, { ...options, features: featuresHere(options), listeners: [(e) => at.push(e.text())] });
  const x = explored;
  x.exploration.steps.slice(1).forEach((s, i) => {
    if (s.text) expect(x.text({ kind: "step", step: s.step }), s.name).toBe(at[i]);
  });
  // What did not change anything leaves the text that was there before.
  for (const s of x.exploration.steps.filter((y) => !y.changed && y.before !== null && y.text))
    expect(x.text({ kind: "step", step: s.step }), s.name).toBe(x.text({ kind: "step", step: s.before as number }));
  for (const k of x.exploration.program?.kernels ?? []) {
    expect(x.text({ kind: "loop", kernel: k.kernel })).toContain(`kernel @${k.name}(`);
    const wasm = x.text({ kind: "wasm", kernel: k.kernel });
    expect(wasm).toContain(`(func $${k.name} (param`);
    // One line each, between the first and the last.
    expect(wasm.trimEnd().split("\n").length).toBe((k.instructions ?? 0) + 2);
    expect(() => JSON.parse(k.schedule)).not.toThrow();
  }
});

test("graphs: every operand comes from a node before, regions know where they lie", () => {
  const seen: number[] = [];
  let of = 0;
  const x = explore(open, {}, (p) => {
    seen.push(p.done);
    of = p.of;
  });
  // Progress counts up to what it said at first: the number of steps is known before.
  expect(seen).toEqual(Array.from({ length: of }, (_, i) => i + 1));
  expect(x.exploration.steps.length).toBe(of + 1);
  const g = x.graph(0);
  checkGraph(g);
  expect(g.nodes.map((n) => `${n.kind} ${n.op}`)).toEqual([
    "input x",
    "input more",
    "constant constant",
    "op dot",
    "op if",
    "op add",
    "result twice",
    "op abs",
    "result root",
    "output result",
  ]);
  const branch = g.nodes.findIndex((n) => n.op === "if");
  expect(g.nodes.filter((n) => n.parent?.node === branch).map((n) => n.parent?.region)).toEqual([0, 0, 1, 1]);
  expect(g.nodes[3]?.attrs).toEqual({ batchA: "[]", batchB: "[]", contractA: "[1]", contractB: "[0]" });
  expect(g.nodes[3]?.values).toEqual([{ name: "y", dtype: "f32", dims: ["rows", 4] }]);
  for (const s of x.exploration.steps.filter((y) => y.graph)) checkGraph(x.graph(s.step));
  expect(() => x.graph(x.exploration.steps.length - 1)).toThrow(UserError);
});

test("memory: what is alive at once lies apart, and inside the arena", () => {
  for (const x of [explored, explore(open)]) {
    const plan = x.exploration.program?.memory;
    if (plan === undefined) throw new Error("it was not compiled");
    expect(plan.launches).toBe(x.exploration.program?.launches.length);
    checkPlan(plan.buffers, plan.arenaBytes, x.exploration);
  }
  const x = explore(open);
  const small = x.memory({ rows: 2 });
  expect(small.sizes).toEqual({ rows: 2 });
  expect(small.buffers.find((b) => b.role === "input" && b.name === "x")?.bytes).toBe(2 * 8 * 4);
  const large = x.memory({ rows: 1000 });
  expect(large.buffers.find((b) => b.role === "input" && b.name === "x")?.bytes).toBe(1000 * 8 * 4);
  expect(large.arenaBytes).toBeGreaterThan(small.arenaBytes);
  checkPlan(large.buffers, large.arenaBytes, x.exploration);
});

test("open sizes: bytes and arithmetic are told at the sizes that are asked for", () => {
  const x = explore(open);
  expect(x.exploration.model.symbols).toEqual([{ name: "rows", min: 1, max: null, multiple: 1, source: "input" }]);
  expect(x.exploration.model.inputs[0]?.dims).toEqual(["rows", 8]);
  const first = (rows: number) => x.launches({ rows }).find((l) => l.origins.includes("first"));
  expect(first(10)?.flops).toBe(2 * 10 * 8 * 4);
  expect(first(10)?.operations).toBe(2 * 10 * 8 * 4);
  expect(x.launches({ rows: 10 }).find((l) => l.origins.includes("twice"))).toMatchObject({ flops: null, operations: 10 * 4 });
  expect((first(20)?.bytes ?? 0) - (first(10)?.bytes ?? 0)).toBe(10 * (8 + 4) * 4);
  expect(x.exploration.program?.launches.find((l) => l.origins.includes("first"))).toMatchObject({ flops: null, operations: null, bytes: null });
});

test("sizes that nobody gave: one for the batch, what symbols allow for the rest", () => {
  const symbol = (name: string, min: number, max: number | null, multiple = 1) => ({ name, min, max, multiple });
  const inputs = [{ dims: ["batch", "seq"] }, { dims: ["batch", 3, "2 * seq"] }, { dims: ["n"] }, { dims: ["k", "k"] }];
  const symbols = [symbol("batch", 0, null), symbol("seq", 1, 64), symbol("n", 1, null), symbol("k", 5, 12, 5), symbol("few", 0, 0)];
  const sizes = usualSizes(symbols, inputs);
  expect(sizes).toMatchObject({ batch: 1, seq: 64, k: 10, few: 0 });
  expect(sizes.n).toBeGreaterThan(1);
  // At least three, and even.
  expect(usualSizes([symbol("batch", 3, null, 2)], inputs)).toEqual({ batch: 4 });
  expect(explore(open).exploration.program?.memory.sizes).toEqual({ rows: 1 });
});

test("a model that cannot be compiled: everything that stands in the way, and what can be told all the same", () => {
  const bytes = encodeModel({
    nodes: [
      { op: "NoSuchOp", in: ["x"], out: ["y"], name: "first" },
      { op: "Relu", in: ["x"], out: ["r"] },
      { op: "AlsoNone", domain: "org.example", in: ["r"], out: ["z"], name: "second" },
    ],
    inputs: { x: ["f32", [2, 3]] },
    outputs: ["y", "z"],
    domains: { "org.example": 1 },
  });
  const { model, error, program, steps } = explore(bytes, { name: "strange" }).exploration;
  expect(program).toBeNull();
  expect(steps).toEqual([]);
  expect(model.inputs).toEqual([{ name: "x", dtype: "f32", dims: [2, 3] }]);
  expect(model.problems.map((p) => [p.op, p.node])).toEqual([
    ["NoSuchOp", "first"],
    ["org.example.AlsoNone", "second"],
  ]);
  expect(error).toMatchObject({ name: "UnsupportedError", code: "unsupported-ops" });
  expect(error?.items.length).toBe(2);
});

test("what is no model, and wrong options, are refused", () => {
  expect(() => explore(text("hello"))).toThrow(UserError);
  expect(() => explore(new Uint8Array())).toThrow(UserError);
  expect(() => explore(digits, { threads: 0 })).toThrow("threads must be a whole number");
  const x = explored;
  expect(() => x.text({ kind: "step", step: 999 })).toThrow("there is no step 999");
  expect(() => x.text({ kind: "wasm", kernel: 999 })).toThrow("there is no kernel 999");
});

test("IR text of each level can be explored", () => {
  const x = explore(open);
  const { steps } = x.exploration;
  const of = (name: string) => x.text({ kind: "step", step: steps.findIndex((s) => s.name === name) });
  const program = `program @twice {
  memory weights, arena bytes 128
  input %x: f32[4] at arena
  output %y: f32[4] at arena + 64
  kernel @k(param %x: f32, out param %y: f32) over [begin, end) {
    for i in [begin, end) extent none {
      %y[i] = %x[i] + %x[i]
    }
  }
  main {
    launch @k(arena, arena + 64) over [0, 4) grain 4
  }
}
`;
  const levels: [Uint8Array, Exploration["steps"][number]["stage"]][] = [
    [text(of("lower-graph").replace(/data = elided\(\d+\)/g, "")), "tensor"],
    [text(program), "loop"],
  ];
  for (const [bytes, stage] of levels) {
    const { exploration } = explore(bytes);
    expect(exploration.error).toBeNull();
    expect(exploration.steps[0]).toMatchObject({ stage, name: "source", before: null });
    expect(exploration.program?.launches.length).toBeGreaterThan(0);
    expect(exploration.steps.every((s) => !s.graph)).toBe(true);
  }
});

function checkGraph(g: GraphView): void {
  g.nodes.forEach((n, i) => {
    expect(n.id).toBe(i);
    if (n.parent !== null) expect(n.parent.node).toBeLessThan(i);
  });
  for (const e of g.edges) {
    expect(e.from).toBeLessThan(e.to);
    expect(e.value).toBeLessThan(g.nodes[e.from]?.values.length ?? 0);
  }
  const outputs = g.nodes.filter((n) => n.kind === "output" || n.kind === "result");
  for (const o of outputs) expect(g.edges.filter((e) => e.to === o.id).length).toBe(1);
}

/** Buffers overlap in time only where a result takes the place of an operand that dies with it. */
function checkPlan(buffers: readonly BufferView[], arena: number, x: Exploration): void {
  expect(buffers.length).toBeGreaterThan(0);
  const last = x.program?.launches.length ?? 0;
  buffers.forEach((a, i) => {
    expect(a.offset + a.bytes).toBeLessThanOrEqual(arena);
    expect(a.first).toBeGreaterThanOrEqual(-1);
    expect(a.last).toBeLessThanOrEqual(last);
    expect(a.first).toBeLessThanOrEqual(a.last);
    for (const b of buffers.slice(i + 1)) {
      const inTime = a.first <= b.last && b.first <= a.last;
      const inSpace = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
      const takesPlace = a.offset === b.offset && (a.last === b.first || b.last === a.first);
      expect(inTime && inSpace && !takesPlace, `${a.name} and ${b.name}`).toBe(false);
    }
  });
}
