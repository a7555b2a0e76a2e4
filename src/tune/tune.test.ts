import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FakeEngine, codeNumber } from "../../test/support/engine.ts";
import { importSource } from "../importer.ts";
import { compileSource } from "../load.ts";
import { parseDatabase, printDatabase } from "../schedule/database.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import type { BuildContext } from "./candidate.ts";
import type { Engine, Runnable } from "./engine.ts";
import { type TrialRecord, isScheduleTrial, parseTrials, printTrial } from "./log.ts";
import { curveSvg, curveText, modelledTimes, reportRows } from "./report.ts";
import { type TuneOptions, type TuneResult, collectTasks, tune } from "./tune.ts";

const model = importSource(new Uint8Array(readFileSync(new URL("../../examples/digits/digits.onnx", import.meta.url))), { name: "digits" });
const context: BuildContext = { machine: wasmMachine, relaxed: false, exact: false, threads: 1, database: { entries: [] }, machineId: "here" };

interface Ran {
  readonly result: TuneResult;
  readonly records: TrialRecord[];
  readonly saved: string[];
}

async function run(engine: Engine, options: Partial<TuneOptions> = {}): Promise<Ran> {
  const records: TrialRecord[] = [];
  const saved: string[] = [];
  const c = options.context ?? context;
  const tasks = collectTasks((o) => compileSource(model, [], undefined, o), c);
  const result = await tune(tasks, {
    trials: 20,
    seed: 1,
    engine,
    records: [],
    record: (t) => {
      if (isScheduleTrial(t)) records.push(t);
    },
    save: (db) => saved.push(printDatabase(db)),
    ...options,
    context: c,
  });
  return { result, records, saved };
}

/** One call with 20 trials, which several tests look at. */
const engine = new FakeEngine();
const first = await run(engine);

describe("tuning digits with 20 trials", () => {
  it("finds no wrong schedules, keeps winners only, gives back what it loaded", () => {
    const { result, records, saved } = first;
    expect(result.trials).toBe(20);
    expect(records.filter((r) => r.outcome !== "ok" && r.outcome !== "slow")).toEqual([]);
    const kept = result.tasks.filter((t) => t.kept);
    expect(kept.length).toBeGreaterThan(0);
    for (const t of kept) expect(t.verdict?.ratio).toBeLessThan(1);
    expect(result.database.entries.length).toBe(kept.length);
    expect(saved.at(-1)).toBe(printDatabase(result.database));
    expect(printDatabase(parseDatabase(printDatabase(result.database)))).toBe(printDatabase(result.database));
    expect(engine.loaded).toBe(0);
    const { defaultMs, tunedMs } = modelledTimes(result);
    expect(tunedMs).toBeLessThan(defaultMs);
    expect(result.curve.every((p, i) => i === 0 || p.time <= (result.curve[i - 1]?.time ?? 1) + 1e-12)).toBe(true);
  });

  it("keeps nothing where every schedule takes the same time, or wins by less than the spread", async () => {
    expect((await run(new FakeEngine(() => 1), { trials: 8 })).result.database.entries).toEqual([]);
    // A twentieth quicker or slower by code, but one round in three is half as long again.
    const noisy = (r: Runnable, round: number) => (0.95 + 0.1 * codeNumber(r)) * (round % 3 === 0 ? 1 + (codeNumber(r) > 0.5 ? 0.5 : 0) : 1);
    const { result } = await run(new FakeEngine(noisy), { trials: 12 });
    for (const t of result.tasks) if (t.verdict !== null) expect(t.kept).toBe(1 - t.verdict.ratio > t.verdict.spread);
  });

  it("goes on where an earlier call stopped, and tries nothing twice", async () => {
    const text = first.records.map(printTrial).join("");
    const records = parseTrials(text, "log");
    expect(records).toEqual(first.records);
    const second = await run(new FakeEngine(), { trials: 8, records, context: { ...context, database: first.result.database }, seed: 2 });
    const key = (r: TrialRecord) => `${r.kernel} ${JSON.stringify(r.schedule)}`;
    const known = new Set(first.records.map(key));
    expect(second.records.filter((r) => known.has(key(r)))).toEqual([]);
    expect(second.result.trials).toBe(8);
    for (const e of first.result.database.entries) {
      const now = second.result.database.entries.find((x) => x.kernel === e.kernel);
      expect((now?.ms ?? 9) / (now?.default_ms ?? 1)).toBeLessThanOrEqual(e.ms / e.default_ms + 1e-3);
    }
  });

  it("a schedule that gives wrong results, traps or hangs is refused and never proposed again", async () => {
    const inner = new FakeEngine();
    const standards = new Set<number>();
    let searching = false;
    // Of the modules that are not the defaults', every third gives garbage, every third traps.
    const engine: Engine = {
      load: async (r) => {
        const found = await inner.load(r);
        const number = codeNumber(r);
        if (!searching) standards.add(number);
        const fate = standards.has(number) ? 2 : Math.floor(number * 3);
        if (found.kind !== "ran" || fate === 2) return found;
        if (fate === 0) return { ...found, outputs: found.outputs.map((o) => o.map((b) => b ^ 0x55)) };
        inner.unload(found.id);
        return { kind: "trap", why: "unreachable" };
      },
      time: (ids, rounds) => inner.time(ids, rounds),
      unload: (id) => inner.unload(id),
      close: () => inner.close(),
    };
    const { result, records } = await run(engine, {
      progress: (text) => {
        searching ||= !text.startsWith("default");
      },
    });
    expect(result.outcomes.wrong).toBeGreaterThan(0);
    expect(result.outcomes.trap).toBeGreaterThan(0);
    expect(inner.loaded).toBe(0);
    const texts = records.map((r) => `${r.kernel} ${JSON.stringify(r.schedule)}`);
    expect(new Set(texts).size).toBe(texts.length);
  });

  it("ends when it is told to, with a whole result", async () => {
    const stop = new AbortController();
    const { result } = await run(new FakeEngine(), {
      trials: 10_000,
      signal: stop.signal,
      record: () => stop.abort(),
    });
    expect(result.trials).toBeLessThan(20);
    expect(result.tasks.length).toBeGreaterThan(3);
    let now = 0;
    const timed = await run(new FakeEngine(), { trials: 10_000, seconds: 3, clock: () => (now += 100) });
    expect(timed.result.trials).toBeLessThan(1000);
  });
});

it("reports in a table, a picture of characters and an SVG", () => {
  const { result } = first;
  const rows = reportRows(result);
  expect(rows.length).toBe(result.tasks.length);
  expect(rows.flat().join(" ")).toMatch(/yes/);
  expect(curveText(result.curve)).toMatch(/100\.0% │•/);
  expect(curveText([])).toBe("");
  expect(curveSvg(result.curve, "a < b")).toMatch(/<svg .*a &#60; b.*<polyline/s);
});

it("a log's last line may be cut off, any other must be whole", () => {
  const { records } = first;
  const text = records.map(printTrial).join("");
  expect(parseTrials(text.slice(0, -5), "log").length).toBe(records.length - 1);
  expect(parseTrials("", "log")).toEqual([]);
  expect(() => parseTrials(`${text.slice(0, 50)}\n${text}`, "db.log")).toThrow(/^db\.log, line 1: is no JSON/);
  expect(() => parseTrials("[1]\n", "db.log")).toThrow(/line 1: expected \[kernel/);
  expect(() => parseTrials('["a", "b", "ok", null, {}, null]\n', "db.log")).toThrow(/expected a time relative/);
  expect(() => parseTrials('["a", "b", "ok", 1, null, null]\n', "db.log")).toThrow(/schedule: expected an object/);
});
