import { afterAll, expect, it } from "vitest";
import { f32 } from "../base/dtype.ts";
import { compileGraph } from "../compile.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { Bytes, encodeModule } from "../targets/wasm/encoder.ts";
import { controlBlock } from "../runtime/threads.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import { buildCandidate } from "../tune/candidate.ts";
import { randomBytes } from "../tune/data.ts";
import type { Runnable } from "../tune/engine.ts";
import { openTask } from "../tune/open.ts";
import { ScheduleSpace } from "../tune/space.ts";
import type { Task } from "../tune/task.ts";
import { collectTasks } from "../tune/tune.ts";
import { WorkerEngine } from "./measure.ts";

/** `main` with that code; an i32 at address 1024 is its result. */
function runnable(code: Bytes, symbols: readonly number[] = []): Runnable {
  const type = { params: symbols.map(() => "i32" as const), results: [] };
  const module = encodeModule([{ name: "main", type, locals: [], code, exported: true }], [], { initial: 1, maximum: null, shared: false });
  return { module, pages: 1, fills: [{ at: 1024, bytes: new Uint8Array([5, 0, 0, 0]) }], outputs: [{ at: 1024, bytes: 4 }], symbols, threads: null };
}
/** memory[1024] = memory[1024] + the argument */
const adding = (n: number) =>
  runnable(new Bytes().byte(0x41).s32(1024).byte(0x41).s32(1024).byte(0x28, 0x02, 0x00, 0x20, 0x00, 0x6a, 0x36, 0x02, 0x00), [n]);
const trapping = runnable(new Bytes().byte(0x00));
const hanging = runnable(new Bytes().byte(0x03, 0x40, 0x0c, 0x00, 0x0b));

/** The kernel of a matrix product that is worth several threads, on random data. */
async function product(threads: number): Promise<Runnable> {
  const g = new GraphBuilder();
  const [x, y] = [g.param("x", { dtype: f32, dims: [96, 128] }), g.param("y", { dtype: f32, dims: [128, 96] })];
  const graph = g.finish("product", [], [g.one("dot", [x, y], { batchA: [], batchB: [], contractA: [1], contractB: [0] }, "dot")]);
  const context = { machine: wasmMachine, relaxed: false, exact: false, threads, database: { entries: [] }, machineId: "here" };
  const task = collectTasks((o) => compileGraph(graph, o), context).find((t) => !t.isPart) as Task;
  const open = openTask(task.function);
  const schedule = new ScheduleSpace(open.sc, wasmMachine, open.kernel, { isConstant: () => false, exact: false }).default();
  const inputs = task.function.inputs.map((t, i) => randomBytes(t.dtype, Number(t.dims[0]), i + 1, "signed"));
  return buildCandidate(task.function, schedule, context).runnable(inputs);
}

const engine = new WorkerEngine({ loadMs: 1500 });
afterAll(() => engine.close());

it("runs a module on what its memory was filled with, and times it in turns with another", async () => {
  const [a, b] = [await engine.load(adding(3)), await engine.load(adding(4))];
  if (a.kind !== "ran" || b.kind !== "ran") throw new Error("did not run");
  expect([...(a.outputs[0] ?? [])]).toEqual([8, 0, 0, 0]);
  expect([...(b.outputs[0] ?? [])]).toEqual([9, 0, 0, 0]);
  const times = await engine.time([a.id, b.id], 4);
  expect(times?.map((t) => t.length)).toEqual([4, 4]);
  expect(times?.flat().every((t) => t > 0 && t < 100)).toBe(true);
});

it("tells of a trap, and of what is no module", async () => {
  expect(await engine.load(trapping)).toMatchObject({ kind: "trap", why: "unreachable" });
  expect(await engine.load({ ...trapping, module: new Uint8Array(8) })).toMatchObject({ kind: "trap" });
});

it("ends what does not come to an end, and goes on with what was loaded before", async () => {
  const a = await engine.load(adding(3));
  if (a.kind !== "ran") throw new Error("did not run");
  expect(await engine.load(hanging)).toMatchObject({ kind: "hang", why: /no result after 1.5 s/ });
  expect((await engine.time([a.id], 2))?.[0]?.length).toBe(2);
});

it("runs modules for threads on one team of helpers, with the bits of one thread, whatever came before", async () => {
  const runnables = [await product(1), await product(2), await product(3)];
  expect(runnables.map((r) => r.threads?.count ?? null)).toEqual([null, 2, 3]);
  const loaded = [];
  for (const r of [...runnables, adding(1)]) loaded.push(await engine.load(r));
  const outputs = loaded.map((l) => (l.kind === "ran" ? l.outputs : l.why));
  expect(outputs[1]).toEqual(outputs[0]);
  expect(outputs[2]).toEqual(outputs[0]);
  const ids = loaded.map((l) => (l.kind === "ran" ? l.id : -1));
  const times = await engine.time(ids, 3);
  expect(times?.flat().every((t) => t > 0 && t < 1000)).toBe(true);
  // One that is ended takes its helpers with it; what was loaded comes back with new ones.
  expect(await engine.load(hanging)).toMatchObject({ kind: "hang" });
  expect((await engine.time(ids, 1))?.length).toBe(ids.length);
  for (const id of ids) engine.unload(id);
  const [threaded] = runnables.slice(1) as [Runnable];
  const again = await engine.load(threaded);
  expect(again.kind === "ran" ? again.outputs : again.why).toEqual(outputs[0]);
});

it("tells of traps in modules for threads, the leader's and a helper's, and goes on", async () => {
  const trap = new Bytes().byte(0x00);
  const shared = (main: Bytes, work: Bytes): Runnable => {
    const functions = Object.entries({ main, work }).map(([name, code]) => {
      const params = name === "main" ? [] : (["i32"] as const);
      return { name, type: { params, results: [] }, locals: [], code, exported: true };
    });
    const module = encodeModule(functions, [], { initial: 1, maximum: 65536, shared: true });
    return { module, pages: 1, fills: [], outputs: [], symbols: [], threads: { count: 2, scratch: 32768, scratchBytes: 64 } };
  };
  expect(await engine.load(shared(trap, new Bytes()))).toMatchObject({ kind: "trap", why: "unreachable" });
  // loop (if nobody failed: again)
  const waits = new Bytes().byte(0x03, 0x40, 0x41).s32(controlBlock.failed).byte(0xfe, 0x10, 0x02, 0x00, 0x45, 0x0d, 0x00, 0x0b);
  expect(await engine.load(shared(waits, trap))).toMatchObject({ kind: "trap", why: "a kernel failed in a thread" });
  expect(await engine.load(await product(2))).toMatchObject({ kind: "ran" });
});
