import { type DimSymbol, dimSymbols, dimsEqual } from "../base/dim.ts";
import { Violations } from "../base/verify.ts";
import { type Expr, type Variable, postorder } from "../scalar/expr.ts";
import { mentionedIn } from "../scalar/index.ts";
import { printExpr } from "../scalar/text.ts";
import { operationFault } from "../scalar/verify.ts";
import {
  type Accumulator,
  type Axis,
  type Control,
  type Identity,
  type Kernel,
  type Stage,
  Tensor,
  type TensorFunction,
  type Write,
  allKernels,
  allStages,
  layoutOf,
  readsOf,
  rootOf,
  soleStage,
  writesOf,
} from "./ir.ts";
import { verifyOpaque } from "./opaque-verify.ts";
import { layOutTensor } from "./print.ts";

/**
 * The invariants of tensor IR:
 *
 * T1   Names of tensors are unique; what kernels read and write is declared by the function, or a local of that kernel, or
 *      of the place inside a stage where it is computed.
 * T2   An index has one i32 scalar for each dimension. Loads at addresses and vector forms belong to loop IR.
 * T3   Variables are bound: axes of the kernel, of the stage and of stages around it; symbols of the function; and the
 *      accumulators, in `combine` (both sides) and in writes (the left ones).
 * T4   Nothing reads a tensor before something writes it, except in a scan, where an earlier step may have.
 * T5   An accumulator is indexed by parallel axes of its stage, once each; its parts have its dtype; its identity and lift
 *      read no accumulator. A stage with reduction axes has accumulators, one without has none.
 * T6   Every tensor that is no input and no constant is written; inputs and constants never are. Outputs are neither, and
 *      each is given once.
 * T7   Writes have their tensor's dtype, guards are bools, and neither mentions a reduction axis. A write without combiner is plain: its index tells
 *      all parallel axes apart that its value depends on.
 * T8   Stage axes are parallel or reductions, kernel axes parallel or scans; extents have the values that variables say.
 * T9   Stages inside another are computed at one of its reduction axes.
 * T10  Layouts permute the dims, pad by no negative amount, and views do not go round in circles.
 * T11  Scalar operations have operands of the dtypes that they take.
 * T12  Symbols in dims are declared.
 * T13  Forms that a step was to remove are gone.
 * T14  Steps of the host program bind data symbols to integers of rank 0, decide by bools of rank 0, and their bodies yield
 *      what their results (for stacked ones: a slice of it) need. What only a body writes, only that body reads.
 * T15  An opaque step runs over parallel axes; it says what it reads and writes, each all and nothing else, and reads nothing
 *      that it writes, locals apart. Its variables are bound before they are used, and only those of a `let` change.
 * T16  Rows have room by a capacity symbol, in tensors that are no views. A kernel is an identity from an input to an output
 *      that both have it for the same dim; it is one stage that writes what it reads of the one into the other.
 */

export interface TensorVerifyOptions {
  readonly after?: string;
  /** Says of a stage that must be gone why, else gives null. */
  readonly forbidden?: (s: Stage, k: Kernel) => string | null;
}

/** @throws VerifyError `verify-tensor` with every violation, inside the printed function */
export function verifyTensor(f: TensorFunction, options: TensorVerifyOptions = {}): void {
  const v = new Violations();
  new TensorVerifier(v, f, options).function();
  v.throwIfAny("verify-tensor", `in tensor function @${f.name}${options.after === undefined ? "" : ` ${options.after}`}`, () => layOutTensor(f));
}

class TensorVerifier {
  private readonly found: Violations;
  private readonly f: TensorFunction;
  private readonly options: TensorVerifyOptions;
  private readonly symbols: ReadonlyMap<string, DimSymbol>;
  private readonly declared: ReadonlySet<Tensor>;
  /** What holds a value by now. */
  private readonly written: Set<Tensor>;
  /** What the bodies of branches and loops write for themselves. */
  private readonly inner = new Set<Tensor>();
  private readonly checked = new Set<Expr>();

  constructor(found: Violations, f: TensorFunction, options: TensorVerifyOptions) {
    this.found = found;
    this.f = f;
    this.options = options;
    this.symbols = new Map(f.symbols.map((s) => [s.name, s]));
    this.declared = new Set(f.tensors);
    this.written = new Set([...f.inputs, ...f.tensors.filter((t) => t.data !== null)]);
  }

  function(): void {
    const { f, found } = this;
    const locals = allKernels(f.kernels).flatMap((k) => [
      ...(k.control?.kind === "opaque" ? k.control.locals : k.locals),
      ...allStages(k).flatMap((s) => s.inner?.locals ?? []),
    ]);
    this.uniqueNames([...f.tensors, ...locals]);
    for (const t of [...f.tensors, ...locals]) this.tensor(t);
    for (const t of f.inputs) found.check(this.declared.has(t), `%${t.name}`, () => "T1: this input is not among the function's tensors");
    const kernels = new Set<string>();
    for (const k of allKernels(f.kernels)) {
      found.check(!kernels.has(k.name), `@${k.name}`, () => "T1: two kernels have this name");
      kernels.add(k.name);
    }
    for (const k of f.kernels) this.kernel(k);
    found.about = null;
    this.results();
  }

  private uniqueNames(tensors: readonly Tensor[]): void {
    const names = new Map<string, Tensor>();
    for (const t of tensors) {
      this.found.check((names.get(t.name) ?? t) === t, `%${t.name}`, () => "T1: two tensors have this name");
      names.set(t.name, t);
    }
  }

  private tensor(t: Tensor): void {
    const at = `%${t.name}`;
    for (const d of t.dims) {
      if (typeof d !== "number")
        for (const s of dimSymbols(d).keys()) this.found.check(this.symbols.has(s), at, () => `T12: symbol '${s}' is not declared`);
    }
    const layout = this.f.layouts.get(t);
    if (layout === undefined) return;
    const rank = t.dims.length;
    const sorted = [...layout.order].sort((a, b) => a - b);
    this.found.check(
      sorted.length === rank && sorted.every((d, i) => d === i),
      at,
      () => `T10: order (${layout.order.join(", ")}) is no permutation of ${rank} dims`,
    );
    this.found.check(
      layout.pad.length === rank && layout.pad.every(([a, b]) => a >= 0 && b >= 0),
      at,
      () => "T10: one non-negative pad on each side of each dim",
    );
    const { capacity } = layout;
    if (capacity !== undefined)
      this.found.check(
        layout.view === null && capacity.dim < rank && this.symbols.get(String(capacity.rows))?.source === "capacity",
        at,
        () => "T16: a capacity is a symbol of that kind, for a dim of a tensor that is no view",
      );
    const seen = new Set<Tensor>([t]);
    for (let v = layout.view; v !== null; v = layoutOf(this.f, v.of).view) {
      if (seen.has(v.of)) {
        this.found.add(at, "T10: the views go round in a circle");
        break;
      }
      const { of, offset, axes } = v;
      this.found.check(offset.length === of.dims.length, at, () => `T10: one offset for each dim of %${of.name}`);
      if (axes !== undefined) {
        const used = axes.filter((a) => a >= 0);
        this.found.check(
          new Set(used).size === used.length && used.every((a) => a < of.dims.length),
          at,
          () => `T10: axes are distinct dims of %${of.name}`,
        );
      }
      seen.add(v.of);
    }
  }

  private results(): void {
    const { f, found } = this;
    const fixed = new Set([...f.inputs, ...f.tensors.filter((t) => t.data !== null)]);
    for (const t of f.tensors)
      found.check(
        this.written.has(t) || this.inner.has(t) || f.layouts.get(t)?.view != null || this.isViewed(t),
        `%${t.name}`,
        () => "T6: nothing writes this tensor",
      );
    for (const t of f.outputs)
      found.check(this.declared.has(t) && !fixed.has(t), "output", () => `T6: %${t.name} is an input, a constant or not declared, so no output`);
    found.check(new Set(f.outputs).size === f.outputs.length, "output", () => "T6: a tensor is given twice");
  }
  /** Is the tensor's buffer filled through views of it? */
  private isViewed(t: Tensor): boolean {
    return [...this.f.layouts.values()].some((l) => l.view?.of === t);
  }

  private kernel(k: Kernel): void {
    const at = `@${k.name}`;
    this.found.about = k;
    if (k.control !== undefined) {
      this.control(k.control, at);
      return;
    }
    const locals = new Set(k.locals);
    const bound = new Set<Variable>();
    for (const a of k.axes) this.axis(a, at, bound, a.kind !== "reduction");
    const scan = k.axes.some((a) => a.kind === "scan");
    // In a scan an earlier step may have written what this one reads.
    const later = new Set(scan ? allStages(k).flatMap((s) => s.writes.map((w) => w.tensor)) : []);
    const names = new Set<string>();
    for (const s of allStages(k)) {
      this.found.check(!names.has(s.name), `@${s.name}`, () => "T1: two stages of a kernel have this name");
      names.add(s.name);
      this.found.about = s;
      const reason = this.options.forbidden?.(s, k) ?? null;
      if (reason !== null) this.found.add(`@${s.name}`, `T13: ${reason}`);
    }
    for (const s of k.stages) this.stage(s, bound, locals, later);
    if (k.identity !== undefined) this.identity(k, k.identity, at);
  }

  private identity(k: Kernel, { from, to }: Identity, at: string): void {
    const { f } = this;
    const dims = [from, to].map((t) => layoutOf(f, t).capacity?.dim);
    const write = soleStage(k)?.writes[0];
    const copies = write !== undefined && write.value.op === "load" && write.value.attr === from && rootOf(f, write.tensor) === to;
    const grows = dims[0] !== undefined && dims[0] === dims[1] && f.inputs.includes(from) && f.outputs.includes(to);
    this.found.check(copies && grows, at, () => `T16: is no copy of %${from.name} into an output %${to.name} that grows where it lies`);
  }

  private control(c: Control, at: string): void {
    const { found } = this;
    for (const t of readsOf({ name: "", axes: [], locals: [], stages: [], control: c })) {
      this.known(t, at, new Set());
      found.check(this.written.has(t) || this.viewsWritten(t), at, () => `T4: reads %${t.name} before anything writes it`);
    }
    const scalar = (t: Tensor, ok: boolean, what: string) =>
      found.check(t.dims.length === 0 && ok, at, () => `T14: %${t.name} has to be ${what}, but is ${t.dtype}[${t.dims.join(", ")}]`);
    if (c.kind === "bind") {
      scalar(c.value, c.value.dtype.isInteger, "an integer of rank 0");
      found.check(c.symbol.source === "data", at, () => `T14: '${c.symbol.name}' follows from the inputs, it is not bound`);
      return;
    }
    if (c.kind === "require") return;
    if (c.kind === "opaque") {
      const later = new Set(c.locals);
      verifyOpaque(c, { found, at, symbols: this.symbols, expr: (e, bound, visible) => this.expr(e, at, bound, visible, later) });
      for (const t of c.writes) {
        this.known(t, at, new Set());
        found.check(t.data === null && !this.f.inputs.includes(t), at, () => `T6: writes %${t.name}, an input or constant`);
        this.written.add(t);
      }
      return;
    }
    if (c.condition instanceof Tensor) scalar(c.condition, c.condition.dtype.kind === "bool", "a bool of rank 0");
    const expected =
      c.kind === "if"
        ? c.results.map((t) => ({ t, dims: t.dims }))
        : [
            ...[...(c.condition === null ? [] : [c.condition]), ...c.states].map((t) => ({ t, dims: t.dims })),
            ...c.stacked.map((t) => ({ t, dims: t.dims.slice(1) })),
          ];
    for (const b of c.bodies) {
      const before = new Set(this.written);
      for (const k of b.kernels) this.kernel(k);
      found.about = c;
      found.check(
        b.outputs.length === expected.length &&
          b.outputs.every((t, i) => t.dtype === expected[i]?.t.dtype && dimsEqual(t.dims, expected[i]?.dims ?? [])),
        at,
        () =>
          `T14: a body yields ${b.outputs.map((t) => `${t.dtype}[${t.dims.join(", ")}]`).join(", ")}, expected ${expected.map((e) => `${e.t.dtype}[${e.dims.join(", ")}]`).join(", ")}`,
      );
      for (const t of b.outputs) found.check(this.written.has(t) || this.viewsWritten(t), at, () => `T4: yields %${t.name}, which nothing writes`);
      for (const t of [...this.written]) if (!before.has(t)) this.inner.add(t);
      this.written.clear();
      for (const t of before) this.written.add(t);
    }
    for (const t of writesOf({ name: "", axes: [], locals: [], stages: [], control: c })) this.written.add(t);
  }

  private axis(a: Axis, at: string, bound: Set<Variable>, allowed: boolean): void {
    const { found } = this;
    found.check(allowed, at, () => `T8: axis '${a.variable.name}' cannot be a ${a.kind} axis here`);
    found.check(!bound.has(a.variable), at, () => `T3: axis '${a.variable.name}' is bound twice`);
    if (typeof a.extent === "number")
      found.check(
        a.variable.max === a.extent - 1,
        at,
        () => `T8: axis '${a.variable.name}' has extent ${a.extent}, but its variable ends at ${a.variable.max}`,
      );
    else for (const s of dimSymbols(a.extent).keys()) found.check(this.symbols.has(s), at, () => `T12: symbol '${s}' is not declared`);
    bound.add(a.variable);
  }

  private stage(s: Stage, outer: ReadonlySet<Variable>, locals: ReadonlySet<Tensor>, later: ReadonlySet<Tensor>): void {
    const { found } = this;
    const at = `@${s.name}`;
    found.about = s;
    const axes = new Set(outer);
    for (const a of s.axes) this.axis(a, at, axes, a.kind !== "scan");
    const reductions = new Set(s.axes.filter((a) => a.kind === "reduction").map((a) => a.variable));
    let visible = locals;
    if (s.inner !== null) {
      const { inner } = s;
      found.check(reductions.has(inner.axis), at, () => `T9: '${inner.axis.name}' is no reduction axis of this stage`);
      visible = new Set([...locals, ...inner.locals]);
      for (const t of inner.stages) this.stage(t, axes, visible, later);
      found.about = s;
    }
    found.check(reductions.size > 0 === s.accumulators.length > 0, at, () =>
      reductions.size > 0 ? "T5: a stage that reduces has accumulators" : "T5: accumulators without a reduction axis",
    );
    const left = new Set([...axes, ...s.accumulators.map((a) => a.left)]);
    const both = new Set([...left, ...s.accumulators.map((a) => a.right)]);
    for (const a of s.accumulators) this.accumulator(s, a, axes, both, visible, later);
    for (const w of s.writes) this.write(s, w, left, reductions, visible, later);
    for (const w of s.writes) this.written.add(w.tensor);
  }

  private accumulator(
    s: Stage,
    a: Accumulator,
    axes: ReadonlySet<Variable>,
    both: ReadonlySet<Variable>,
    visible: ReadonlySet<Tensor>,
    later: ReadonlySet<Tensor>,
  ): void {
    const { found } = this;
    const at = `@${s.name}`;
    const name = a.left.name;
    found.about = a;
    const parallel = new Set(s.axes.filter((x) => x.kind === "parallel").map((x) => x.variable));
    found.check(
      a.axes.every((v) => parallel.has(v)) && new Set(a.axes).size === a.axes.length,
      at,
      () => `T5: accumulator '${name}' is indexed by something else than distinct parallel axes`,
    );
    for (const [what, d] of [
      ["element", a.right.dtype],
      ["identity", a.identity.dtype],
      ["lift", a.lift.dtype],
      ["combine", a.combine.dtype],
    ] as const)
      found.check(d === a.left.dtype, at, () => `T5: '${name}' is ${a.left.dtype}, its ${what} ${d}`);
    this.expr(a.identity, at, axes, visible, later);
    this.expr(a.lift, at, axes, visible, later);
    this.expr(a.combine, at, both, visible, later);
  }

  private write(
    s: Stage,
    w: Write,
    bound: ReadonlySet<Variable>,
    reductions: ReadonlySet<Variable>,
    visible: ReadonlySet<Tensor>,
    later: ReadonlySet<Tensor>,
  ): void {
    const { found } = this;
    const at = `@${s.name}`;
    const t = w.tensor;
    found.about = w;
    this.known(t, at, visible);
    found.check(t.data === null && !this.f.inputs.includes(t), at, () => `T6: writes %${t.name}, an input or constant`);
    found.check(w.value.dtype === t.dtype, at, () => `T7: writes ${w.value.dtype} to %${t.name}, which is ${t.dtype}`);
    found.check(w.index.length === t.dims.length, at, () => `T2: writes %${t.name} of rank ${t.dims.length} at ${w.index.length} indices`);
    if (w.guard !== null)
      found.check(
        w.guard.dtype.kind === "bool" && w.guard.lanes === 1,
        at,
        () => `T7: the guard of the write to %${t.name} is ${w.guard?.dtype}, no bool`,
      );
    for (const e of [...w.index, w.value, ...(w.guard === null ? [] : [w.guard])]) {
      this.expr(e, at, bound, visible, later);
      for (const v of mentionedIn(e))
        found.check(!reductions.has(v), at, () => `T7: the write to %${t.name} mentions the reduction axis '${v.name}'`);
    }
    for (const i of w.index)
      found.check(i.dtype.name === "i32" && i.lanes === 1, at, () => `T2: index ${printExpr(i)} of the write to %${t.name} is no i32`);
    if (w.combiner === null) this.plain(s, w, at);
  }

  /** Points that the index does not tell apart must write the same value. */
  private plain(s: Stage, w: Write, at: string): void {
    const told = new Set(w.index.flatMap((e) => [...mentionedIn(e)]));
    const values = new Set(mentionedIn(w.value));
    for (const a of s.accumulators) if (values.has(a.left)) for (const v of a.axes) values.add(v);
    for (const a of s.axes) {
      const once = a.kind !== "parallel" || a.extent === 1 || told.has(a.variable) || !values.has(a.variable);
      this.found.check(once, at, () => `T7: points along '${a.variable.name}' all write the same element of %${w.tensor.name}, without a combiner`);
    }
  }

  private known(t: Tensor, at: string, visible: ReadonlySet<Tensor>): void {
    this.found.check(this.declared.has(t) || visible.has(t), at, () => `T1: %${t.name} is not declared here`);
  }

  private expr(root: Expr, at: string, bound: ReadonlySet<Variable>, visible: ReadonlySet<Tensor>, later: ReadonlySet<Tensor>): void {
    const { found } = this;
    for (const v of mentionedIn(root)) {
      const symbol = v.extent === null && this.symbols.has(v.name);
      found.check(bound.has(v) || symbol, at, () => `T3: '${v.name}' is not bound in ${printExpr(root)}`);
    }
    for (const e of postorder([root])) {
      if (e.op === "load") {
        const t = e.attr;
        if (!(t instanceof Tensor)) {
          found.add(at, "T1: reads something that is no tensor");
          continue;
        }
        this.known(t, at, visible);
        if (!this.declared.has(t) && !visible.has(t)) continue;
        found.check(e.args.length === t.dims.length, at, () => `T2: reads %${t.name} of rank ${t.dims.length} at ${e.args.length} indices`);
        found.check(this.written.has(t) || later.has(t) || this.viewsWritten(t), at, () => `T4: reads %${t.name} before anything writes it`);
      }
      if (this.checked.has(e)) continue;
      this.checked.add(e);
      if (e.lanes !== 1 || e.op === "loadat" || e.op === "ramp" || e.op === "broadcast" || e.op === "extract" || e.op === "insert")
        found.add(at, `T2: ${e.op} belongs to loop IR`);
      const fault = operationFault(e);
      if (fault !== null) found.add(at, `T11: ${fault}`);
    }
  }

  /** A tensor holds values too once a view of its buffer, or the buffer that it is a view of, was written. */
  private viewsWritten(t: Tensor): boolean {
    const root = (x: Tensor): Tensor => {
      let r = x;
      // As many steps as there are layouts, so that a circle (T10) ends too.
      for (let i = 0; i < this.f.layouts.size; i++) r = this.f.layouts.get(r)?.view?.of ?? r;
      return r;
    };
    return this.f.layouts.size > 0 && [...this.written].some((w) => root(w) === root(t));
  }
}
