import { type Launch, type Program, type Stmt, bodiesOf } from "../loop/ir.ts";
import { type Expr, variablesOf } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";

/** The number that an expression is; null where symbols tell it. */
export const known = (e: Expr): number | null => (e.constant === null ? null : Number(e.constant));

/** The launches of a program's main, in order. */
export function launchesOf(p: Program): Launch[] {
  const out: Launch[] = [];
  const visit = (b: readonly Stmt[]): void => {
    for (const s of b) {
      if (s.kind === "launch") out.push(s);
      bodiesOf(s).forEach(visit);
    }
  };
  visit(p.main);
  return out;
}

/** May threads share the launch, if a target can pass its arguments? Not where there is less to do than in one piece, or than is worth it. */
export function mayShare(p: Program, s: Launch): boolean {
  const [count, grain] = [known(s.count), known(s.grain)];
  const symbols = new Set(p.symbolVariables);
  // Room for scratch memory is made before main runs.
  const isSized = [...variablesOf(...s.scratch.map((x) => x.bytes))].every((v) => symbols.has(v));
  if (s.threadsFrom === null || !isSized) return false;
  return count === null || (count >= s.threadsFrom && (grain === null || count > grain));
}

/** Where a launch's scratch arguments lie in a thread's own memory, and how much of it they need. */
export function scratchLayout(sc: Scalars, s: Launch): { readonly places: readonly Expr[]; readonly bytes: Expr } {
  const places: Expr[] = [];
  let bytes = sc.int(0);
  for (const x of s.scratch) {
    places.push(bytes);
    bytes = sc.add(bytes, sc.mul(sc.floordiv(sc.add(x.bytes, sc.int(63)), sc.int(64)), sc.int(64)));
  }
  return { places, bytes };
}

/** The most scratch memory that a thread needs in one of these launches. */
export function mostScratch(sc: Scalars, launches: readonly Launch[]): Expr {
  return launches.reduce((n, s) => sc.max(n, scratchLayout(sc, s).bytes), sc.int(0));
}
