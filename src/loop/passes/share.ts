import { type Expr, type Variable, isGuard } from "../../scalar/expr.ts";
import { mentionedIn } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Buffer, type Kernel, type Stmt, exprsOf, mapStmt } from "../ir.ts";

/**
 * Common subexpression elimination within straight-line code: an expression used more than once is bound to a name before
 * its first use. Afterwards every expression is a tree, which is what targets emit.
 */
export function shareSubexpressions(sc: Scalars, k: Kernel): Kernel {
  const block = (b: readonly Stmt[]): readonly Stmt[] => {
    const out: Stmt[] = [];
    let segment: Stmt[] = [];
    for (const s of b) {
      if (s.kind === "for" || s.kind === "if") {
        // The bounds of a loop belong to the code before it, its body to itself.
        out.push(...new Segment(sc, k, segment).run());
        segment = [];
        out.push(mapStmt(s, (e) => e, block));
      } else segment.push(s);
    }
    out.push(...new Segment(sc, k, segment).run());
    return out;
  };
  return { ...k, body: block(k.body) };
}

/** Uses of an expression between which nothing that it depends on changes, by the positions of their statements. */
interface Uses {
  count: number;
  readonly first: number;
  last: number;
}

class Segment {
  private readonly sc: Scalars;
  private readonly kernel: Kernel;
  private readonly stmts: readonly Stmt[];
  private readonly uses = new Map<Expr, Uses[]>();
  private readonly assigned = new Map<Variable, number[]>();
  private readonly stores: number[] = [];
  private readonly loads = new Map<Expr, boolean>();
  private readonly writtenReads = new Map<Expr, boolean>();

  constructor(sc: Scalars, kernel: Kernel, stmts: readonly Stmt[]) {
    this.sc = sc;
    this.kernel = kernel;
    this.stmts = stmts;
  }

  run(): Stmt[] {
    this.stmts.forEach((s, i) => {
      for (const e of exprsOf(s)) this.count(e, i);
      if (s.kind === "assign" || s.kind === "let") this.assigned.set(s.variable, [...(this.assigned.get(s.variable) ?? []), i]);
      if (s.kind === "store" || s.kind === "storeat") this.stores.push(i);
    });
    const names = new Map<Uses, Expr>();
    const out: Stmt[] = [];
    this.stmts.forEach((s, i) => {
      const memo = new Map<Expr, Expr>();
      out.push(
        mapStmt(
          s,
          (e) => this.rewrite(e, i, names, memo, out),
          (b) => b,
        ),
      );
    });
    return out;
  }

  /** Counts the places where an expression is used; what a shared one consists of is counted once. */
  private count(root: Expr, at: number): void {
    const stack: Expr[] = [root];
    while (stack.length > 0) {
      const e = stack.pop() as Expr;
      if (e.args.length === 0 || e.constant !== null) continue;
      const all = this.uses.get(e) ?? [];
      const u = all[all.length - 1];
      if (u !== undefined && !this.changes(e, u.first, at)) {
        u.count++;
        u.last = at;
        // If it will not be shared after all, its parts are used here again; count them as such.
        if (!this.sharable(e)) stack.push(...this.parts(e));
        continue;
      }
      this.uses.set(e, [...all, { count: 1, first: at, last: at }]);
      stack.push(...this.parts(e));
    }
  }
  /** Operands that are evaluated whenever the expression is. */
  private parts(e: Expr): readonly Expr[] {
    return e.op === "select" && this.readsMemory(e) && isGuard(e) ? [e.args[0] as Expr] : e.args;
  }
  private readsMemory(e: Expr): boolean {
    let r = this.loads.get(e);
    if (r === undefined) {
      r = e.op === "load" || e.op === "loadat" || e.args.some((a) => this.readsMemory(a));
      this.loads.set(e, r);
    }
    return r;
  }
  /**
   * A splat is part of the load or the arithmetic around it, except for one of a computed scalar. A condition that is one
   * for all lanes must stay seen as such: the cases of a guard are evaluated only where they are chosen.
   */
  private sharable(e: Expr): boolean {
    return e.op !== "ramp" && !(e.op === "broadcast" && e.dtype.kind === "bool");
  }

  /** Can the value differ between two statements? Of those before the second one, what they assign and store is known. */
  private changes(e: Expr, first: number, last: number): boolean {
    if (first === last) return false;
    const between = (i: number) => i >= first && i < last;
    for (const v of mentionedIn(e)) if ((this.assigned.get(v) ?? []).some(between)) return true;
    return this.readsWritten(e) && this.stores.some(between);
  }

  /** The uses that one name serves; null for an expression that is used once. */
  private shared(e: Expr, at: number): Uses | null {
    const u = this.uses.get(e)?.find((x) => x.first <= at && at <= x.last);
    return u !== undefined && u.count >= 2 && this.sharable(e) ? u : null;
  }
  private readsWritten(e: Expr): boolean {
    let r = this.writtenReads.get(e);
    if (r === undefined) {
      r = ((e.op === "load" || e.op === "loadat") && this.kernel.writes.has(e.attr as Buffer)) || e.args.some((a) => this.readsWritten(a));
      this.writtenReads.set(e, r);
    }
    return r;
  }

  private rewrite(e: Expr, at: number, names: Map<Uses, Expr>, memo: Map<Expr, Expr>, out: Stmt[]): Expr {
    if (e.args.length === 0 || e.constant !== null) return e;
    const shared = this.shared(e, at);
    const named = (shared === null ? undefined : names.get(shared)) ?? memo.get(e);
    if (named !== undefined) return named;
    const parts = new Set(this.parts(e));
    const rebuilt = this.sc.with(
      e,
      e.args.map((a) => (parts.has(a) ? this.rewrite(a, at, names, memo, out) : a)),
    );
    if (shared === null) {
      memo.set(e, rebuilt);
      return rebuilt;
    }
    const v = this.sc.variable("c", e.dtype, { lanes: e.lanes });
    out.push({ kind: "let", variable: v, value: rebuilt });
    names.set(shared, this.sc.var(v));
    return this.sc.var(v);
  }
}
