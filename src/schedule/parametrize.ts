import { dimMin, dimMultiple, productOf } from "../base/dim.ts";
import { i32 } from "../base/dtype.ts";
import { Buffer, type Param } from "../loop/ir.ts";
import { type Expr, type Variable, loadsOf, variablesOf } from "../scalar/expr.ts";
import { type Monomial, type Polynomial, fromPolynomial, mentionedIn, polynomialOf } from "../scalar/index.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { printExpr } from "../scalar/text.ts";
import { type Axis, type Kernel, type Stage, type Tensor, allStages, mapStage, stageExprs } from "../tensor/ir.ts";
import { type KernelSchedule, type LoopSpec, printSchedule } from "./schedule.ts";

/**
 * Makes a linearised kernel independent of its sizes: strides and extents become parameters, so that all nodes of one
 * structure share one piece of code. What the code relies on stays in it: unit strides, small extents, and the facts
 * that an extent is at least a tile or a multiple of it.
 */
export interface Parametrized {
  readonly kernel: Kernel;
  readonly extents: ReadonlyMap<Variable, Expr>;
  readonly buffers: ReadonlyMap<Tensor, Buffer>;
  readonly params: readonly Param[];
  /** What to pass: for buffers the tensor and its offset in elements, for sizes an expression over the symbols. */
  readonly args: readonly (Expr | { readonly tensor: Tensor; readonly offset: Expr })[];
  /** Kernels of equal keys have equal code. */
  readonly key: string;
}

/** Extents up to this stay constants: they are what loops are unrolled by. */
const smallExtent = 16;

/** Is the extent of an axis a constant in the kernel's code? `loops` are the axis's own, outermost first. */
export function hasConstantExtent(a: Axis, loops: readonly LoopSpec[]): boolean {
  if (typeof a.extent !== "number") return false;
  const [outermost] = loops;
  // An axis that is unrolled or vectorised from its full extent needs that as a constant; one that a tile covers needs no loop.
  const isFixed = outermost !== undefined && (outermost.kind !== "serial" || (outermost.size === a.extent && a.kind === "parallel"));
  return a.extent <= smallExtent || isFixed;
}

export function parametrizeKernel(sc: Scalars, k: Kernel, schedule: KernelSchedule): Parametrized {
  // Axes, and accumulators: what a reduction gives may say where to read.
  const axes = new Set<Variable>([...k.axes, ...allStages(k).flatMap((s) => s.axes)].map((a) => a.variable));
  for (const s of allStages(k)) for (const a of s.accumulators) axes.add(a.left).add(a.right);
  const params: Param[] = [];
  const args: (Expr | { tensor: Tensor; offset: Expr })[] = [];
  const buffers = new Map<Tensor, Buffer>();
  const locals = new Set([...k.locals, ...allStages(k).flatMap((s) => s.inner?.locals ?? [])]);
  const constants = commonOffsets(sc, k, locals, axes);

  const bufferFor = (t: Tensor): Buffer => {
    let b = buffers.get(t);
    if (b === undefined) {
      const local = locals.has(t);
      b = new Buffer(sc.freshId(), `t${buffers.size}`, t.dtype, local ? "scratch" : "param", local ? sc.dim(productOf(t.dims)) : null);
      buffers.set(t, b);
      params.push(b);
      args.push({ tensor: t, offset: constants.get(t) ?? sc.int(0) });
    }
    return b;
  };
  const size = (name: string, value: Expr, facts: { min?: number; multiple?: number }): Expr => {
    const v = sc.variable(`${name}${params.length}`, i32, { min: facts.min ?? Number.NEGATIVE_INFINITY, multiple: facts.multiple ?? 1 });
    params.push(v);
    args.push(value);
    return sc.var(v);
  };
  const strides = new Map<string, Expr>();
  /** The position without the part that moved into the address, its coefficients as parameters. */
  const index = (t: Tensor, e: Expr): Expr => {
    bufferFor(t);
    const out = new Map<string, Monomial>();
    let position = sc.int(0);
    for (const m of polynomialOf(sc.sub(e, constants.get(t) ?? sc.int(0))).values()) {
      const moving = m.atoms.filter((a) => loadsOf(a).length > 0 || [...mentionedIn(a)].some((v) => axes.has(v)));
      const fixed = m.atoms.filter((a) => !moving.includes(a));
      const isParameter = (Math.abs(m.coef) !== 1 || fixed.length > 0) && (!schedule.specialize || fixed.length > 0);
      if (moving.length === 0 ? fixed.length === 0 : !isParameter) {
        out.set(m.atoms.map((a) => a.id).join(","), m);
        continue;
      }
      const value = fromPolynomial(sc, new Map([["", { coef: m.coef, atoms: fixed }]]));
      // Accesses of one tensor that move alike along an axis share the parameter, and so what is computed from it.
      const key = `${t.id}/${value.id}/${moving.map((a) => a.id).join()}`;
      const old = strides.get(key) ?? size("s", value, {});
      strides.set(key, old);
      position = sc.add(
        position,
        moving.reduce((p, a) => sc.mul(p, a), old),
      );
    }
    return sc.add(position, fromPolynomial(sc, out));
  };

  const memo = new Map<Expr, Expr>();
  const rewrite = (e: Expr): Expr =>
    sc.rebuild([e], (x, a) => (x.op === "load" ? sc.load(x.attr as Tensor, [index(x.attr as Tensor, a[0] as Expr)]) : null), memo)[0] as Expr;
  const stage = (s: Stage): Stage => {
    const inner = s.inner === null ? null : { ...s.inner, stages: s.inner.stages.map(stage) };
    const m = mapStage({ ...s, inner: null, writes: s.writes.map((w) => ({ ...w, index: [] })) }, rewrite);
    return { ...m, inner, writes: m.writes.map((w, i) => ({ ...w, index: [index(w.tensor, rewrite(s.writes[i]?.index[0] as Expr))] })) };
  };
  let kernel: Kernel = { ...k, stages: k.stages.map(stage) };

  const extents = new Map<Variable, Expr>();
  const extent = (a: Axis, loops: readonly LoopSpec[]): void => {
    if (extents.has(a.variable)) return;
    const value = sc.dim(a.extent);
    if (hasConstantExtent(a, loops)) {
      extents.set(a.variable, value);
      return;
    }
    const tiles = loops.map((l) => l.size);
    const multiple = tiles.reduce((m, t) => (t > m && t % m === 0 && dimMultiple(a.extent) % t === 0 ? t : m), 1);
    const min = tiles.reduce((m, t) => (t > m && dimMin(a.extent) >= t ? t : m), Math.min(1, dimMin(a.extent)));
    extents.set(a.variable, size(`n`, value, { min, multiple }));
  };
  for (const a of kernel.axes) extent(a, []);
  for (const s of allStages(kernel)) {
    const loops = schedule.stages[s.name]?.loops ?? [];
    for (const a of s.axes) {
      const own = loops.filter((l) => l.axis === a.variable.name);
      extent(a, own);
    }
  }
  // Symbols that are left in values are parameters too.
  const bound = new Set<Variable>([...axes, ...params.filter((p) => p.kind === "variable")]);
  const free = new Map<Variable, Expr>();
  for (const v of variablesOf(...allStages(kernel).flatMap(stageExprs))) if (!bound.has(v)) free.set(v, size("z", sc.var(v), { min: v.min }));
  if (free.size > 0) kernel = { ...kernel, stages: kernel.stages.map((s) => mapStage(s, (e) => sc.substitute(e, free))) };
  return { kernel, extents, buffers, params, args, key: keyOf(kernel, schedule, buffers, params, extents) };
}

/** The part of a tensor's position that no axis moves and that all of its accesses share: it goes into the address. */
function commonOffsets(sc: Scalars, k: Kernel, locals: ReadonlySet<Tensor>, axes: ReadonlySet<Variable>): Map<Tensor, Expr> {
  const found = new Map<Tensor, Set<Expr>>();
  const note = (t: Tensor, index: Expr) => {
    const set = found.get(t) ?? new Set<Expr>();
    set.add(index);
    found.set(t, set);
  };
  const seen = new Set<Expr>();
  const visit = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.op === "load") note(e.attr as Tensor, e.args[0] as Expr);
    e.args.forEach(visit);
  };
  for (const s of allStages(k)) {
    stageExprs(s).forEach(visit);
    for (const w of s.writes) note(w.tensor, w.index[0] as Expr);
  }
  const out = new Map<Tensor, Expr>();
  for (const [t, indices] of found) {
    // An address tells bytes: an offset in elements of half a byte may fall between two.
    if (locals.has(t) || t.dtype.bits < 8) continue;
    const shared = [...indices].map((e) => fixedPart(e, axes)).reduce(sharedPart);
    if (shared.size > 0) out.set(t, fromPolynomial(sc, shared));
  }
  return out;
}

/** The monomials of an index over nothing but sizes. */
function fixedPart(index: Expr, axes: ReadonlySet<Variable>): Polynomial {
  const isFixed = (a: Expr) => a.op === "var" && !axes.has(a.attr as Variable) && (a.attr as Variable).extent === null;
  return new Map([...polynomialOf(index)].filter(([, m]) => m.atoms.every(isFixed)));
}

/** What two sums have in common: equal monomials, and the lesser constant. */
function sharedPart(a: Polynomial, b: Polynomial): Polynomial {
  const out = new Map<string, Monomial>();
  for (const [key, m] of a) {
    const other = b.get(key)?.coef ?? 0;
    if (m.atoms.length === 0 ? other !== 0 : m.coef === other) out.set(key, { ...m, coef: Math.min(m.coef, other) });
  }
  return out;
}

/** A text that is equal for kernels that would be emitted alike: names are numbered, origins left out. */
function keyOf(
  k: Kernel,
  schedule: KernelSchedule,
  buffers: ReadonlyMap<Tensor, Buffer>,
  params: readonly Param[],
  extents: ReadonlyMap<Variable, Expr>,
): string {
  const names = new Map<string, string>([...buffers].map(([t, b]) => [`%${t.name}[`, `%${b.name}[`]));
  const rename = (text: string) => text.replace(/%[^[]+\[/g, (m) => names.get(m) ?? m);
  const lines: string[] = [];
  const axis = (a: Axis) => `${a.variable.name}:${a.kind[0]}${printExpr(extents.get(a.variable) as Expr)}`;
  for (const p of params) lines.push(p.kind === "storage" ? `${p.dtype}${p.space[0]}` : `${p.name}>${p.min}*${p.multiple}`);
  lines.push(k.axes.map(axis).join());
  const ordinal = new Map(allStages(k).map((s, i) => [s.name, i]));
  for (const s of allStages(k)) {
    lines.push(`${s.axes.map(axis).join()}${s.inner === null ? "" : `@${s.inner.axis.name}`}`);
    for (const a of s.accumulators)
      lines.push(`${a.axes.map((v) => v.name).join()}|${printExpr(a.identity)}|${rename(printExpr(a.lift))}|${printExpr(a.combine)}`);
    for (const w of s.writes)
      lines.push(
        `${buffers.get(w.tensor)?.name}[${rename(printExpr(w.index[0] as Expr))}]${w.combiner}${rename(printExpr(w.value))}${w.guard === null ? "" : `?${rename(printExpr(w.guard))}`}`,
      );
  }
  const stages = Object.entries(schedule.stages).map(([n, v]) => [ordinal.get(n) ?? n, v]);
  lines.push(printSchedule({ ...schedule, stages: Object.fromEntries(stages) }));
  return lines.join("\n");
}
