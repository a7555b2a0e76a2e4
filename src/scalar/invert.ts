import type { Expr, Variable } from "./expr.ts";
import { polynomialOf, simplifyIndex } from "./index.ts";
import type { Scalars } from "./scalars.ts";

/** A variable's values are `[0, extent)`. */
export interface Domain {
  readonly variable: Variable;
  readonly extent: Expr;
}

/** `(v / low) mod size` of a variable: a digit in mixed radix. */
interface Digit {
  readonly variable: Variable;
  readonly low: number;
}

/**
 * Inverts an index map: given `map[d]` in terms of the domain's variables, each below `sizes[d]`, finds every variable in
 * terms of `targets[d]`. It handles what transposes and reshapes make: variables, their digits in mixed radix, and sums of
 * variables that form a number in mixed radix. Null when the map is no such bijection.
 */
export function invertIndexMap(
  sc: Scalars,
  map: readonly Expr[],
  sizes: readonly Expr[],
  domain: readonly Domain[],
  targets: readonly Expr[],
): Map<Variable, Expr> | null {
  const out = new Map<Variable, Expr>();
  const digits = new Map<Variable, { low: number; size: number; value: Expr }[]>();
  for (const [d, e] of map.entries()) {
    const [size, target] = [sizes[d] as Expr, targets[d] as Expr];
    if (e.isConst(0) && size.isConst(1)) continue;
    const digit = digitOf(e);
    if (digit !== null && size.constant !== null && !(digit.low === 1 && isWhole(digit.variable, size, domain) && e.op === "var")) {
      digits.set(digit.variable, [...(digits.get(digit.variable) ?? []), { low: digit.low, size: Number(size.constant), value: target }]);
      continue;
    }
    if (!invertSum(sc, e, size, domain, target, out)) return null;
  }
  for (const [v, parts] of digits) {
    if (out.has(v)) return null;
    parts.sort((a, b) => a.low - b.low);
    let low = 1;
    let sum = sc.int(0);
    for (const p of parts) {
      if (p.low !== low) return null;
      sum = sc.add(sum, sc.mul(p.value, sc.int(low)));
      low *= p.size;
    }
    const extent = domain.find((x) => x.variable === v)?.extent;
    if (extent === undefined || !extent.isConst(low)) return null;
    out.set(v, simplifyIndex(sc, sum));
  }
  for (const x of domain) {
    if (out.has(x.variable)) continue;
    if (!x.extent.isConst(1)) return null;
    out.set(x.variable, sc.int(0));
  }
  return out;
}

function isWhole(v: Variable, size: Expr, domain: readonly Domain[]): boolean {
  return domain.some((x) => x.variable === v && x.extent === size);
}

function digitOf(e: Expr): Digit | null {
  const body = e.op === "mod" ? (e.args[0] as Expr) : e;
  const divided = body.op === "floordiv" ? (body.args[0] as Expr) : body;
  const low = body.op === "floordiv" ? (body.args[1] as Expr).constant : 1;
  const v = divided.variable;
  return v === null || low === null || v.extent === null ? null : { variable: v, low: Number(low) };
}

/** `e = Σ v·weight` where the weights are the products of the extents of the variables below: takes the target apart. */
function invertSum(sc: Scalars, e: Expr, size: Expr, domain: readonly Domain[], target: Expr, out: Map<Variable, Expr>): boolean {
  const terms: { variable: Variable; extent: Expr; weight: Expr }[] = [];
  for (const m of polynomialOf(e).values()) {
    const at = m.atoms.findIndex((a) => domain.some((x) => a.variable === x.variable));
    if (at < 0) return false;
    const x = domain.find((y) => y.variable === m.atoms[at]?.variable);
    const rest = m.atoms.toSpliced(at, 1);
    if (x === undefined || out.has(x.variable) || rest.some((a) => a.variable === null || domain.some((y) => y.variable === a.variable)))
      return false;
    terms.push({
      variable: x.variable,
      extent: x.extent,
      weight: simplifyIndex(
        sc,
        rest.reduce((p, a) => sc.mul(p, a), sc.int(m.coef)),
      ),
    });
  }
  let weight: Expr = sc.int(1);
  const left = [...terms];
  while (left.length > 0) {
    const i = left.findIndex((t) => t.weight === weight);
    const t = left[i];
    if (t === undefined) return false;
    left.splice(i, 1);
    const quotient = weight.isConst(1) ? target : sc.floordiv(target, weight);
    weight = simplifyIndex(sc, sc.mul(weight, t.extent));
    out.set(t.variable, simplifyIndex(sc, left.length === 0 ? quotient : sc.mod(quotient, t.extent)));
  }
  return weight === simplifyIndex(sc, size);
}
