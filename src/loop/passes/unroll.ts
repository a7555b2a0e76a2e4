import { InternalError } from "../../base/errors.ts";
import type { Expr, Storage, Variable } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { Buffer, type Kernel, type Stmt, mapBlock } from "../ir.ts";

/** Copies the bodies of unrolled loops, with fresh names for what each copy binds. */
export function unrollLoops(sc: Scalars, k: Kernel): Kernel {
  const body = new Unroller(sc).block(k.body, { variables: new Map(), buffers: new Map() });
  return { ...k, body };
}

interface Renaming {
  readonly variables: Map<Variable, Expr>;
  readonly buffers: Map<Storage, Buffer>;
}

class Unroller {
  private readonly sc: Scalars;
  constructor(sc: Scalars) {
    this.sc = sc;
  }

  block(b: readonly Stmt[], r: Renaming): readonly Stmt[] {
    return mapBlock(b, (s) => this.stmt(s, r));
  }
  private expr(e: Expr, r: Renaming): Expr {
    const { sc } = this;
    if (r.variables.size === 0 && r.buffers.size === 0) return e;
    return sc.rebuild([e], (x, args) => {
      if (x.op === "var") return r.variables.get(x.attr as Variable) ?? null;
      const b = x.op === "load" ? r.buffers.get(x.attr as Storage) : undefined;
      return b === undefined ? null : sc.load(b, args);
    })[0] as Expr;
  }

  private stmt(s: Stmt, r: Renaming): Stmt | readonly Stmt[] {
    switch (s.kind) {
      case "for": {
        const [begin, end] = [this.expr(s.begin, r), this.expr(s.end, r)];
        if (s.loop !== "unrolled") return { ...s, begin, end, body: this.block(s.body, r) };
        if (begin.constant === null || end.constant === null)
          throw new InternalError("unroll", `the unrolled loop over '${s.variable.name}' has no constant bounds`);
        const out: Stmt[] = [];
        for (let i = Number(begin.constant); i < Number(end.constant); i++) {
          const copy: Renaming = { variables: new Map(r.variables).set(s.variable, this.sc.int(i)), buffers: new Map(r.buffers) };
          // Every copy binds names of its own.
          out.push(
            ...this.block(
              s.body.map((x) => this.rename(x, copy)),
              copy,
            ),
          );
        }
        return out;
      }
      case "store":
        return { ...s, buffer: r.buffers.get(s.buffer) ?? s.buffer, index: this.expr(s.index, r), value: this.expr(s.value, r) };
      case "storeat":
        return { ...s, address: this.expr(s.address, r), value: this.expr(s.value, r) };
      case "let":
        return { ...s, value: this.expr(s.value, r) };
      case "assign":
        return { ...s, value: this.expr(s.value, r) };
      case "if":
        return { ...s, condition: this.expr(s.condition, r), then: this.block(s.then, r), otherwise: this.block(s.otherwise, r) };
      case "alloc":
        return s;
      case "launch":
      case "while":
      case "require":
        return s;
      default:
        throw s satisfies never;
    }
  }

  private rename(s: Stmt, r: Renaming): Stmt {
    if (s.kind === "let") {
      const v = this.sc.variable(s.variable.name, s.variable.dtype, { lanes: s.variable.lanes });
      r.variables.set(s.variable, this.sc.var(v));
      return { ...s, variable: v };
    }
    if (s.kind === "alloc") {
      const b = new Buffer(this.sc.freshId(), s.buffer.name, s.buffer.dtype, s.buffer.space, s.buffer.size);
      r.buffers.set(s.buffer, b);
      return { ...s, buffer: b };
    }
    return s;
  }
}
