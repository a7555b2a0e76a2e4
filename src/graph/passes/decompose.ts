import { GraphBuilder } from "../builder.ts";
import { type GraphFunction, Op, type Region, type Value } from "../ir.ts";

/** Replaces composites by their decomposition into core ops; values keep the origin of the composite. */
export function decomposeComposites(f: GraphFunction, rules: Map<string, number> = new Map()): GraphFunction {
  if (!hasComposite(f)) return f;
  const names = GraphBuilder.for(f);
  const replaced = new Map<Value, Value>();
  const resolve = (v: Value): Value => replaced.get(v) ?? v;
  const region = <R extends Region>(r: R): R => {
    const g = names.nested();
    const ops: Op[] = [];
    for (const op of r.ops) {
      const operands = op.operands.map(resolve);
      if (op.def.decompose === undefined) {
        ops.push(
          operands.every((o, i) => o === op.operands[i]) && op.regions.length === 0
            ? op
            : new Op(op.def, operands, op.results, op.attrs, op.regions.map(region)),
        );
        continue;
      }
      rules.set(op.def.name, (rules.get(op.def.name) ?? 0) + 1);
      g.origin = op.results[0]?.origin ?? [];
      const results = op.def.decompose(g, operands, op.attrs as never);
      ops.push(...g.takeOps());
      op.results.forEach((old, i) => {
        replaced.set(old, results[i] as Value);
      });
    }
    return { ...r, ops, results: r.results.map(resolve) };
  };
  // A decomposition may itself use composites.
  return decomposeComposites(region(f), rules);
}

function hasComposite(r: Region): boolean {
  return r.ops.some((o) => o.def.decompose !== undefined || o.regions.some(hasComposite));
}
