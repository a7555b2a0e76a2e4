import { describe, expect, it } from "vitest";
import { compileGraph } from "../compile.ts";
import { verifyProgram } from "../loop/verify.ts";
import { graphOps } from "../graph/registry.ts";
import { identifyKernel } from "../schedule/kernel-key.ts";
import { kernelViolations } from "../schedule/legal.ts";
import { fromPortable, toPortable } from "../schedule/portable.ts";
import { seededRandom } from "../schedule/random.ts";
import { wasmMachine } from "../targets/wasm/machine.ts";
import { evaluateDim } from "../base/dim.ts";
import type { Kernel, Tensor } from "../tensor/ir.ts";
import { FakeEngine } from "../../test/support/engine.ts";
import { exampleCase } from "../../test/support/executions.ts";
import { type BuildContext, buildCandidate } from "./candidate.ts";
import { NoReference, type Reference, differenceOf, factorOf, makeReference } from "./check.ts";
import { openTask } from "./open.ts";
import { ScheduleSpace } from "./space.ts";
import { type Task, symbolValues } from "./task.ts";
import { collectTasks } from "./tune.ts";

const context: BuildContext = { machine: wasmMachine, relaxed: false, exact: false, threads: 1, database: { entries: [] }, machineId: "here" };
const isConstant = (t: Tensor) => t.data !== null;

/** The distinct kernels of all examples of all ops. */
function exampleTasks(): Map<string, Task> {
  const out = new Map<string, Task>();
  for (const def of graphOps)
    def.examples.forEach((example, i) => {
      const { graph } = exampleCase(def, example, seededRandom(i + 1));
      for (const t of collectTasks((o) => compileGraph(graph, o), context)) out.set(t.key, t);
    });
  return out;
}

const tasks = [...exampleTasks().values()];

describe("schedules of the op examples' kernels", () => {
  it("are as many as there should be", () => expect(tasks.length).toBeGreaterThan(40));

  it("an isolated kernel, copied, is the same kernel", () => {
    for (const t of tasks) {
      const [k] = t.function.kernels as [Kernel];
      const open = openTask(t.function);
      const again = openTask(open.function);
      const [key, copied] = [identifyKernel(open.sc, open.kernel, isConstant).key, identifyKernel(again.sc, again.kernel, isConstant).key];
      expect(copied).toBe(key);
      expect(open.kernel.stages.map((s) => s.axes.map((a) => a.variable.name))).toEqual(k.stages.map((s) => s.axes.map((a) => a.variable.name)));
    }
  });

  it("whatever is drawn or changed is legal, can be built, survives its portable form and gives the default's results", async () => {
    const random = seededRandom(5);
    const engine = new FakeEngine();
    let [ran, differing] = [0, 0];
    for (const t of tasks) {
      const open = openTask(t.function);
      const space = new ScheduleSpace(open.sc, wasmMachine, open.kernel, { isConstant, exact: false });
      let schedule = space.default();
      const reference = await referenceOf(engine, t, schedule);
      for (let i = 0; i < 6; i++) {
        schedule = i === 3 ? space.draw(random) : space.mutate(random, schedule);
        const kernel = space.kernelOf(schedule) as Kernel;
        expect(kernelViolations(kernel, schedule)).toEqual([]);
        const portable = toPortable(open.sc, wasmMachine, open.kernel, schedule);
        expect(fromPortable(open.sc, wasmMachine, open.kernel, portable).schedule).toEqual(schedule);
        if (i % 2 === 0 || reference === null) continue;
        const candidate = buildCandidate(t.function, schedule, context);
        const loaded = await engine.load(await candidate.runnable(reference.inputs));
        if (loaded.kind !== "ran") throw new Error(`${t.what}: ${loaded.why}: ${JSON.stringify(schedule)}`);
        expect(differenceOf(reference, loaded.outputs, factorOf(schedule.algorithm)), `${t.what}: ${JSON.stringify(schedule)}`).toBeNull();
        engine.unload(loaded.id);
        ran++;
        if (JSON.stringify(schedule) !== JSON.stringify(space.default())) differing++;
      }
    }
    expect(ran).toBeGreaterThan(100);
    expect(differing).toBeGreaterThan(ran / 2);
  });
});

async function referenceOf(engine: FakeEngine, t: Task, schedule: ReturnType<ScheduleSpace["default"]>): Promise<Reference | null> {
  const symbols = symbolValues(t.function);
  const env = new Map(t.function.symbols.map((s, i) => [s.name, symbols[i] as number]));
  const sizes = t.function.inputs.map((x) => evaluateDim(x.dims[0] ?? 1, env));
  try {
    return await makeReference(engine, t.function, buildCandidate(t.function, schedule, context), sizes);
  } catch (e) {
    if (e instanceof NoReference) return null;
    throw e;
  }
}

it("a wrong result is found: one element changed, or the last one left out", async () => {
  const engine = new FakeEngine();
  let [found, tried] = [0, 0];
  for (const t of tasks) {
    const open = openTask(t.function);
    const space = new ScheduleSpace(open.sc, wasmMachine, open.kernel, { isConstant, exact: true });
    const schedule = space.default();
    const reference = await referenceOf(engine, t, schedule);
    const want = reference?.outputs[0];
    if (reference === null || want === undefined || want.dtype.name !== "f32" || want.bound.some((b) => b === Number.POSITIVE_INFINITY)) continue;
    const loaded = await engine.load(await buildCandidate(t.function, schedule, context).runnable(reference.inputs));
    if (loaded.kind !== "ran") throw new Error(loaded.why);
    engine.unload(loaded.id);
    const [first] = loaded.outputs as [Uint8Array];
    const floats = new Float32Array(first.buffer.slice(first.byteOffset, first.byteOffset + first.byteLength));
    const largest = Math.max(...floats.map(Math.abs));
    const at = floats.length - 1;
    floats[at] = (floats[at] as number) + Math.max(0.05, 0.05 * largest);
    tried++;
    if (differenceOf(reference, [new Uint8Array(floats.buffer), ...loaded.outputs.slice(1)], 1) !== null) found++;
  }
  expect(tried).toBeGreaterThan(30);
  expect(found).toBe(tried);
});

it("programs of changed schedules have no violations of loop IR", () => {
  const random = seededRandom(9);
  for (const t of tasks.filter((_, i) => i % 6 === 0)) {
    const open = openTask(t.function);
    const space = new ScheduleSpace(open.sc, wasmMachine, open.kernel, { isConstant, exact: false });
    const candidate = buildCandidate(t.function, space.mutate(random, space.default()), context);
    verifyProgram(candidate.program, { after: "building a candidate" });
  }
});
