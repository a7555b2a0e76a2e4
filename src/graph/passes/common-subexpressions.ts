import type { ConstantData } from "../../base/constant.ts";
import { bytesToHex } from "../../base/hex.ts";
import { findScalarOp } from "../../scalar/ops/table.ts";
import { type GraphFunction, Op, type Region, type Value } from "../ir.ts";
import type { AnyAttrs, AttrKinds } from "../op.ts";
import type { GraphPass } from "./pass.ts";
import { foldLimit } from "./rules.ts";

/** Equal texts mean equal attributes; null for contents that nobody compares. */
function attrKey(v: AttrKinds[keyof AttrKinds]): string | null {
  if (typeof v === "number") return Object.is(v, -0) ? "-0" : String(v);
  if (typeof v !== "object" || Array.isArray(v) || !("byteLength" in v)) return String(v);
  const data: ConstantData = v;
  if (data.byteLength <= foldLimit) return `${data.byteLength}:${bytesToHex(data.read(0, data.byteLength))}`;
  return data.key === null ? null : `@${data.byteLength}:${data.key}`;
}

function attrsKey(op: Op): string | null {
  const attrs: AnyAttrs = op.attrs;
  const parts: string[] = [];
  for (const k of Object.keys(op.def.attrs)) {
    const part = attrKey(attrs[k] as AttrKinds[keyof AttrKinds]);
    if (part === null) return null;
    parts.push(part);
  }
  return parts.join(";");
}

/** Ops that compute the same have the same key. Ops with regions have none. */
function keyOf(op: Op, operands: readonly Value[]): string | null {
  if (op.regions.length > 0) return null;
  const attrs = attrsKey(op);
  if (attrs === null) return null;
  const ids = operands.map((o) => o.id);
  if (findScalarOp(op.def.name)?.commutative === true) ids.sort((a, b) => a - b);
  return `${op.def.name}(${ids.join(",")}){${attrs}}`;
}

function run(f: GraphFunction, rules: Map<string, number>): GraphFunction {
  const replaced = new Map<Value, Value>();
  const resolve = (v: Value): Value => replaced.get(v) ?? v;
  /** A region sees what is computed outside of it, nothing sees into it. `seen` are the tables from the outermost in. */
  const region = <R extends Region>(r: R, seen: readonly ReadonlyMap<string, Op>[]): R => {
    const own = new Map<string, Op>();
    const tables = [...seen, own];
    const ops: Op[] = [];
    let changed = false;
    for (const op of r.ops) {
      const operands = op.operands.map(resolve);
      const key = keyOf(op, operands);
      const earlier = key === null ? undefined : tables.find((t) => t.has(key))?.get(key);
      if (earlier !== undefined) {
        op.results.forEach((v, i) => {
          replaced.set(v, earlier.results[i] as Value);
        });
        rules.set(op.def.name, (rules.get(op.def.name) ?? 0) + 1);
        changed = true;
        continue;
      }
      const regions = op.regions.map((inner) => region(inner, tables));
      const same = operands.every((o, i) => o === op.operands[i]) && regions.every((x, i) => x === op.regions[i]);
      const kept = same ? op : new Op(op.def, operands, op.results, op.attrs, regions);
      changed ||= !same;
      if (key !== null) own.set(key, kept);
      ops.push(kept);
    }
    const results = r.results.map(resolve);
    return changed || results.some((v, i) => v !== r.results[i]) ? { ...r, ops, results } : r;
  };
  return region(f, []);
}

/** Common subexpression elimination. */
export const commonSubexpressions: GraphPass = {
  name: "common-subexpressions",
  doc: "Ops of the same kind, attributes and operands are computed once; constants are compared by their contents, large ones by where their bytes lie.",
  run,
};
