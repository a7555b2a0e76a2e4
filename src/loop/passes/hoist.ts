import type { Expr, Variable } from "../../scalar/expr.ts";
import { mentionedIn, rangeOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type For, type Kernel, type Stmt, bodiesOf, mapBlock, mapStmt } from "../ir.ts";

/**
 * Moves what does not change in a loop in front of it: the largest invariant expressions. Reads of memory move only out of innermost
 * loops that store nothing and make at least one step, and from places that every step comes to.
 */
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
  const calm = loop.body.every((s) => s.kind === "let" || s.kind === "assign") && rangeOf(sc.sub(loop.end, loop.begin))[0] >= 1;
  const invariant = (e: Expr, isCertain: boolean): boolean => {
    for (const v of mentionedIn(e)) if (changing.has(v)) return false;
    return (calm && isCertain) || !reads(e);
  };
  const memo = new Map<Expr, Expr>();
  const expr = (e: Expr, isCertain = true): Expr => {
    const old = memo.get(e);
    if (old !== undefined) return old;
    let out: Expr;
    if (e.args.length === 0 || e.constant !== null) out = e;
    else if (invariant(e, isCertain) && !(e.op === "broadcast" && e.dtype.kind === "bool")) {
      // A condition that is one for all lanes stays seen as such: its scalar moves, for guards evaluate only the case they choose.
      const v = sc.variable("h", e.dtype, { lanes: e.lanes });
      lets.push({ kind: "let", variable: v, value: e });
      out = sc.var(v);
      bound.set(e, out);
    } else out = sc.with(e, argumentsOf(e, isCertain));
    memo.set(e, out);
    return out;
  };
  // Of a choice only one case is evaluated, and of conditions that are joined perhaps only the first.
  const argumentsOf = (e: Expr, isCertain: boolean): Expr[] => {
    const isLazy = e.op === "select" || (e.dtype.kind === "bool" && (e.op === "and" || e.op === "or"));
    return e.args.map((a, i) => expr(a, isCertain && (!isLazy || i === 0)));
  };
  const block = (b: readonly Stmt[]): readonly Stmt[] => mapBlock(b, (s) => mapStmt(s, (e) => expr(e), block));
  const body = block(loop.body);
  return { lets, loop: body === loop.body ? loop : { ...loop, body } };
}

function collectBound(b: readonly Stmt[], into: Set<Variable>): void {
  for (const s of b) {
    if (s.kind === "let" || s.kind === "assign" || s.kind === "for") into.add(s.variable);
    for (const inner of bodiesOf(s)) collectBound(inner, into);
  }
}
