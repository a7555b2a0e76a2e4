import { type Compiled, type PassLists, compileGraph } from "../compile.ts";
import type { HostTensor } from "../graph/host.ts";
import type { GraphFunction, Op, Value } from "../graph/ir.ts";
import { firstDivergence } from "./compare.ts";
import { type Execution, chunked, interpretedWeights, runInterpreted, startWasm, weightsOf } from "./execute.ts";
import type { Finding, Reference, Values } from "./graph-passes.ts";

/** A graph with the results that it should have; its passes have run. */
interface Case {
  readonly graph: GraphFunction;
  readonly inputs: readonly HostTensor[];
  readonly expected: readonly HostTensor[];
}

const afterGraph = (p: PassLists): PassLists => ({ ...p, graph: [] });

/**
 * Compiles the graph so that every value is an output, and finds the first op whose result does not follow from what the
 * artifact itself computed for its operands: alone, it is a small case of the same fault. Null when none is: the fault then
 * only shows where values are fused away.
 */
export async function failingSlice(
  graph: GraphFunction,
  inputs: readonly HostTensor[],
  values: Values,
  reference: Reference,
  passes: PassLists,
): Promise<Case | null> {
  const constants = new Set(graph.ops.filter((o) => o.def.name === "constant").flatMap((o) => o.results));
  const kept = graph.ops.flatMap((o) => o.results).filter((v) => !constants.has(v));
  const all: GraphFunction = { ...graph, results: kept, resultNames: kept.map((v) => v.name) };
  const got = await execute(compileGraph(all, { passes: afterGraph(passes) }), inputs);
  const own: Values = new Map([...values].filter(([v]) => constants.has(v)));
  graph.params.forEach((p, i) => {
    own.set(p, inputs[i] as HostTensor);
  });
  kept.forEach((v, i) => {
    own.set(v, got.outputs[i] as HostTensor);
  });
  for (const op of graph.ops) {
    if (constants.has(op.results[0] as Value)) continue;
    const suspicious = op.results.some((r) => firstDivergence(values.get(r) as HostTensor, own.get(r) as HostTensor) !== null);
    if (!suspicious) continue;
    const expected = reference.evaluate(op, own);
    if (op.results.every((r, i) => firstDivergence(expected[i] as HostTensor, own.get(r) as HostTensor) === null)) continue;
    return sliceOf(graph, op, own, expected);
  }
  return null;
}

/** One op alone: its operands are inputs, its constants stay constants. */
function sliceOf(graph: GraphFunction, op: Op, values: Values, expected: readonly HostTensor[]): Case | null {
  if (op.regions.length > 0) return null;
  const made = new Map(graph.ops.flatMap((o) => o.results.map((r) => [r, o] as const)));
  const operands = [...new Set(op.operands)];
  const constants = operands.filter((v) => made.get(v)?.def.name === "constant");
  const params = operands.filter((v) => !constants.includes(v));
  return {
    graph: {
      name: "slice",
      symbols: graph.symbols,
      params,
      ops: [...constants.map((v) => made.get(v) as Op), op],
      results: op.results,
      resultNames: op.results.map((r) => r.name),
    },
    inputs: params.map((v) => values.get(v) as HostTensor),
    expected,
  };
}

async function execute(c: Compiled, inputs: readonly HostTensor[]): Promise<Execution> {
  return (await startWasm(c, c.program, inputs, await weightsOf(c)))(null);
}

/** What is wrong with the results of an execution, if anything. */
function compare(k: Case, pass: string, e: Execution, partial: boolean): Finding | null {
  for (const [i, r] of k.graph.results.entries()) {
    const divergence = firstDivergence(k.expected[i] as HostTensor, e.outputs[i] as HostTensor, partial ? e.written[i] : undefined);
    if (divergence !== null) return { pass, value: k.graph.resultNames[i] ?? r.name, origin: r.origin, divergence };
  }
  return null;
}

/** Finds the step after the graph passes that makes the case go wrong. Null when the case is right. */
export async function guiltyLowerPass(k: Case, passes: PassLists): Promise<Finding | null> {
  const whole = compare(k, "", await execute(compileGraph(k.graph, { passes: afterGraph(passes) }), k.inputs), false);
  if (whole === null) return null;
  const tensor = await guiltyTensorPass(k, passes);
  if (tensor !== null) return tensor;
  return (await guiltyKernelPass(k, passes)) ?? { ...whole, pass: "emit-wasm, or the memory plan" };
}

/** With growing prefixes of the list, run as WebAssembly: the first that goes wrong; null when it goes wrong without any. */
async function guiltyTensorPass(k: Case, passes: PassLists): Promise<Finding | null> {
  for (let n = 0; n <= passes.tensor.length; n++) {
    const c = compileGraph(k.graph, { passes: { ...passes, graph: [], tensor: passes.tensor.slice(0, n) } });
    const found = compare(k, passes.tensor[n - 1]?.name ?? "", await execute(c, k.inputs), false);
    if (found !== null) return n === 0 ? null : found;
  }
  return null;
}

/** With growing prefixes of the list, run by the loop interpreter on the part of the work that goes wrong. */
async function guiltyKernelPass(k: Case, passes: PassLists): Promise<Finding | null> {
  const at = (n: number): Compiled => compileGraph(k.graph, { passes: { graph: [], tensor: [], kernel: passes.kernel.slice(0, n) } });
  const full = at(passes.kernel.length);
  const weights = await weightsOf(full);
  const part = chunked(full);
  let chunk: number | null = null;
  if (part !== null) {
    const run = await startWasm(full, part.program, k.inputs, weights);
    for (let i = 0; i < part.chunks && chunk === null; i++) if (compare(k, "", run(i), true) !== null) chunk = i;
  }
  const after = (n: number): Finding | null => {
    const c = at(n);
    const program = chunk === null ? c.program : (chunked(c)?.program ?? c.program);
    return compare(k, passes.kernel[n - 1]?.name ?? "", runInterpreted(program, k.inputs, interpretedWeights(c), chunk), chunk !== null);
  };
  const unpassed = after(0);
  if (unpassed !== null) return { ...unpassed, pass: lowersRight(k) ? "choose-schedules or build-loops" : "lower-graph" };
  // Right after `right` passes, wrong after those of `found`: halve what lies between.
  let [right, wrong] = [0, passes.kernel.length];
  let found = after(wrong);
  if (found === null) return null;
  while (wrong - right > 1) {
    const middle = (right + wrong) >> 1;
    const there = after(middle);
    if (there === null) right = middle;
    else [wrong, found] = [middle, there];
  }
  return found;
}

/** Is the case right by the empty schedule, before any pass? */
function lowersRight(k: Case): boolean {
  const plain = compileGraph(k.graph, { schedule: "empty", passes: { graph: [], tensor: [], kernel: [] } });
  const small = chunked(plain);
  const weights = interpretedWeights(plain);
  return compare(k, "", runInterpreted(small?.program ?? plain.program, k.inputs, weights, small === null ? null : 0), small !== null) === null;
}
