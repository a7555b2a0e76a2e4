import { type Compiled, type PipelineOptions, compileGraph } from "../../src/compile.ts";
import { Reader } from "../../src/base/text.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import type { HostTensor } from "../../src/graph/host.ts";
import type { GraphFunction } from "../../src/graph/ir.ts";
import type { AnyAttrs, OpDef } from "../../src/graph/op.ts";
import { type Random, randomChooser, seededRandom } from "../../src/schedule/random.ts";
import { errorFactor } from "../../src/schedule/primitives/winograd.ts";
import { parseSchedule } from "../../src/schedule/schedule.ts";
import { wasmMachine } from "../../src/targets/wasm/machine.ts";
import { type Bounded, boundGraph, firstDifference } from "./bounds.ts";
import { variants } from "./relaxed.ts";
import { randomTensor, runInInterpreter, runInWasm } from "./run.ts";

/** A graph with one set of inputs. */
export interface Case {
  readonly graph: GraphFunction;
  readonly inputs: readonly HostTensor[];
}

/** The graph of one op on its example's operands, with random inputs in the ranges it asks for. */
export function exampleCase(def: OpDef, example: OpDef["examples"][0], random: Random): Case {
  const g = new GraphBuilder();
  const operands = example.operands.map((o, i) => {
    const r = new Reader(o.type);
    const type = { dtype: r.dtype(), dims: r.list("[", "]", () => r.dim()) };
    return { value: g.param(`p${i}`, type), input: randomTensor(type, random, o.range) };
  });
  const results = g.op(
    def.name,
    operands.map((o) => o.value),
    example.attrs as AnyAttrs,
  );
  return { graph: g.finish(def.name, [], results), inputs: operands.map((o) => o.input) };
}

/** Counts what random schedules were made of. */
export type Drawn = Map<string, number>;

/** Takes what was executed, to execute it once more by other means. */
export interface Batch {
  add(compile: (o: PipelineOptions) => Compiled, inputs: readonly HostTensor[], want: readonly Bounded[], factor: number): void;
}

export interface ExecutionOptions {
  /** How many random schedules. */
  readonly schedules: number;
  readonly seed: number;
  readonly drawn?: Drawn;
  /** Widens the bounds. */
  readonly factor?: number;
  /** Gets it too, to be run as C when all of a file's are together. */
  readonly batch: Batch;
}

/**
 * Runs what `compile` makes under the empty schedule, `schedules` random ones and the default one, each in the loop
 * interpreter and as WASM (plain and, where the engine has it, relaxed), and gives every disagreement with `want`. The batch
 * runs it as C later.
 */
export async function disagreements(
  compile: (o: PipelineOptions) => Compiled,
  inputs: readonly HostTensor[],
  want: readonly Bounded[],
  options: ExecutionOptions,
): Promise<string[]> {
  options.batch.add(compile, inputs, want, options.factor ?? 1);
  const random = seededRandom(options.seed);
  const out: string[] = [];
  const check = (what: string, c: Compiled, got: readonly HostTensor[]) => {
    want.forEach((w, k) => {
      const difference = firstDifference(got[k] as HostTensor, w, (options.factor ?? 1) * algorithmFactor(c));
      if (difference !== null) out.push(`${what}, output ${k}: ${difference}; schedules: ${[...c.schedules.values()].join(" ")}`);
    });
  };
  const named = [
    { name: "empty schedule", schedule: "empty" as const },
    ...Array.from({ length: options.schedules }, (_, i) => ({
      name: `random schedule ${i}`,
      schedule: randomChooser(wasmMachine, random, options.drawn),
    })),
    { name: "default schedule", schedule: "default" as const },
  ];
  for (const { name, schedule } of named) {
    const c = compile({ schedule, verify: true });
    check(`${name}, loop interpreter`, c, await runInInterpreter(c, inputs));
    for (const relaxed of variants) check(`${name}, ${relaxed ? "relaxed " : ""}wasm`, c, await runInWasm(c, inputs, relaxed));
  }
  return out;
}

/** How much wider the error bounds are for the algorithms that a compilation's schedules chose. */
export function algorithmFactor(c: Compiled): number {
  const chosen = [...c.schedules.values()].map((s) => parseSchedule(s).algorithm);
  return Math.max(1, ...chosen.map((a) => (a === "direct" ? 1 : errorFactor(a, 2))));
}

/** All executions of a graph against the graph interpreter. */
export function graphDisagreements(c: Case, options: ExecutionOptions): Promise<string[]> {
  return disagreements((o) => compileGraph(c.graph, o), c.inputs, boundGraph(c.graph, c.inputs), options);
}
