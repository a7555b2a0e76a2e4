import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FakeEngine, codeNumber } from "../../test/support/engine.ts";
import { f32 } from "../base/dtype.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { hostFrom } from "../graph/host.ts";
import type { GraphFunction } from "../graph/ir.ts";
import { importSource } from "../importer.ts";
import { buildArtifact, compileSource, startArtifact } from "../load.ts";
import { type ScheduleDatabase, layoutOrders, parseDatabase, printDatabase } from "../schedule/database.ts";
import { type LayoutChoice, assignLayouts, layoutChoices } from "../schedule/layout.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import { Tensor, type TensorFunction, layoutOf } from "../tensor/ir.ts";
import { BufferPlan } from "./buffers.ts";
import type { BuildContext } from "./candidate.ts";
import type { Engine } from "./engine.ts";
import { type LayoutOptions, type LayoutsResult, tuneLayouts } from "./layouts.ts";
import { type LayoutTrial, type LogRecord, isLayoutTrial, parseTrials, printTrial } from "./log.ts";
import { tuneModel } from "./model.ts";
import { curveSvg, layoutHead, layoutRows, modelledTimes } from "./report.ts";
import type { TuneResult } from "./tune.ts";

const model = importSource(new Uint8Array(readFileSync(new URL("../../examples/digits/digits.onnx", import.meta.url))), { name: "digits" });
const context: BuildContext = { machine: wasmMachine, relaxed: false, exact: false, threads: 1, database: { entries: [] }, machineId: "here" };

interface Ran {
  readonly result: TuneResult;
  readonly records: LogRecord[];
}

async function run(engine: Engine): Promise<Ran> {
  const records: LogRecord[] = [];
  const result = await tuneModel((o) => compileSource(model, [], undefined, o), {
    trials: 16,
    seed: 1,
    engine,
    records: [],
    record: (t) => records.push(t),
    save: () => {},
    context,
  });
  return { result, records };
}

/** The search for orders alone. */
async function layouts(
  engine: Engine,
  options: Partial<LayoutOptions> = {},
): Promise<{ readonly result: LayoutsResult; readonly records: LogRecord[] }> {
  const records: LogRecord[] = [];
  const c = options.context ?? context;
  const result = await tuneLayouts(compileSource(model, [], undefined, { tuned: c }), {
    engine,
    context: c,
    trials: 3,
    isOver: () => false,
    records: [],
    record: (t) => records.push(t),
    save: () => {},
    ...options,
  });
  return { result, records };
}

const build = (database: ScheduleDatabase) => buildArtifact(model, { database: { database, machine: () => "here" } }).artifact;
const layoutsOnly = (db: ScheduleDatabase): ScheduleDatabase => ({ ...db, entries: [] });

/** One call, which several tests look at: code takes between one and two milliseconds, whatever it does. */
const engine = new FakeEngine();
const first = await run(engine);

describe("tuning the orders of dims of digits", () => {
  it("measures orders and schedules, keeps winners, gives back what it loaded", () => {
    const { result, records } = first;
    const tried = records.filter(isLayoutTrial);
    expect(tried.length).toBe(4);
    expect(tried.filter((r) => r.outcome !== "ok")).toEqual([]);
    expect(result.trials).toBe(16);
    expect(engine.loaded).toBe(0);
    const kept = result.layouts.filter((l) => l.kept);
    expect(kept.length).toBeGreaterThan(0);
    expect(result.database.layouts?.length).toBe(kept.length);
    for (const l of kept) {
      expect(l.verdict?.ratio).toBeLessThan(1);
      expect(layoutOrders(result.database, "here").get(l.key)).toEqual(l.order);
    }
    expect(printDatabase(parseDatabase(printDatabase(result.database)))).toBe(printDatabase(result.database));
  });

  it("shows both searches in one curve and one table", () => {
    const { result } = first;
    expect(result.curve[0]).toEqual({ trials: 0, time: 1 });
    expect(result.curve.at(-1)?.trials).toBe(16);
    expect(result.curve.every((p, i) => i === 0 || p.time <= (result.curve[i - 1]?.time ?? 1) + 1e-12)).toBe(true);
    expect(result.savedMs).toBeGreaterThan(0);
    const { defaultMs, tunedMs } = modelledTimes(result);
    expect(defaultMs - tunedMs).toBeGreaterThanOrEqual(result.savedMs);
    for (const row of layoutRows(result)) expect(row.length).toBe(layoutHead.length);
    expect(layoutRows(result).flat()).toContain("yes");
    expect(curveSvg(result.curve, "digits")).toMatch(/<polyline/);
  });

  it("a database with orders changes the code, the same way every time, and not the results", async () => {
    const tuned = layoutsOnly(first.result.database);
    const [plain, once, again] = [build({ entries: [] }), build(tuned), build(parseDatabase(printDatabase(tuned)))];
    expect(once.modules).toEqual(again.modules);
    expect(once.modules).not.toEqual(plain.modules);
    const other = { ...tuned, layouts: (tuned.layouts ?? []).map((e) => ({ ...e, machine: "elsewhere" })) };
    expect(build(other).modules).toEqual(plain.modules);
    const image = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i));
    const [a, b] = [await startArtifact(plain), await startArtifact(once)];
    const [name] = a.inputs.map((p) => p.name) as [string];
    const [x, y] = [Object.values(await a.run({ [name]: image })), Object.values(await b.run({ [name]: image }))];
    x.forEach((t, i) => {
      Array.from(t.data as Float32Array).forEach((v, k) => {
        expect(Math.abs(v - Number(y[i]?.data[k]))).toBeLessThan(1e-4);
      });
    });
  });

  it("keeps nothing where orders make no difference, or less than the spread", async () => {
    expect((await layouts(new FakeEngine(() => 1))).result.database.layouts).toBeUndefined();
    const noisy = new FakeEngine((r, round) => (0.95 + 0.1 * codeNumber(r)) * (1 + 0.5 * ((round + Math.floor(codeNumber(r) * 3)) % 3)));
    for (const l of (await layouts(noisy)).result.layouts) if (l.verdict !== null) expect(l.kept).toBe(1 - l.verdict.ratio > l.verdict.spread);
  });

  it("goes on where an earlier call stopped, and tries no order twice", async () => {
    const records = parseTrials(first.records.map(printTrial).join(""), "log");
    expect(records).toEqual(first.records);
    const second = await layouts(new FakeEngine(), { records, context: { ...context, database: first.result.database } });
    const key = (r: LogRecord) => (isLayoutTrial(r) ? `${r.group} ${r.order.join()}` : "");
    const known = new Set(records.filter(isLayoutTrial).map(key));
    expect(second.records.length).toBeGreaterThan(0);
    expect(second.records.filter((r) => known.has(key(r)))).toEqual([]);
    for (const e of first.result.database.layouts ?? []) {
      const now = second.result.database.layouts?.find((x) => x.group === e.group);
      expect((now?.ms ?? 9) / (now?.default_ms ?? 1)).toBeLessThanOrEqual(e.ms / e.default_ms + 1e-3);
    }
    // What won by less than the spread is looked at again, as long as nothing was found for its group.
    const [e] = records.filter(isLayoutTrial) as [LayoutTrial];
    const near: LayoutTrial = { ...e, outcome: "ok", ratio: 0.99 };
    const retried = await layouts(new FakeEngine(() => 1), { records: [near], trials: 1 });
    expect(retried.records.map(key)).toEqual([key(near)]);
    // Everything tried: nothing is left.
    const { sc, scheduled } = compileSource(model);
    const choices = layoutChoices(sc, wasmMachine, scheduled?.plain as TensorFunction, false, new Map());
    const all = choices.flatMap((x) => x.others.map(({ order }) => ({ group: x.key, machine: "here", order, outcome: "ok" as const, ratio: 2 })));
    const rest = await layouts(new FakeEngine(), { trials: 1000, records: all });
    expect([all.length > 8, rest.records.length, rest.result.trials]).toEqual([true, 0, 0]);
  });

  it("refuses an order that gives wrong results or traps", async () => {
    const inner = new FakeEngine();
    let loads = 0;
    const bent: Engine = {
      load: async (r) => {
        const found = await inner.load(r);
        // The reference takes five runs; the sixth is the candidate, and what was refused is compared with nothing.
        const at = loads++ % 6;
        if (at !== 5 || found.kind !== "ran") return found;
        if (loads % 12 === 0) {
          inner.unload(found.id);
          return { kind: "trap", why: "unreachable" };
        }
        return { ...found, outputs: found.outputs.map((o) => o.map((b) => b ^ 0x55)) };
      },
      time: (ids, n) => inner.time(ids, n),
      unload: (id) => inner.unload(id),
      close: () => inner.close(),
    };
    const { result, records } = await layouts(bent, { trials: 4 });
    expect(records.map((r) => r.outcome)).toEqual(["wrong", "trap", "wrong", "trap"]);
    expect(result.outcomes).toEqual(["wrong", "trap", "wrong", "trap"]);
    expect(result.database.layouts).toBeUndefined();
    expect(inner.loaded).toBe(0);
  });

  it("ends when it is told to, and looks at nothing but what was asked for", async () => {
    let asks = 0;
    const ended = await layouts(new FakeEngine(), { trials: 1000, isOver: () => ++asks > 2 });
    expect(ended.result.trials).toBe(2);
    const some = await layouts(new FakeEngine(), { trials: 1, wanted: (origin) => origin.some((o) => o.includes("features.7")) });
    expect(some.result.layouts.length).toBeGreaterThan(0);
    expect(some.result.layouts.length).toBeLessThan(first.result.layouts.length);
  });
});

/** Two convolutions with an activation between them. */
function convolutions(names: readonly [string, string], channels = 16): GraphFunction {
  const g = new GraphBuilder();
  const weights = (dims: readonly number[], name: string) =>
    g.host(
      hostFrom(f32, dims, (k) => Math.cos(k)),
      name,
    );
  const pads: (readonly [number, number])[] = [
    [1, 1],
    [1, 1],
  ];
  const dims = { xDims: [0, 1, 2, 3], wDims: [0, 1, 2, 3], resultDims: [0, 1, 2, 3] };
  const window = { strides: [1, 1], pads, dilation: [1, 1], inputDilation: [1, 1], groups: 1, ...dims };
  const x = g.param("x", { dtype: f32, dims: [1, 8, 12, 12] });
  const a = g.one("convolution", [x, weights([channels, 8, 3, 3], "w1")], window, names[0]);
  const y = g.one("tanh", [a], {}, `${names[0]}.tanh`);
  const b = g.one("convolution", [y, weights([8, channels, 3, 3], "w2")], window, names[1]);
  return g.finish("convolutions", [], [b]);
}

function choicesOf(f: GraphFunction): {
  readonly choices: LayoutChoice[];
  readonly assign: (key: string, order: readonly number[]) => TensorFunction;
} {
  const { sc, scheduled } = compileGraph(f);
  const plain = scheduled?.plain as TensorFunction;
  return {
    choices: layoutChoices(sc, wasmMachine, plain, false, new Map()),
    assign: (key, order) => assignLayouts(sc, wasmMachine, plain, false, new Map([[key, order]])),
  };
}

describe("groups of tensors", () => {
  it("have keys that do not depend on names, but on shapes", () => {
    const [a, b, c] = [choicesOf(convolutions(["a", "b"])), choicesOf(convolutions(["one", "two"])), choicesOf(convolutions(["a", "b"], 24))];
    expect(a.choices.length).toBeGreaterThan(0);
    expect(a.choices.map((x) => x.key)).toEqual(b.choices.map((x) => x.key));
    expect(a.choices.map((x) => x.key)).not.toEqual(c.choices.map((x) => x.key));
  });

  it("get the order that is given, where it fits", () => {
    const { choices, assign } = choicesOf(convolutions(["a", "b"]));
    const [group] = choices as [LayoutChoice];
    const t = group.groups[0]?.tensors[0] ?? new Tensor(0, "none", f32, []);
    expect(group.others.length).toBe(5);
    for (const { order } of group.others) expect(layoutOf(assign(group.key, order), t).order).toEqual(order);
    expect(layoutOf(assign(group.key, [2, 1, 0]), t).order).toEqual(group.order);
    expect(layoutOf(assign("0123456789abcdef", [0, 3, 2, 1]), t).order).toEqual(group.order);
  });
});

it("a buffer's plan puts elements where the layout has them, zeros around them", () => {
  const t = new Tensor(1, "t", f32, [2, 3]);
  const pad = [
    [0, 0],
    [1, 0],
  ] as const;
  const f: TensorFunction = {
    name: "f",
    symbols: [],
    inputs: [],
    outputs: [],
    tensors: [t],
    kernels: [],
    layouts: new Map([[t, { order: [1, 0], pad, view: null }]]),
  };
  const plan = new BufferPlan(f, t, new Map());
  const stored = plan.store(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer));
  expect([...new Float32Array(stored.buffer)]).toEqual([0, 0, 1, 4, 2, 5, 3, 6]);
  expect([...new Float32Array(plan.load(stored).buffer)]).toEqual([1, 2, 3, 4, 5, 6]);
  expect([plan.elements, plan.stored, plan.bytes]).toEqual([6, 8, 32]);
});
