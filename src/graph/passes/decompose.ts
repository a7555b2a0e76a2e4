import { GraphBuilder } from "../builder.ts";
import { type GraphFunction, Op, type Region, type Value } from "../ir.ts";
import { Names } from "../../base/text.ts";

/** Replaces composites by their decomposition into core ops; values keep the origin of the composite. */
export function decomposeComposites(f: GraphFunction): GraphFunction {
  if (!hasComposite(f)) return f;
  const names = new Names();
  const ids = { value: 1 };
  const visit = (r: Region): void => {
    for (const v of [...r.params, ...r.ops.flatMap((o) => o.results)]) {
      names.fresh(v.name);
      ids.value = Math.max(ids.value, v.id + 1);
    }
    for (const o of r.ops) o.regions.forEach(visit);
  };
  visit(f);
  const replaced = new Map<Value, Value>();
  const resolve = (v: Value): Value => replaced.get(v) ?? v;
  const region = <R extends Region>(r: R): R => {
    const g = new GraphBuilder(names, ids);
    const ops: Op[] = [];
    for (const op of r.ops) {
      const operands = op.operands.map(resolve);
      if (op.def.decompose === undefined) {
        ops.push(operands.every((o, i) => o === op.operands[i]) && op.regions.length === 0 ? op : new Op(op.def, operands, op.results, op.attrs, op.regions.map(region)));
        continue;
      }
      g.origin = op.results[0]?.origin ?? [];
      const results = op.def.decompose(g, operands, op.attrs as never);
      ops.push(...g.takeOps());
      op.results.forEach((old, i) => {
        replaced.set(old, results[i] as Value);
      });
    }
    return { ...r, ops, results: r.results.map(resolve) };
  };
  const out = region(f);
  // A decomposition may itself use composites.
  return decomposeComposites(out);
}

function hasComposite(r: Region): boolean {
  return r.ops.some((o) => o.def.decompose !== undefined || o.regions.some(hasComposite));
}
