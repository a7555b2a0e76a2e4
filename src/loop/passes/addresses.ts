import { i32 } from "../../base/dtype.ts";
import { type Expr, type Variable, postorder } from "../../scalar/expr.ts";
import { type Monomial, affineIn, fromPolynomial, mentionedIn, polynomialOf } from "../../scalar/index.ts";
import type { Scalars } from "../../scalar/scalars.ts";
import { type Buffer, type For, type Kernel, type Stmt, bodiesOf, exprsOf, isBuffer, mapStmt } from "../ir.ts";

/**
 * Lowers indices to byte addresses, reduced in strength: accesses of a block whose positions differ by constants share
 * one pointer and have constant offsets; a pointer that moves evenly with the loop around it is stepped, not recomputed.
 * Afterwards a kernel's buffer parameters are plain i32 addresses.
 */
export function lowerAddresses(sc: Scalars, k: Kernel): Kernel {
  const addresses = new Map<Buffer, Variable>();
  const params = k.params.map((p) => {
    if (!isBuffer(p)) return p;
    const v = sc.variable(p.name, i32, { min: 0 });
    addresses.set(p, v);
    return v;
  });
  const lowering = new AddressLowering(sc, addresses);
  return { ...k, params, body: lowering.block(scalarizeGathers(sc, k.body), null, []).body };
}

/** Reads and writes of lanes that do not lie next to each other become one scalar access for each lane. */
function scalarizeGathers(sc: Scalars, b: readonly Stmt[]): readonly Stmt[] {
  const memo = new Map<Expr, Expr>();
  const lane = (index: Expr, i: number) => sc.add(index.args[0] as Expr, sc.mul(index.args[1] as Expr, sc.int(i)));
  const isGather = (index: Expr) => index.op === "ramp" && !(index.args[1] as Expr).isConst(1);
  const expr = (e: Expr): Expr =>
    sc.rebuild(
      [e],
      (x, args) => {
        const index = args[0] as Expr;
        if (x.op !== "load" || x.lanes === 1) return null;
        const buffer = x.attr as Buffer;
        if (index.op === "broadcast") return sc.broadcast(sc.load(buffer, [index.args[0] as Expr]), x.lanes);
        if (!isGather(index)) return null;
        let out = sc.broadcast(sc.load(buffer, [lane(index, 0)]), x.lanes);
        for (let i = 1; i < x.lanes; i++) out = sc.insert(out, sc.load(buffer, [lane(index, i)]), i);
        return out;
      },
      memo,
    )[0] as Expr;
  const block = (stmts: readonly Stmt[]): readonly Stmt[] =>
    stmts.flatMap((s): readonly Stmt[] => {
      const m = mapStmt(s, expr, block);
      if (m.kind !== "store" || !isGather(m.index)) return [m];
      const v = sc.variable("lanes", m.value.dtype, { lanes: m.value.lanes });
      return [
        { kind: "let", variable: v, value: m.value },
        ...Array.from(
          { length: v.lanes },
          (_, i): Stmt => ({ kind: "store", buffer: m.buffer, index: lane(m.index, i), value: sc.extract(sc.var(v), i) }),
        ),
      ];
    });
  return block(b);
}

interface Group {
  readonly buffer: Buffer;
  readonly moving: ReadonlyMap<string, Monomial>;
  smallest: number;
  pointer: Variable | null;
}

class AddressLowering {
  private readonly sc: Scalars;
  private readonly addresses: ReadonlyMap<Buffer, Variable>;
  constructor(sc: Scalars, addresses: ReadonlyMap<Buffer, Variable>) {
    this.sc = sc;
    this.addresses = addresses;
  }

  /** Lowers a block; `before` has to stand in front of the loop around it. */
  block(b: readonly Stmt[], loop: For | null, path: readonly Variable[]): { before: Stmt[]; body: Stmt[] } {
    const groups = this.groupsOf(b);
    const before: Stmt[] = [];
    const top: Stmt[] = [];
    const steps: Stmt[] = [];
    const bound = boundIn(b);
    for (const g of groups.values()) this.placePointer(g, loop, path, bound, { before, top, steps });
    const out: Stmt[] = [...top];
    for (const s of b) {
      const expr = (e: Expr): Expr => this.rewrite(e, groups);
      if (s.kind === "for") {
        const inner = this.block(s.body, s, [...path, s.variable]);
        out.push(...inner.before, { ...s, begin: expr(s.begin), end: expr(s.end), body: inner.body });
      } else if (s.kind === "if") {
        const [then, otherwise] = [this.block(s.then, null, path), this.block(s.otherwise, null, path)];
        out.push({ ...s, condition: expr(s.condition), then: then.body, otherwise: otherwise.body });
      } else if (s.kind === "store") {
        const { address, offset } = this.addressOf(s.buffer, firstOf(s.index), groups);
        out.push({ kind: "storeat", buffer: s.buffer, address, offset, value: expr(s.value) });
      } else out.push(mapStmt(s, expr, (x) => x));
    }
    out.push(...steps);
    return { before, body: out };
  }

  private split(index: Expr): { moving: Map<string, Monomial>; constant: number; key: string } {
    const moving = new Map(polynomialOf(index));
    const constant = moving.get("")?.coef ?? 0;
    moving.delete("");
    return {
      moving,
      constant,
      key: [...moving.keys()]
        .sort()
        .map((k) => `${moving.get(k)?.coef}*${k}`)
        .join("+"),
    };
  }
  private keyOf(buffer: Buffer, key: string): string {
    return `${buffer.id}:${key}`;
  }

  private groupsOf(b: readonly Stmt[]): Map<string, Group> {
    const groups = new Map<string, Group>();
    const note = (buffer: Buffer, index: Expr) => {
      const { moving, constant, key } = this.split(firstOf(index));
      const id = this.keyOf(buffer, key);
      const g = groups.get(id);
      if (g === undefined) groups.set(id, { buffer, moving, smallest: constant, pointer: null });
      else g.smallest = Math.min(g.smallest, constant);
    };
    for (const s of b) {
      if (s.kind === "store") note(s.buffer, s.index);
      for (const e of postorder(exprsOf(s))) if (e.op === "load") note(e.attr as Buffer, e.args[0] as Expr);
    }
    return groups;
  }

  private placePointer(
    g: Group,
    loop: For | null,
    path: readonly Variable[],
    bound: ReadonlySet<Variable>,
    out: { before: Stmt[]; top: Stmt[]; steps: Stmt[] },
  ): void {
    const { sc } = this;
    const atoms = [...g.moving.values()].flatMap((m) => m.atoms);
    // An index that comes from data, or from a name bound in this very block, is computed where it is used.
    if (postorder(atoms).some((e) => e.op === "load" || (e.op === "var" && bound.has(e.attr as Variable)))) return;
    const position = fromPolynomial(sc, g.moving);
    const pointer = sc.variable(g.buffer.name, i32, { min: 0 });
    const moving = loop === null ? null : affineIn(sc, position, loop.variable);
    if (loop === null || moving === null) {
      if (atoms.length === 0) return;
      g.pointer = pointer;
      out.top.push({ kind: "let", variable: pointer, value: this.address(g, g.moving, path) });
      return;
    }
    g.pointer = pointer;
    const start = sc.add(moving.rest, sc.mul(moving.coef, loop.begin));
    out.before.push({ kind: "let", variable: pointer, value: this.address(g, polynomialOf(start), path.slice(0, -1)) });
    if (!moving.coef.isConst(0))
      out.steps.push({ kind: "assign", variable: pointer, value: sc.add(sc.var(pointer), sc.mul(moving.coef, sc.int(g.buffer.dtype.byteWidth))) });
  }

  /** base + bytes · position, its terms ordered by the loops they move with, outer ones first: so that sums can be hoisted. */
  private address(g: Group, position: ReadonlyMap<string, Monomial>, path: readonly Variable[]): Expr {
    const { sc } = this;
    const width = g.buffer.dtype.byteWidth;
    const depthOf = (e: Expr) => Math.max(-1, ...[...mentionedIn(e)].map((v) => path.indexOf(v)));
    const depth = (m: Monomial) => Math.max(-1, ...m.atoms.map(depthOf));
    const terms = [...position.values()].sort((a, b) => depth(a) - depth(b));
    let sum: Expr = sc.var(this.addresses.get(g.buffer) as Variable);
    for (const t of terms) {
      const atoms = [...t.atoms].sort((a, b) => depthOf(a) - depthOf(b));
      const coef = sc.int(t.coef * width);
      const [first, ...rest] = atoms;
      sum = sc.add(sum, first === undefined ? coef : rest.reduce((p, a) => sc.mul(p, a), sc.mul(first, coef)));
    }
    return sc.add(sum, sc.int(g.smallest * width));
  }

  private addressOf(buffer: Buffer, index: Expr, groups: ReadonlyMap<string, Group>): { address: Expr; offset: number } {
    const { sc } = this;
    const { constant, key } = this.split(index);
    const g = groups.get(this.keyOf(buffer, key));
    const width = buffer.dtype.byteWidth;
    if (g?.pointer != null) return { address: sc.var(g.pointer), offset: (constant - g.smallest) * width };
    const base = sc.var(this.addresses.get(buffer) as Variable);
    const inner = this.rewrite(index, groups);
    return { address: sc.add(base, sc.mul(inner, sc.int(width))), offset: 0 };
  }

  private rewrite(e: Expr, groups: ReadonlyMap<string, Group>): Expr {
    const { sc } = this;
    return sc.rebuild([e], (x) => {
      if (x.op !== "load") return null;
      const { address, offset } = this.addressOf(x.attr as Buffer, firstOf(x.args[0] as Expr), groups);
      return sc.loadAt(x.attr as Buffer, address, offset, x.lanes);
    })[0] as Expr;
  }
}

/** The first lane of a vector index. */
function firstOf(index: Expr): Expr {
  return index.op === "ramp" ? (index.args[0] as Expr) : index;
}

/** Variables that a block, or one inside of it, binds or changes. */
function boundIn(b: readonly Stmt[], into: Set<Variable> = new Set()): Set<Variable> {
  for (const s of b) {
    if (s.kind === "let" || s.kind === "assign") into.add(s.variable);
    for (const inner of bodiesOf(s)) boundIn(inner, into);
  }
  return into;
}
