import type { Expr, Variable } from "../../scalar/expr.ts";
import { mentionedIn } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type For, type Kernel, type Stmt, bodiesOf, mapBlock, mapStmt } from "../ir.ts";

/** Moves what does not change in a loop in front of it: the largest invariant expressions, reads of memory excepted. */
export function hoistInvariants(sc: Scalars, k: Kernel): Kernel {
  const block = (b: readonly Stmt[]): readonly Stmt[] =>
    mapBlock(b, (s) => {
      if (s.kind !== "for") return mapStmt(s, (e) => e, block);
      const { lets, loop } = hoistFrom(sc, s);
      return [...lets, { ...loop, body: block(loop.body) }];
    });
  const body = block(k.body);
  return body === k.body ? k : { ...k, body };
}

function hoistFrom(sc: Scalars, loop: For): { lets: Stmt[]; loop: For } {
  const changing = new Set<Variable>([loop.variable]);
  collectBound(loop.body, changing);
  const bound = new Map<Expr, Expr>();
  const lets: Stmt[] = [];
  const readsMemory = new Map<Expr, boolean>();
  const reads = (e: Expr): boolean => {
    let r = readsMemory.get(e);
    if (r === undefined) {
      r = e.op === "load" || e.op === "loadat" || e.args.some(reads);
      readsMemory.set(e, r);
    }
    return r;
  };
  const invariant = (e: Expr): boolean => {
    for (const v of mentionedIn(e)) if (changing.has(v)) return false;
    return !reads(e);
  };
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr): Expr => {
    const old = memo.get(e);
    if (old !== undefined) return old;
    let out: Expr;
    if (e.args.length === 0 || e.constant !== null) out = e;
    else if (invariant(e) && !(e.op === "broadcast" && e.dtype.kind === "bool")) {
      // A condition that is one for all lanes stays seen as such: its scalar moves, for guards evaluate only the case they choose.
      const v = sc.variable("h", e.dtype, { lanes: e.lanes });
      lets.push({ kind: "let", variable: v, value: e });
      out = sc.var(v);
      bound.set(e, out);
    } else out = sc.with(e, e.args.map(expr));
    memo.set(e, out);
    return out;
  };
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, expr, block));
  const body = block(loop.body);
  return { lets, loop: body === loop.body ? loop : { ...loop, body } };
}

function collectBound(b: readonly Stmt[], into: Set<Variable>): void {
  for (const s of b) {
    if (s.kind === "let" || s.kind === "assign" || s.kind === "for") into.add(s.variable);
    for (const inner of bodiesOf(s)) collectBound(inner, into);
  }
}
