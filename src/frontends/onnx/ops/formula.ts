import type { GraphBuilder } from "../../../graph/builder.ts";
import type { Value } from "../../../graph/ir.ts";

/** A part of a formula: a value, or a number that takes the dtype and dims of what it meets. */
export type Term = Value | number;

/** Elementwise arithmetic as formulas are written: numbers and rank-0 values stretch to the dims of the other operands. */
export class Formula {
  readonly g: GraphBuilder;
  constructor(g: GraphBuilder) {
    this.g = g;
  }

  /** A scalar op on operands of one dtype. */
  op(name: string, ...terms: readonly Term[]): Value {
    const values = terms.filter((t): t is Value => typeof t !== "number");
    // A condition says nothing of the dtype of a number beside it.
    const typed = name === "select" ? terms.slice(1).find((t): t is Value => typeof t !== "number") : values[0];
    const widest = values.reduce((a, b) => (b.dims.length > a.dims.length ? b : a));
    const dtype = (typed ?? widest).dtype;
    const operands = terms.map((t) =>
      typeof t === "number" ? this.g.splat(dtype, widest.dims, t) : t.dims.length === 0 ? this.g.broadcast(t, widest.dims, []) : t,
    );
    return this.g.one(name, operands);
  }
  add(a: Term, b: Term): Value {
    return this.op("add", a, b);
  }
  sub(a: Term, b: Term): Value {
    return this.op("sub", a, b);
  }
  mul(a: Term, b: Term): Value {
    return this.op("mul", a, b);
  }
  div(a: Term, b: Term): Value {
    return this.op("div", a, b);
  }
  min(a: Term, b: Term): Value {
    return this.op("min", a, b);
  }
  max(a: Term, b: Term): Value {
    return this.op("max", a, b);
  }
  clamp(x: Term, low: Term, high: Term): Value {
    return this.max(this.min(x, high), low);
  }
  and(a: Value, b: Value): Value {
    return this.op("and", a, b);
  }
  /** `low ≤ x ≤ high` */
  between(x: Term, low: Term, high: Term): Value {
    return this.and(this.op("ge", x, low), this.op("le", x, high));
  }
  select(condition: Value, a: Term, b: Term): Value {
    return this.op("select", condition, a, b);
  }
  /** The sum of products of weights and values. */
  weighted(parts: readonly (readonly [weight: Term, value: Value])[]): Value {
    return parts.map(([w, v]) => this.mul(v, w)).reduce((a, b) => this.add(a, b));
  }
}
