import type { Expr } from "./expr.ts";
import { type OpName, scalarOps } from "./ops/table.ts";

/**
 * What is wrong with one operation, its operands not looked into; null when nothing is. Types follow the op table, lanes
 * are equal, indices are i32.
 */
export function operationFault(e: Expr): string | null {
  const [a, b] = e.args;
  switch (e.op) {
    case "const":
    case "var":
      return null;
    case "load": {
      const wrong = e.args.find((i) => i.dtype.name !== "i32");
      return wrong === undefined ? null : `an index is ${wrong.dtype}, not i32`;
    }
    case "loadat":
      return a?.dtype.name === "i32" && a.lanes === 1 ? null : "an address must be a scalar i32";
    case "ramp":
      return a?.lanes === 1 && b?.lanes === 1 && a.dtype === e.dtype && b.dtype === e.dtype ? null : "a ramp is made of two scalars of its dtype";
    case "broadcast":
      return a?.lanes === 1 && a.dtype === e.dtype ? null : "a broadcast is made of a scalar of its dtype";
    case "extract":
      return a !== undefined && Number(e.attr) < a.lanes && a.dtype === e.dtype ? null : `there is no lane ${e.attr}`;
    case "insert":
      return a?.lanes === e.lanes && b?.lanes === 1 && b.dtype === e.dtype && Number(e.attr) < e.lanes ? null : `cannot insert into lane ${e.attr}`;
    default:
      return opFault(e, e.op);
  }
}

function opFault(e: Expr, op: OpName): string | null {
  const entry = scalarOps[op];
  if (e.args.length !== entry.arity) return `'${op}' takes ${entry.arity} operands, got ${e.args.length}`;
  if (e.args.some((a) => a.lanes !== e.lanes)) return `'${op}' of ${e.lanes} lanes has operands of ${e.args.map((a) => a.lanes).join(", ")}`;
  const type = entry.type(
    e.args.map((a) => a.dtype),
    e.dtype,
  );
  if ("error" in type) return `'${op}': ${type.error}`;
  return type === e.dtype ? null : `'${op}' is ${e.dtype}, but gives ${type}`;
}
