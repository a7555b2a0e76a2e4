import { InternalError } from "../../base/errors.ts";
import { type Expr, type Variable, postorder, variablesOf } from "../../scalar/expr.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Buffer, type Kernel, type Stmt, bodiesOf, exprsOf, mapBlock, mapStmt } from "../ir.ts";

/**
 * Puts register buffers into variables, one for each element, or one vector for each group of lanes where the buffer is
 * accessed by vectors. All indices must be constants by now.
 */
export function promoteRegisters(sc: Scalars, k: Kernel): Kernel {
  const lanes = new Map<Buffer, number>();
  scan(k.body, (buffer, index) => {
    if (buffer.space === "register") lanes.set(buffer, Math.max(lanes.get(buffer) ?? 1, index.lanes));
  });
  if (lanes.size === 0) return k;
  const body = new Promoter(sc, lanes).block(k.body);
  return { ...k, body };
}

function scan(b: readonly Stmt[], visit: (buffer: Buffer, index: Expr) => void): void {
  for (const s of b) {
    if (s.kind === "store") visit(s.buffer, s.index);
    for (const e of postorder(exprsOf(s))) if (e.op === "load") visit(e.attr as Buffer, e.args[0] as Expr);
    for (const inner of bodiesOf(s)) scan(inner, visit);
  }
}

class Promoter {
  private readonly sc: Scalars;
  private readonly lanes: ReadonlyMap<Buffer, number>;
  private readonly groups = new Map<Buffer, Variable[]>();

  constructor(sc: Scalars, lanes: ReadonlyMap<Buffer, number>) {
    this.sc = sc;
    this.lanes = lanes;
  }

  block(b: readonly Stmt[]): readonly Stmt[] {
    const mapped = mapBlock(b, (s) => {
      if (s.kind === "alloc") return this.alloc(s.buffer);
      if (s.kind === "store" && this.lanes.has(s.buffer)) return this.store(s.buffer, s.index, this.expr(s.value));
      return mapStmt(
        s,
        (e) => this.expr(e),
        (inner) => this.block(inner),
      );
    });
    return b.some((s) => s.kind === "alloc") ? bindAtFirstValue(mapped) : mapped;
  }

  private alloc(buffer: Buffer): readonly Stmt[] {
    const lanes = this.lanes.get(buffer);
    if (lanes === undefined) return [];
    const n = Math.ceil(Number(buffer.size?.constant ?? 0) / lanes);
    const variables = Array.from({ length: n }, (_, i) => this.sc.variable(`${buffer.name}${i}`, buffer.dtype, { lanes }));
    this.groups.set(buffer, variables);
    const zero = this.sc.broadcast(this.sc.const(0, buffer.dtype), lanes);
    return variables.map((variable) => ({ kind: "let", variable, value: zero }));
  }

  private place(buffer: Buffer, index: Expr): { variable: Variable; lane: number } {
    const lanes = this.lanes.get(buffer) ?? 1;
    const first = index.op === "ramp" ? (index.args[0] as Expr) : index;
    const at = first.constant === null ? Number.NaN : Number(first.constant);
    const variable = this.groups.get(buffer)?.[Math.floor(at / lanes)];
    const stride = index.op === "ramp" ? (index.args[1] as Expr).constant : 1;
    if (variable === undefined || (index.lanes > 1 && (at % lanes !== 0 || Number(stride) !== 1)))
      throw new InternalError("registers", `register buffer '${buffer.name}' is accessed at an index that is no constant, or not aligned`);
    return { variable, lane: at % lanes };
  }

  private store(buffer: Buffer, index: Expr, value: Expr): Stmt {
    const { variable, lane } = this.place(buffer, index);
    if (index.lanes === variable.lanes) return { kind: "assign", variable, value: this.sc.broadcast(value, value.lanes === 1 ? variable.lanes : 1) };
    return { kind: "assign", variable, value: this.sc.insert(this.sc.var(variable), value, lane) };
  }

  private expr(e: Expr): Expr {
    return this.sc.rebuild([e], (x, args) => {
      if (x.op !== "load" || !this.lanes.has(x.attr as Buffer)) return null;
      const index = args[0] as Expr;
      const { variable, lane } = this.place(x.attr as Buffer, index);
      const v = this.sc.var(variable);
      return index.lanes === variable.lanes ? v : this.sc.extract(v, lane);
    })[0] as Expr;
  }
}

/** A variable that the block sets before anything reads it is bound there: what it was bound to before goes. */
function bindAtFirstValue(b: readonly Stmt[]): readonly Stmt[] {
  const bound = new Map<Variable, number>();
  const out: (Stmt | null)[] = [];
  for (const s of b) {
    if (s.kind === "assign" || s.kind === "let" || s.kind === "store") for (const v of variablesOf(...exprsOf(s))) bound.delete(v);
    else bound.clear();
    const at = s.kind === "assign" ? bound.get(s.variable) : undefined;
    if (s.kind === "assign" && at !== undefined) {
      out[at] = null;
      bound.delete(s.variable);
      out.push({ kind: "let", variable: s.variable, value: s.value });
      continue;
    }
    if (s.kind === "let") bound.set(s.variable, out.length);
    out.push(s);
  }
  return out.filter((s) => s !== null);
}
