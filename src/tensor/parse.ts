import type { ConstantData } from "../base/constant.ts";
import { readData } from "../base/data-text.ts";
import type { Dim, DimSymbol } from "../base/dim.ts";
import { type DType, findDType, i32 } from "../base/dtype.ts";
import type { Reader, Token } from "../base/text.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Scope, parseExpr } from "../scalar/text.ts";
import {
  type Accumulator,
  type Axis,
  type AxisKind,
  type Body,
  type Capacity,
  type Control,
  type Identity,
  type Inner,
  type Kernel,
  type Layout,
  type SizeCondition,
  type Stage,
  Tensor,
  type TensorFunction,
  type Write,
  type WriteCombiner,
} from "./ir.ts";
import type { Opaque } from "./opaque.ts";
import { parseStatements } from "./opaque-text.ts";

/** Reads one `tensor @name { … }`, as `printTensor` prints it. @throws UserError `syntax`, with the place. */
export function parseTensor(r: Reader, sc: Scalars): TensorFunction {
  return new TensorParser(r, sc).function();
}

/** A layout as it is written; the tensor it is a view of may be declared later. */
interface WrittenLayout {
  readonly tensor: Tensor;
  readonly order: readonly number[];
  readonly pad: Layout["pad"];
  readonly capacity?: Capacity;
  readonly view: { readonly of: Token; readonly offset: readonly Dim[]; readonly axes?: readonly number[] } | null;
}

class TensorParser {
  private readonly r: Reader;
  private readonly sc: Scalars;
  private readonly tensors = new Map<string, Tensor>();
  private readonly layouts: WrittenLayout[] = [];

  constructor(r: Reader, sc: Scalars) {
    this.r = r;
    this.sc = sc;
  }

  function(): TensorFunction {
    const r = this.r;
    r.symbols.clear();
    r.expect("tensor");
    const name = r.symbol();
    const inputs: Tensor[] = [];
    const outputs: Tensor[] = [];
    const all: Tensor[] = [];
    const kernels: Kernel[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      if (r.accept("symbol")) r.symbolDeclaration();
      else if (r.accept("input")) {
        const t = this.declaration(true);
        inputs.push(t);
        all.push(t);
      } else if (r.accept("constant")) all.push(this.constant());
      else if (r.accept("temp")) all.push(this.declaration());
      else if (this.atStep()) kernels.push(this.step());
      else if (r.accept("output")) {
        if (r.is("}")) continue;
        do outputs.push(this.lookup(r.peek(), r.value()));
        while (r.accept(","));
      } else r.fail(`expected 'symbol', 'input', 'constant', 'temp', 'kernel' or 'output', got '${r.peek().text}'`);
    }
    const layouts = new Map(
      this.layouts.map(({ tensor, ...l }): [Tensor, Layout] => [
        tensor,
        { ...l, view: l.view === null ? null : { ...l.view, of: this.lookup(l.view.of, l.view.of.text.slice(1)) } },
      ]),
    );
    return { name, symbols: [...r.symbols.values()], inputs, outputs, tensors: all, kernels, layouts };
  }

  private lookup(at: Token, name: string): Tensor {
    return this.tensors.get(name) ?? this.r.fail(`unknown tensor '%${name}'`, at);
  }

  private declaration(isInput = false): Tensor {
    const h = this.header(isInput);
    return this.declare(h, null);
  }
  private header(isInput = false): { name: string; dtype: DType; dims: Dim[]; origin: string[]; at: Token } {
    const at = this.r.peek();
    const name = this.r.value();
    this.r.expect(":");
    const dtype = this.r.dtype();
    const dims = this.r.list("[", "]", () => this.r.dim());
    return { name, dtype, dims, origin: isInput && !this.r.is("from") ? [name] : this.origin(), at };
  }
  private origin(): string[] {
    const out: string[] = [];
    if (this.r.accept("from")) while (this.r.peek().kind === "string") out.push(this.r.string());
    return out;
  }
  private declare(h: ReturnType<TensorParser["header"]>, data: ConstantData | null, layout = true): Tensor {
    if (this.tensors.has(h.name)) this.r.fail(`'%${h.name}' is declared twice`, h.at);
    const t = new Tensor(this.sc.freshId(), h.name, h.dtype, h.dims, data, h.origin);
    this.tensors.set(h.name, t);
    if (layout) {
      const l = this.layout();
      if (l !== null) this.layouts.push({ tensor: t, ...l });
    }
    return t;
  }
  private layout(): Omit<WrittenLayout, "tensor"> | null {
    const r = this.r;
    if (!r.accept("order")) return null;
    const order = r.list("(", ")", () => r.number());
    const pad = r.accept("pad") ? r.list("(", ")", () => [r.number(), r.number()] as const) : order.map(() => [0, 0] as const);
    const capacity = r.accept("capacity") ? { capacity: this.capacity() } : {};
    if (!r.accept("view")) return { order, pad, ...capacity, view: null };
    const of = r.peek();
    r.value();
    const offset = r.list("(", ")", () => r.dim());
    const axes = r.accept("axes") ? r.list("(", ")", () => r.number()) : null;
    return { order, pad, ...capacity, view: { of, offset, ...(axes === null ? {} : { axes }) } };
  }
  private capacity(): Capacity {
    const r = this.r;
    r.expect("(");
    const dim = r.number();
    r.expect(",");
    const rows = r.dim();
    r.expect(")");
    return { dim, rows };
  }
  private constant(): Tensor {
    const h = this.header();
    const layout = this.layout();
    this.r.expect("=");
    const t = this.declare(h, readData(this.r, h.dtype, h.dims), false);
    if (layout !== null) this.layouts.push({ tensor: t, ...layout });
    return t;
  }

  private axes(scope: Map<string, Variable>): Axis[] {
    const r = this.r;
    return r.list("[", "]", () => {
      const kind: AxisKind = r.accept("red") ? "reduction" : r.accept("scan") ? "scan" : "parallel";
      const at = r.peek();
      const name = r.name();
      if (scope.has(name) || r.symbols.has(name)) r.fail(`'${name}' already has a meaning here`, at);
      r.expect(":");
      const extent = r.dim();
      const variable = this.sc.variable(name, i32, { extent: this.sc.dim(extent) });
      scope.set(name, variable);
      return { variable, extent, kind };
    });
  }

  /** Does a kernel begin here, or a step of the host program? */
  private atStep(): boolean {
    return ["kernel", "opaque", "bind", "require", "if", "loop"].some((word) => this.r.is(word));
  }
  private step(): Kernel {
    const r = this.r;
    if (r.accept("kernel")) return this.kernel();
    const kind = r.name();
    const name = r.symbol();
    return { name, axes: [], locals: [], stages: [], control: r.nested(() => this.control(kind)) };
  }
  private control(kind: string): Control {
    const r = this.r;
    switch (kind) {
      case "bind": {
        const symbol = this.dataSymbol();
        r.expect("=");
        return { kind, symbol, value: this.tensor() };
      }
      case "opaque":
        return this.opaque();
      case "require": {
        const a = r.dim();
        r.expect("==");
        return { kind, dims: [a, r.dim()] };
      }
      case "if": {
        const condition = r.peek().kind === "value" ? this.tensor() : this.sizeCondition();
        r.expect("->");
        const results = this.tensorList();
        const then = this.kernelBody();
        r.expect("else");
        return { kind, condition, bodies: [then, this.kernelBody()], results };
      }
      default: {
        const index = this.dataSymbol();
        r.expect("<");
        const length = r.dim();
        const condition = r.accept("while") ? this.tensor() : null;
        r.expect("turns");
        const turns = this.tensor();
        r.expect("states");
        const states = this.tensorList();
        r.expect("stacked");
        const stacked = this.tensorList();
        return { kind: "loop", index, length, condition, turns, states, stacked, bodies: [this.kernelBody()] };
      }
    }
  }
  private sizeCondition(): SizeCondition {
    const size = this.r.dim();
    this.r.expect(">=");
    return { size, least: this.r.number() };
  }
  private opaque(): Opaque {
    const { r, sc } = this;
    const variables = new Map<string, Variable>();
    const axes = this.axes(variables);
    r.expect("reads");
    const reads = this.tensorList();
    r.expect("writes");
    const writes = this.tensorList();
    r.expect("work");
    const work = r.dim();
    const origin = this.origin();
    r.expect("{");
    const locals: Tensor[] = [];
    while (r.accept("local")) locals.push(this.declaration());
    const symbol = (n: string): Variable | null => (r.symbols.has(n) ? sc.symbol(r.declare(n)) : null);
    const body = parseStatements(r, sc, { variables, symbol, tensor: (n) => this.tensors.get(n) ?? null });
    return { kind: "opaque", origin, axes, reads, writes, locals, work, body };
  }
  private dataSymbol(): DimSymbol {
    const at = this.r.peek();
    const s = this.r.declare(this.r.name());
    return s.source === "data" ? s : this.r.fail(`'${s.name}' is a size of the inputs; expected a symbol that is declared as data`, at);
  }
  private tensor(): Tensor {
    return this.lookup(this.r.peek(), this.r.value());
  }
  private tensorList(): Tensor[] {
    const out: Tensor[] = [];
    if (this.r.peek().kind !== "value") return out;
    do out.push(this.tensor());
    while (this.r.accept(","));
    return out;
  }
  private kernelBody(): Body {
    const r = this.r;
    const kernels: Kernel[] = [];
    r.expect("{");
    while (!r.accept("yield")) {
      if (!this.atStep()) r.fail(`expected a kernel, a step or 'yield', got '${r.peek().text}'`);
      kernels.push(this.step());
    }
    const outputs = this.tensorList();
    r.expect("}");
    return { kernels, outputs };
  }

  private kernel(): Kernel {
    const r = this.r;
    const name = r.symbol();
    const scope = new Map<string, Variable>();
    const axes = r.is("[") ? this.axes(scope) : [];
    const identity = r.accept("identity") ? { identity: this.identity() } : {};
    const { locals, stages } = this.body(scope);
    return { name, axes, locals, stages, ...identity };
  }
  private identity(): Identity {
    const from = this.tensor();
    this.r.expect("->");
    return { from, to: this.tensor() };
  }
  private body(scope: ReadonlyMap<string, Variable>): { locals: Tensor[]; stages: Stage[] } {
    const r = this.r;
    const locals: Tensor[] = [];
    const stages: Stage[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      if (r.accept("local")) locals.push(this.declaration());
      else if (r.accept("stage")) stages.push(this.stage(scope));
      else r.fail(`expected 'local' or 'stage', got '${r.peek().text}'`);
    }
    return { locals, stages };
  }

  private stage(outer: ReadonlyMap<string, Variable>): Stage {
    const r = this.r;
    const name = r.symbol();
    const scope = new Map(outer);
    const axes = this.axes(scope);
    const origin = this.origin();
    let inner: Inner | null = null;
    const accumulators: Accumulator[] = [];
    const writes: Write[] = [];
    r.expect("{");
    const axesOnly = new Map(scope);
    this.announceAccumulators(scope);
    while (!r.accept("}")) {
      if (r.accept("at")) {
        const at = r.peek();
        const axis = scope.get(r.name()) ?? r.fail(`unknown axis '${at.text}'`, at);
        if (inner !== null) r.fail("a stage holds others in one place only", at);
        inner = { axis, ...r.nested(() => this.body(axesOnly)) };
      } else if (r.accept("acc")) accumulators.push(this.accumulator(scope));
      else writes.push(this.write(scope));
    }
    return { name, origin, axes, inner, accumulators, writes };
  }

  private expr(scope: ReadonlyMap<string, Variable>): Expr {
    const names: Scope = {
      variable: (n) => scope.get(n) ?? (this.r.symbols.has(n) ? this.sc.symbol(this.r.declare(n)) : null),
      storage: (n) => this.tensors.get(n) ?? null,
    };
    return parseExpr(this.r, this.sc, names);
  }

  /** Accumulators see each other whatever their order: their variables are made before their expressions are read. */
  private announceAccumulators(scope: Map<string, Variable>): void {
    const r = this.r;
    let depth = 0;
    for (let i = 0; r.peek(i).kind !== "end"; i++) {
      const { text, kind } = r.peek(i);
      if (kind === "string") continue;
      if (text === "{") depth++;
      else if (text === "}" && depth-- === 0) return;
      // `acc acc[`: the second is the name.
      if (text !== "acc" || depth > 0 || r.peek(i + 1).kind !== "name" || r.peek(i + 2).text !== "[") continue;
      const name = r.peek(i + 1).text;
      let j = i + 2;
      while (r.peek(j).text !== ":" && r.peek(j).kind !== "end") j++;
      const dtype = findDType(r.peek(j + 1).text);
      if (dtype === null) continue;
      if (scope.has(name) || r.symbols.has(name)) r.fail(`'${name}' already has a meaning here`, r.peek(i + 1));
      scope.set(name, this.sc.variable(name, dtype)).set(`${name}'`, this.sc.variable(`${name}'`, dtype));
    }
  }

  /** `acc m[i]: f32 init -inf lift %s[i, k] combine max(m, m')` */
  private accumulator(scope: ReadonlyMap<string, Variable>): Accumulator {
    const r = this.r;
    const name = r.name();
    const axes = r.list("[", "]", () => scope.get(r.name()) ?? r.fail("unknown axis"));
    r.expect(":");
    r.dtype();
    const [left, right] = [scope.get(name), scope.get(`${name}'`)];
    if (left === undefined || right === undefined) return r.fail(`'${name}' is no accumulator`);
    r.expect("init");
    const identity = this.expr(scope);
    r.expect("lift");
    const lift = this.expr(scope);
    r.expect("combine");
    return { left, right, axes, identity, lift, combine: this.expr(scope) };
  }
  private write(scope: ReadonlyMap<string, Variable>): Write {
    const r = this.r;
    if (r.peek().kind !== "value") r.fail(`expected 'at', 'acc' or a write to a tensor, got '${r.peek().text}'`);
    const tensor = this.lookup(r.peek(), r.value());
    const index = r.list("[", "]", () => this.expr(scope));
    let combiner: WriteCombiner | null = null;
    if (r.accept("+=")) combiner = "add";
    else {
      if (r.is("min") || r.is("max") || r.is("mul")) combiner = r.name() as WriteCombiner;
      r.expect("=");
    }
    const value = this.expr(scope);
    return { tensor, index, value, combiner, guard: r.accept("if") ? this.expr(scope) : null };
  }
}
