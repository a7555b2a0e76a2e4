import { type Dim, dimMax, dimMin } from "../base/dim.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import { type Monomial, fromPolynomial, mentionedIn, polynomialOf } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { Stage, Tensor } from "../tensor/ir.ts";

/** One read of a linearised stage: its tensor, and how its position moves with each axis. */
export interface Access {
  readonly tensor: Tensor;
  readonly load: Expr;
  /** Change of position for one step of an axis; null where it is not affine in it. Axes it does not move with are absent. */
  readonly strides: ReadonlyMap<Variable, Expr | null>;
}

/** How an index moves with each of the variables it mentions. */
export function stridesOf(sc: Scalars, index: Expr): Map<Variable, Expr | null> {
  const sums = new Map<Variable, Map<string, Monomial> | null>();
  for (const m of polynomialOf(index).values()) {
    for (const v of new Set(m.atoms.flatMap((a) => [...mentionedIn(a)]))) {
      if (v.extent === null) continue;
      const at = m.atoms.findIndex((a) => a.op === "var" && a.attr === v);
      const rest = m.atoms.toSpliced(at, 1);
      const old = sums.get(v);
      if (at < 0 || rest.some((a) => mentionedIn(a).has(v)) || old === null) sums.set(v, null);
      else (old ?? sums.set(v, new Map()).get(v))?.set(rest.map((a) => a.id).join(","), { coef: m.coef, atoms: rest });
    }
  }
  return new Map([...sums].map(([v, p]) => [v, p === null ? null : fromPolynomial(sc, p)]));
}

/** Distinct loads in expressions, with their strides. */
export function accessesOf(sc: Scalars, roots: readonly Expr[]): Access[] {
  const seen = new Set<Expr>();
  const out: Access[] = [];
  const stack = [...roots];
  while (stack.length > 0) {
    const e = stack.pop() as Expr;
    if (seen.has(e)) continue;
    seen.add(e);
    if (e.op === "load") out.push({ tensor: e.attr as Tensor, load: e, strides: stridesOf(sc, e.args[0] as Expr) });
    stack.push(...e.args);
  }
  return out.sort((a, b) => a.load.id - b.load.id);
}

/** Reads inside the reduction (of lifts), and reads outside of it. */
export function stageAccesses(sc: Scalars, s: Stage): { readonly reduced: readonly Access[]; readonly finishing: readonly Access[] } {
  return {
    reduced: accessesOf(
      sc,
      s.accumulators.map((a) => a.lift),
    ),
    finishing: accessesOf(
      sc,
      s.writes.flatMap((w) => [w.value, ...w.index]),
    ),
  };
}

/** What a size is taken for that nobody knows: small sizes are done soon whatever their loops. */
const guessedSize = 128;

/** A size to reckon with: the number, or for symbolic dims a guess between their bounds. */
export function typicalSize(d: Dim): number {
  if (typeof d === "number") return d;
  return Math.max(1, dimMin(d), Math.min(guessedSize, dimMax(d)));
}
