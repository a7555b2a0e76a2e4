import { type PassLists, compileTensor, defaultPasses } from "../compile.ts";
import type { HostTensor } from "../graph/host.ts";
import { bindSymbols, interpretGraph } from "../graph/interpret.ts";
import type { GraphFunction } from "../graph/ir.ts";
import type { Source } from "../importer.ts";
import { planMemory } from "../loop/passes/plan-memory.ts";
import { compileSource } from "../load.ts";
import { firstDivergence } from "./compare.ts";
import { runInterpreted, startWasm, weightsOf } from "./execute.ts";
import { type Finding, Reference, type Values, checkGraphPasses } from "./graph-passes.ts";
import { failingSlice, guiltyLowerPass } from "./lower-passes.ts";

export type { Finding } from "./graph-passes.ts";

export interface CheckOptions {
  readonly passes?: PassLists;
  readonly progress?: (text: string) => void;
}

/**
 * Compiles a model, runs it, and compares its outputs with the reference interpreter's. Null when they agree; else the
 * first diverging value and the pass that made it diverge.
 */
export async function checkModel(source: Source, inputs: readonly HostTensor[], options: CheckOptions = {}): Promise<Finding | null> {
  const { passes = defaultPasses, progress = () => {} } = options;
  progress("compiling");
  const compiled = compileSource(source, [], passes);
  const got = (await startWasm(compiled, compiled.program, inputs, await weightsOf(compiled)))(null).outputs;
  progress("reference interpreter");
  if (source.kind !== "graph") return checkText(source, inputs, got);
  const { graph } = source;
  const values: Values = new Map();
  graph.params.forEach((p, i) => {
    values.set(p, inputs[i] as HostTensor);
  });
  const expected = interpretGraph(graph, inputs, (v, t) => values.set(v, t));
  const whole = compareOutputs(graph.resultNames, expected, got);
  if (whole === null) return null;
  return (await locate(graph, inputs, values, expected, passes, progress)) ?? whole;
}

function compareOutputs(names: readonly string[], expected: readonly HostTensor[], got: readonly HostTensor[]): Finding | null {
  for (const [i, name] of names.entries()) {
    const divergence = firstDivergence(expected[i] as HostTensor, got[i] as HostTensor);
    if (divergence !== null) return { pass: "a pass that could not be found", value: name, origin: [], divergence };
  }
  return null;
}

async function locate(
  graph: GraphFunction,
  inputs: readonly HostTensor[],
  values: Values,
  expected: readonly HostTensor[],
  passes: PassLists,
  progress: (text: string) => void,
): Promise<Finding | null> {
  const reference = new Reference(
    graph,
    bindSymbols(
      graph.params,
      inputs.map((t) => t.dims),
    ),
  );
  progress("graph passes");
  const checked = checkGraphPasses(graph, passes.graph, values, reference);
  if (checked.finding !== null) return checked.finding;
  progress("later passes");
  const slice = await failingSlice(checked.graph, inputs, values, reference, passes);
  const found = slice === null ? null : await guiltyLowerPass(slice, passes);
  // A fault that only shows where values are fused away: the whole graph is the slice.
  return found ?? guiltyLowerPass({ graph: checked.graph, inputs, expected }, passes);
}

/** Tensor IR against its lowering by the empty schedule, loop IR against itself, both by the loop interpreter. */
function checkText(source: Exclude<Source, { kind: "graph" }>, inputs: readonly HostTensor[], got: readonly HostTensor[]): Finding | null {
  if (source.kind === "program") {
    const planned = source.program.allocations.length === 0 ? source.program : planMemory(source.sc, source.program);
    return compareOutputs(source.outputNames, runInterpreted(planned, inputs, new Uint8Array(0), null).outputs, got);
  }
  const plain = compileTensor(source.sc, source.function, { schedule: "empty", passes: { graph: [], tensor: [], kernel: [] } });
  const weights = new Uint8Array(plain.program.weightSlots.reduce((n, s) => Math.max(n, s.offset + s.bytes), 0));
  plain.weights.forEach((w, i) => {
    if (w.data !== null) weights.set(w.data.read(0, w.data.byteLength), plain.program.weightSlots[i]?.offset ?? 0);
  });
  return compareOutputs(source.outputNames, runInterpreted(plain.program, inputs, weights, null).outputs, got);
}
