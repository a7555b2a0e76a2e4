import type { Expr } from "../../scalar/expr.ts";
import { findScalarOp } from "../../scalar/ops/table.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stmt, mapBlock, mapStmt } from "../ir.ts";

/** Ops that machines have on vectors alone become others where they stand on scalars. */
export function expandWords(sc: Scalars, k: Kernel): Kernel {
  const memo = new Map<Expr, Expr>();
  const expand = (x: Expr, args: readonly Expr[]): Expr | null => (x.lanes === 1 ? (findScalarOp(x.op)?.expand?.(sc, args) ?? null) : null);
  const expr = (e: Expr): Expr => sc.rebuild([e], expand, memo)[0] as Expr;
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}
