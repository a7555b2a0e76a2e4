import { compileGraph } from "../../src/compile.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import type { GraphFunction } from "../../src/graph/ir.ts";
import { nativeLevel } from "../../src/node/native/processor.ts";
import { type COutput, type CProgram, cMachine, cOutputs } from "./c.ts";
import { type Outcome, outcomeOf } from "./conformance.ts";

/** A graph to be run as C at the processor's own level. */
export interface CJob {
  readonly what: string;
  readonly graph: GraphFunction;
  readonly inputs: readonly HostTensor[];
  /** Called with the results of each of two runs. @throws Error when they are wrong */
  check(got: readonly HostTensor[]): void;
}

/** Compiles all jobs, runs them in one program, and gives what became of each. */
export async function runAsC(jobs: readonly CJob[]): Promise<Map<CJob, Outcome>> {
  const machines = [cMachine(nativeLevel() ?? "portable")];
  const found = new Map<CJob, Outcome>();
  const ready: [CJob, CProgram][] = [];
  for (const job of jobs) {
    const o = await outcomeOf(async () => {
      ready.push([job, { what: job.what, compiled: compileGraph(job.graph, { machines }), inputs: job.inputs }]);
      return false;
    });
    if (o !== null) found.set(job, o);
  }
  await runBatch(ready, found);
  return found;
}

/** A program that does not compile, or crashes, takes the others of its batch with it: then halves of the batch are tried. */
async function runBatch(batch: readonly (readonly [CJob, CProgram])[], found: Map<CJob, Outcome>): Promise<void> {
  const [first] = batch;
  if (first === undefined) return;
  let outputs: COutput[];
  try {
    outputs = await cOutputs(
      batch.map(([, p]) => p),
      "gcc",
      ["-O0", "-DTW_FREESTANDING"],
    );
  } catch (e) {
    if (batch.length === 1) {
      found.set(first[0], { kind: "fail", message: String(e) });
      return;
    }
    const half = Math.ceil(batch.length / 2);
    await runBatch(batch.slice(0, half), found);
    await runBatch(batch.slice(half), found);
    return;
  }
  for (const [index, [job]] of batch.entries()) {
    const o = await outcomeOf(async () => {
      for (const run of [1, 2]) job.check(outputs.filter((x) => x.index === index && x.run === run).map((x) => x.got));
      return true;
    });
    if (o !== null) found.set(job, o);
  }
}
