import { symbolDim } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import { type HostTensor, hostTensor } from "../graph/host.ts";
import { interpretGraph } from "../graph/interpret.ts";
import { type GraphFunction, type Op, Value, capturesOf } from "../graph/ir.ts";
import type { GraphPass } from "../graph/passes/pipeline.ts";
import { type Divergence, firstDivergence } from "./compare.ts";

/** What every value of a graph holds on the given inputs. */
export type Values = Map<Value, HostTensor>;

/** A value that went wrong, and the step it went wrong in. */
export interface Finding {
  readonly pass: string;
  readonly value: string;
  readonly origin: readonly string[];
  readonly divergence: Divergence;
}

/** Evaluates single ops by the reference interpreter, under the sizes that the whole graph's inputs give to its symbols. */
export class Reference {
  private readonly symbols: readonly { readonly value: Value; readonly tensor: HostTensor }[];
  constructor(f: GraphFunction, env: ReadonlyMap<string, number>) {
    // A parameter of that size tells the interpreter each symbol's value.
    this.symbols = f.symbols.map((s, i) => ({
      value: new Value(-1 - i, `size.${s.name}`, { dtype: i32, dims: [symbolDim(s)] }, []),
      tensor: hostTensor(i32, [env.get(s.name) ?? s.min]),
    }));
  }
  evaluate(op: Op, values: Values): readonly HostTensor[] {
    const needed = [...new Set([...op.operands, ...op.regions.flatMap(capturesOf)])];
    const f: GraphFunction = {
      name: "slice",
      symbols: [],
      params: [...this.symbols.map((s) => s.value), ...needed],
      ops: [op],
      results: op.results,
      resultNames: op.results.map((r) => r.name),
    };
    return interpretGraph(f, [...this.symbols.map((s) => s.tensor), ...needed.map((v) => values.get(v) as HostTensor)]);
  }
}

/**
 * Runs the passes one by one. After each, only the ops that it made are evaluated, from values already known to be right;
 * a value that the source graph has too (the same object) and that now differs convicts the pass. Values that a right pass
 * made are added to `values`.
 */
export function checkGraphPasses(
  source: GraphFunction,
  passes: readonly GraphPass[],
  values: Values,
  reference: Reference,
): { graph: GraphFunction; finding: Finding | null } {
  const expected = source.results.map((r) => values.get(r) as HostTensor);
  let graph = source;
  for (const p of passes) {
    const before = new Set(graph.ops);
    const next = p.run(graph, new Map());
    const made: Values = new Map();
    for (const op of next.ops) {
      if (before.has(op)) continue;
      const known = new OverlaidValues(made, values);
      const results = reference.evaluate(op, known as unknown as Values);
      for (const [i, r] of op.results.entries()) {
        const [right, now] = [values.get(r), results[i] as HostTensor];
        const divergence = right === undefined ? null : firstDivergence(right, now);
        if (divergence !== null) return { graph: next, finding: { pass: p.name, value: r.name, origin: r.origin, divergence } };
        if (right === undefined) made.set(r, now);
      }
    }
    for (const [i, r] of next.results.entries()) {
      const now = made.get(r) ?? values.get(r);
      const divergence = now === undefined ? null : firstDivergence(expected[i] as HostTensor, now);
      if (divergence !== null) return { graph: next, finding: { pass: p.name, value: next.resultNames[i] ?? r.name, origin: r.origin, divergence } };
    }
    for (const [v, t] of made) values.set(v, t);
    graph = next;
  }
  return { graph, finding: null };
}

/** Two maps as one, the first before the second. */
class OverlaidValues {
  private readonly over: Values;
  private readonly under: Values;
  constructor(over: Values, under: Values) {
    this.over = over;
    this.under = under;
  }
  get(v: Value): HostTensor | undefined {
    return this.over.get(v) ?? this.under.get(v);
  }
}
