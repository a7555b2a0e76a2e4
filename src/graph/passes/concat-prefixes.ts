import { type GraphFunction, Op, type Region, type Value } from "../ir.ts";
import type { GraphPass } from "./pass.ts";

/** A list of operands that some concatenation starts with; `whole` is the one that ends here. */
interface Prefix {
  whole: Value | null;
  readonly longer: Map<Value, Prefix>;
}
const prefix = (): Prefix => ({ whole: null, longer: new Map() });

function run(f: GraphFunction, rules: Map<string, number>): GraphFunction {
  const region = <R extends Region>(r: R): R => {
    /** Roots by axis; the concatenations of a region share among themselves only, so that no work moves. */
    const roots = new Map<number, Prefix>();
    let changed = false;
    const ops = r.ops.map((op) => {
      if (op.regions.length > 0) {
        const regions = op.regions.map(region);
        if (regions.every((x, i) => x === op.regions[i])) return op;
        changed = true;
        return new Op(op.def, op.operands, op.results, op.attrs, regions);
      }
      if (op.def.name !== "concat") return op;
      const axis = op.attrs.axis as number;
      let at = roots.get(axis) ?? prefix();
      roots.set(axis, at);
      let best: { value: Value; length: number } | null = null;
      op.operands.forEach((o, i) => {
        let next = at.longer.get(o);
        if (next === undefined) {
          next = prefix();
          at.longer.set(o, next);
        }
        at = next;
        if (at.whole !== null && i > 0) best = { value: at.whole, length: i + 1 };
      });
      at.whole ??= op.results[0] as Value;
      const found = best as { value: Value; length: number } | null;
      if (found === null || found.length === op.operands.length) return op;
      const operands = [found.value, ...op.operands.slice(found.length)];
      rules.set("shared-prefix", (rules.get("shared-prefix") ?? 0) + 1);
      changed = true;
      return new Op(op.def, operands, op.results, op.attrs, []);
    });
    return changed ? { ...r, ops } : r;
  };
  return region(f);
}

/** Concat prefix sharing. */
export const concatPrefixes: GraphPass = {
  name: "concat-prefixes",
  doc: "A concatenation that starts with all operands of an earlier one is built on it: growing concatenations become nested, so that each can lie inside of the next.",
  run,
};
