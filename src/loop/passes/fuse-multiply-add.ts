import { type Expr, postorder } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Kernel, type Stmt, exprsOf, mapBlock, mapStmt } from "../ir.ts";

/** Contracts `c + a·b` on float vectors to fma(a, b, c), and `c - a·b` to fma(-a, b, c), where the product has no other use. */
export function fuseMultiplyAdd(sc: Scalars, k: Kernel): Kernel {
  const block = (b: readonly Stmt[]): readonly Stmt[] => {
    const uses = new Map<Expr, number>();
    for (const s of b) for (const e of postorder(exprsOf(s))) for (const a of e.args) uses.set(a, (uses.get(a) ?? 0) + 1);
    const single = (e: Expr) => e.op === "mul" && (uses.get(e) ?? 0) <= 1;
    const expr = (root: Expr): Expr =>
      sc.rebuild([root], (e, args) => {
        if (!e.dtype.isFloat || e.lanes === 1 || (e.op !== "add" && e.op !== "sub")) return null;
        const [x, y] = e.args as [Expr, Expr];
        const [p, q] = args as [Expr, Expr];
        if (single(y) && q.op === "mul")
          return sc.op("fma", [e.op === "add" ? (q.args[0] as Expr) : sc.op("neg", [q.args[0] as Expr]), q.args[1] as Expr, p]);
        if (e.op === "add" && single(x) && p.op === "mul") return sc.op("fma", [p.args[0] as Expr, p.args[1] as Expr, q]);
        return null;
      })[0] as Expr;
    return mapBlock(b, (s) => mapStmt(s, expr, block));
  };
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}
