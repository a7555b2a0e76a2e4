import { describe, expect, it } from "vitest";
import { UserError } from "../base/errors.ts";
import { f32 } from "../base/dtype.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { hostFrom } from "../graph/host.ts";
import type { GraphFunction } from "../graph/ir.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import { emitModule } from "../targets/wasm/module.ts";
import type { Kernel, Tensor } from "../tensor/ir.ts";
import { type Chooser, defaultChooser } from "./choose.ts";
import {
  type DatabaseEntry,
  type LayoutEntry,
  type ScheduleDatabase,
  databaseChooser,
  layoutOrders,
  machineIdFor,
  parseDatabase,
  printDatabase,
  withEntry,
  withLayout,
} from "./database.ts";
import { identifyKernel } from "./kernel-key.ts";
import { fromPortable, toPortable } from "./portable.ts";
import { randomChooser, seededRandom } from "./random.ts";

const isConstant = (t: Tensor) => t.data !== null;
const machineId = "a machine";

/** Two layers alike but for names, and a third of another shape. */
function layers(names: readonly string[], sizes: readonly number[] = [37, 37, 20]): GraphFunction {
  const g = new GraphBuilder();
  let x = g.param("x", { dtype: f32, dims: [13, 37] });
  names.forEach((n, i) => {
    const dims = [sizes[i - 1] ?? 37, sizes[i] as number];
    const w = g.host(
      hostFrom(f32, dims, (k) => Math.sin(k + i)),
      `${n}.w`,
    );
    x = g.one("tanh", [g.one("dot", [x, w], { batchA: [], batchB: [], contractA: [1], contractB: [0] }, n)], {}, `${n}.tanh`);
  });
  return g.finish("layers", [], [x]);
}

function seen(f: GraphFunction, choose: Chooser = defaultChooser(wasmMachine, isConstant)): { sc: Scalars; k: Kernel; key: string }[] {
  const out: { sc: Scalars; k: Kernel; key: string }[] = [];
  compileGraph(f, {
    schedule: (sc, k) => {
      out.push({ sc, k, key: identifyKernel(sc, k, isConstant).key });
      return choose(sc, k);
    },
  });
  return out;
}

function bytesUnder(f: GraphFunction, database: ScheduleDatabase, note?: (text: string) => void): Uint8Array {
  const { sc, program } = compileGraph(f, { tuned: { database, machineId, ...(note === undefined ? {} : { note }) } });
  return emitModule(sc, [{ program, prefix: "" }], { relaxed: false, shared: false, weightBytes: 1 << 16 });
}

/** A random schedule for each kernel of a function that is no copy made ahead. */
function randomEntries(f: GraphFunction, seed: number): DatabaseEntry[] {
  const out = new Map<string, DatabaseEntry>();
  const choose = randomChooser(wasmMachine, seededRandom(seed));
  compileGraph(f, {
    schedule: (sc, k) => {
      const { key, description } = identifyKernel(sc, k, isConstant);
      const chosen = choose(sc, k);
      const schedule = toPortable(sc, wasmMachine, k, chosen.schedule);
      out.set(key, { kernel: key, machine: machineId, what: description, schedule, ms: 1, default_ms: 2, trials: 3 });
      return chosen;
    },
  });
  return [...out.values()];
}

describe("identity of a kernel", () => {
  it("does not depend on names, but on shapes", () => {
    const [a, b] = [seen(layers(["first", "second", "third"])), seen(layers(["one", "two", "three"]))];
    expect(a.map((x) => x.key)).toEqual(b.map((x) => x.key));
    const other = seen(layers(["first", "second", "third"], [37, 37, 21]));
    expect(other.at(-1)?.key).not.toBe(a.at(-1)?.key);
    expect(new Set(a.map((x) => x.key)).size).toBeLessThan(a.length);
  });
  it("tells constants from other operands", () => {
    const [{ sc, k } = { sc: null, k: null }] = seen(layers(["first"]));
    expect(identifyKernel(sc as Scalars, k as Kernel, () => false).key).not.toBe(identifyKernel(sc as Scalars, k as Kernel, isConstant).key);
  });
});

it.each([1, 2, 3, 4, 5, 6])("a portable schedule fits again, in the same words (seed %i)", (seed) => {
  const choose = randomChooser(wasmMachine, seededRandom(seed));
  let count = 0;
  compileGraph(layers(["first", "second", "third"]), {
    schedule: (sc, k) => {
      const chosen = choose(sc, k);
      const fitted = fromPortable(sc, wasmMachine, k, toPortable(sc, wasmMachine, k, chosen.schedule));
      expect(fitted.schedule).toEqual(chosen.schedule);
      count++;
      return chosen;
    },
  });
  expect(count).toBeGreaterThan(2);
});

describe("the database", () => {
  it("reads back what it prints, sorted, whatever the order of entries", () => {
    const db = { entries: randomEntries(layers(["a", "b", "c"]), 3) };
    const text = printDatabase(db);
    expect(printDatabase(parseDatabase(text))).toBe(text);
    expect(printDatabase({ entries: db.entries.toReversed() })).toBe(text);
    expect(parseDatabase(printDatabase({ entries: [] }))).toEqual({ entries: [] });
  });
  it("replaces an entry of the same kernel and machine only", () => {
    const [e] = randomEntries(layers(["a"]), 1) as [DatabaseEntry];
    const two = withEntry({ entries: [e] }, { ...e, machine: "another" });
    expect(two.entries.length).toBe(2);
    expect(withEntry(two, { ...e, ms: 0.5 }).entries.find((x) => x.machine === machineId)?.ms).toBe(0.5);
  });
  it("reads back orders of dims, and replaces one of the same group and machine only", () => {
    const plain = { entries: randomEntries(layers(["a"]), 1) };
    const e: LayoutEntry = {
      group: "0123456789abcdef",
      machine: machineId,
      what: "a: 1x8x9x9",
      order: [0, 2, 3, 1],
      ms: 1,
      default_ms: 2,
      trials: 3,
    };
    const two = withLayout(withLayout(plain, { ...e, machine: "another" }), e);
    expect(parseDatabase(printDatabase(two)).layouts?.map((x) => x.machine)).toEqual([machineId, "another"]);
    expect(printDatabase(parseDatabase(printDatabase(two)))).toBe(printDatabase(two));
    expect(printDatabase({ ...two, layouts: two.layouts?.toReversed() ?? [] })).toBe(printDatabase(two));
    expect(withLayout(two, { ...e, ms: 0.5 }).layouts?.map((x) => x.ms)).toEqual([1, 0.5]);
    expect(withEntry(two, two.entries[0] as DatabaseEntry).layouts).toEqual(two.layouts);
    expect([...layoutOrders(two, machineId)]).toEqual([[e.group, e.order]]);
    // What has none is written as before there were any, so that older versions read it.
    expect(JSON.parse(printDatabase(plain))).toMatchObject({ version: 1 });
    expect(JSON.parse(printDatabase(two))).toMatchObject({ version: 2 });
  });
  it("is asked for the threads that code runs on; what one thread found holds where nothing else was measured", () => {
    const [e] = randomEntries(layers(["a"]), 1) as [DatabaseEntry];
    const machine = (relaxed: boolean, threads: number) => `${relaxed} ${threads}`;
    const idFor = (machines: readonly string[], threads: number) =>
      machineIdFor({ database: { entries: machines.map((m) => ({ ...e, machine: m })) }, machine }, true, threads);
    expect(idFor(["true 1", "true 2"], 2)).toBe("true 2");
    expect(idFor(["true 1", "true 2"], 1)).toBe("true 1");
    expect(idFor(["true 1"], 2)).toBe("true 1");
    expect(idFor(["true 2"], 1)).toBe("true 1");
    const layout = { group: "0123456789abcdef", machine: "true 3", what: "", order: [0, 1, 2], ms: 1, default_ms: 2, trials: 3 };
    expect(machineIdFor({ database: { entries: [e], layouts: [layout] }, machine }, true, 3)).toBe("true 3");
  });
  it("is what the compiler goes by, and only on its machine", () => {
    const f = layers(["a", "b", "c"]);
    const db = { entries: randomEntries(f, 2) };
    const plain = bytesUnder(f, { entries: [] });
    expect(bytesUnder(layers(["p", "q", "r"]), parseDatabase(printDatabase(db)))).toEqual(bytesUnder(layers(["p", "q", "r"]), db));
    expect(bytesUnder(f, db)).not.toEqual(plain);
    expect(bytesUnder(f, { entries: db.entries.map((e) => ({ ...e, machine: "another" })) })).toEqual(plain);
  });
  it("leaves out entries that do not fit, and says so", () => {
    const f = layers(["a"]);
    const bent = randomEntries(f, 2).map((e) => ({
      ...e,
      schedule: { ...e.schedule, packs: [], stages: { "0": { loops: [{ axis: "p9", size: 1, kind: "serial" as const }], tails: {} } } },
    }));
    const notes: string[] = [];
    expect(bytesUnder(f, { entries: bent }, (t) => notes.push(t))).toEqual(bytesUnder(f, { entries: [] }));
    expect(notes.join()).toMatch(/does not fit/);
  });
  it("keeps algorithms that change the arithmetic out of an exact compilation", () => {
    const e = randomEntries(layers(["a"]), 1).map((x) => ({ ...x, schedule: { ...x.schedule, algorithm: "winograd-2" as const } }));
    const notes: string[] = [];
    const options = { machine: wasmMachine, machineId, isConstant, exact: true, note: (t: string) => notes.push(t) };
    compileGraph(layers(["a"]), { schedule: databaseChooser(defaultChooser(wasmMachine, isConstant), { entries: e }, options) });
    expect(notes).toEqual([]);
  });
});

describe("malformed databases are refused in words", () => {
  const good = printDatabase({ entries: randomEntries(layers(["a"]), 1) });
  const value = JSON.parse(good) as { entries: Record<string, unknown>[] };
  const withField = (name: string, v: unknown) => JSON.stringify({ ...value, entries: [{ ...value.entries[0], [name]: v }] });
  const layout = { group: "0123456789abcdef", machine: machineId, what: "a", order: [0, 2, 1], ms: 1, default_ms: 2, trials: 3 };
  const withLayouts = (...layouts: readonly unknown[]) => JSON.stringify({ ...value, version: 2, layouts });
  const schedule = value.entries[0]?.["schedule"] as Record<string, unknown>;
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["nothing", "", /no JSON/],
    ["half a file", good.slice(0, good.length / 2), /no JSON/],
    ["null", "null", /expected an object/],
    ["a list", "[]", /expected an object/],
    ["another format", '{"format": "x"}', /no database of schedules/],
    ["another version", '{"format": "tilewright-schedules", "version": 9, "entries": []}', /version is 9/],
    ["no entries", '{"format": "tilewright-schedules", "version": 1}', /'entries': expected a list, got missing/],
    ["an entry that is null", JSON.stringify({ ...value, entries: [null] }), /entry 1: expected an object/],
    ["an unknown field", withField("speed", 1), /entry 1 .*unknown field 'speed'/],
    ["a kernel that is no hash", withField("kernel", "../x"), /expected 16 hex digits/],
    ["a time below zero", withField("ms", -1), /'ms': expected a time, got -1/],
    ["a time that is a text", withField("ms", "1"), /expected a time, got "1"/],
    ["no schedule", withField("schedule", null), /'schedule': expected an object/],
    ["an unknown algorithm", withField("schedule", { ...schedule, algorithm: "fast" }), /expected one of direct, .*, got "fast"/],
    ["stages that are null", withField("schedule", { ...schedule, stages: null }), /'stages': expected an object/],
    ["a stage that is null", withField("schedule", { ...schedule, stages: { "0": null } }), /expected an object, got null/],
    ["a loop that is null", withField("schedule", { ...schedule, stages: { "0": { loops: [null], tails: {} } } }), /loops'\[0\]: expected an object/],
    [
      "a loop of size 0",
      withField("schedule", { ...schedule, stages: { "0": { loops: [{ axis: "p0", size: 0, kind: "serial" }], tails: {} } } }),
      /'size': expected a size of at least 1, got 0/,
    ],
    [
      "an unknown tail",
      withField("schedule", { ...schedule, stages: { "0": { loops: [], tails: { p0: "cut" } } } }),
      /expected one of overlap, peel, mask/,
    ],
    ["packs that are no list", withField("schedule", { ...schedule, packs: {} }), /'packs': expected a list/],
    [
      "a prototype's name as an axis",
      withField("schedule", { ...schedule, stages: { __proto__x: { loops: [], tails: {} } } }),
      /expected a position/,
    ],
    ["orders in the first version", JSON.stringify({ ...value, layouts: [] }), /unknown field 'layouts'/],
    ["no orders in the second version", JSON.stringify({ ...value, version: 2 }), /'layouts': expected a list, got missing/],
    ["an order that is null", withLayouts({ ...layout, order: null }), /layout 1 .*'order': expected a list|'order': expected/],
    ["an order with a dim twice", withLayouts({ ...layout, order: [0, 1, 1] }), /'order': expected the numbers of all dims/],
    ["an order with a dim too many", withLayouts({ ...layout, order: [0, 1, 3] }), /expected the number of a dim, got 3/],
    ["an order of a thousand dims", withLayouts({ ...layout, order: Array.from({ length: 1000 }, (_, i) => i) }), /the numbers of all dims/],
    ["a group that is no hash", withLayouts({ ...layout, group: "x" }), /'group': expected 16 hex digits/],
    ["two orders for one group", withLayouts(layout, layout), /layout 2 .*a second one for group/],
    ["two entries for one kernel", JSON.stringify({ ...value, entries: [value.entries[0], value.entries[0]] }), /a second one for kernel/],
  ];
  it.each(cases)("%s", (_, text, message) => {
    const read = () => parseDatabase(text, "db.json");
    expect(read).toThrow(UserError);
    expect(read).toThrow(message);
    expect(read).toThrow(/^db\.json: /);
  });
});
