import { type ConstantData, inlineConstant } from "../base/constant.ts";
import type { Dim } from "../base/dim.ts";
import { type DType, i32 } from "../base/dtype.ts";
import { hexToBytes } from "../base/hex.ts";
import type { Reader } from "../base/text.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Scope, parseExpr } from "../scalar/text.ts";
import { type Accumulator, type Axis, type AxisKind, type Inner, type Kernel, type Layout, type Stage, Tensor, type TensorFunction, type Write, type WriteCombiner } from "./ir.ts";

/** Reads one `tensor @name { … }`. @throws UserError `syntax`, with the place. */
export function parseTensor(r: Reader, sc: Scalars): TensorFunction {
  return new TensorParser(r, sc).function();
}

class TensorParser {
  private readonly r: Reader;
  private readonly sc: Scalars;
  private readonly tensors = new Map<string, Tensor>();
  private readonly layouts = new Map<Tensor, Layout>();

  constructor(r: Reader, sc: Scalars) {
    this.r = r;
    this.sc = sc;
  }

  function(): TensorFunction {
    const r = this.r;
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
        const t = this.declaration();
        inputs.push(t);
        all.push(t);
      } else if (r.accept("constant")) all.push(this.constant());
      else if (r.accept("temp")) all.push(this.declaration());
      else if (r.accept("kernel")) kernels.push(this.kernel());
      else if (r.accept("output")) {
        do outputs.push(this.lookup(r.value()));
        while (r.accept(","));
      } else r.fail(`expected 'symbol', 'input', 'constant', 'temp', 'kernel' or 'output', got '${r.peek().text}'`);
    }
    return { name, symbols: [...r.symbols.values()], inputs, outputs, tensors: all, kernels, layouts: this.layouts };
  }

  private lookup(name: string): Tensor {
    return this.tensors.get(name) ?? this.r.fail(`unknown tensor '%${name}'`);
  }

  private declaration(): Tensor {
    const h = this.header();
    return this.declare(h.name, h.dtype, h.dims, null);
  }
  private header(): { name: string; dtype: DType; dims: Dim[] } {
    const name = this.r.value();
    this.r.expect(":");
    const dtype = this.r.dtype();
    return { name, dtype, dims: this.r.list("[", "]", () => this.r.dim()) };
  }
  private declare(name: string, dtype: DType, dims: readonly Dim[], data: ConstantData | null): Tensor {
    if (this.tensors.has(name)) this.r.fail(`'%${name}' is declared twice`);
    const t = new Tensor(this.sc.freshId(), name, dtype, dims, data);
    this.tensors.set(name, t);
    this.layout(t);
    return t;
  }
  private layout(t: Tensor): void {
    const r = this.r;
    if (!r.accept("order")) return;
    const order = r.list("(", ")", () => r.number());
    const pad = r.accept("pad") ? r.list("(", ")", () => [r.number(), r.number()] as const) : order.map(() => [0, 0] as const);
    let view: Layout["view"] = null;
    if (r.accept("view")) {
      const of = this.lookup(r.value());
      view = { of, offset: r.list("(", ")", () => r.dim()) };
    }
    this.layouts.set(t, { order, pad, view });
  }
  private constant(): Tensor {
    const h = this.header();
    this.r.expect("=");
    const at = this.r.peek();
    if (!this.r.accept("hex")) this.r.fail("only constants given as hex(\"…\") can be read; this one was too large to print", at);
    this.r.expect("(");
    const text = this.r.string();
    this.r.expect(")");
    return this.declare(h.name, h.dtype, h.dims, inlineConstant(hexToBytes(text)));
  }

  private axes(scope: Map<string, Variable>): Axis[] {
    const r = this.r;
    return r.list("[", "]", () => {
      const kind: AxisKind = r.accept("red") ? "reduction" : r.accept("scan") ? "scan" : "parallel";
      const name = r.name();
      r.expect(":");
      const extent = r.dim();
      const variable = this.sc.variable(name, i32, { extent: this.sc.dim(extent) });
      scope.set(name, variable);
      return { variable, extent, kind };
    });
  }

  private kernel(): Kernel {
    const r = this.r;
    const name = r.symbol();
    const scope = new Map<string, Variable>();
    const axes = r.is("[") ? this.axes(scope) : [];
    const { locals, stages } = this.body(scope);
    return { name, axes, locals, stages };
  }
  private body(scope: Map<string, Variable>): { locals: Tensor[]; stages: Stage[] } {
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
    const origin: string[] = [];
    if (r.accept("from")) while (r.peek().kind === "string") origin.push(r.string());
    let inner: Inner | null = null;
    const accumulators: Accumulator[] = [];
    const writes: Write[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      if (r.accept("at")) {
        const axis = scope.get(r.name()) ?? r.fail("unknown axis");
        inner = { axis, ...this.body(scope) };
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

  /** `acc m[i]: f32 init -inf lift %s[i, k] combine max(m, m')`; all accumulators of a stage see each other. */
  private accumulator(scope: Map<string, Variable>): Accumulator {
    const r = this.r;
    const name = r.name();
    const axes = r.list("[", "]", () => scope.get(r.name()) ?? r.fail("unknown axis"));
    r.expect(":");
    const dtype = r.dtype();
    const left = scope.get(name) ?? this.sc.variable(name, dtype);
    const right = scope.get(`${name}'`) ?? this.sc.variable(`${name}'`, dtype);
    scope.set(name, left);
    scope.set(`${name}'`, right);
    r.expect("init");
    const identity = this.expr(scope);
    r.expect("lift");
    const lift = this.expr(scope);
    r.expect("combine");
    return { left, right, axes, identity, lift, combine: this.expr(scope) };
  }
  private write(scope: ReadonlyMap<string, Variable>): Write {
    const r = this.r;
    const tensor = this.lookup(r.value());
    const index = r.list("[", "]", () => this.expr(scope));
    let combiner: WriteCombiner | null = null;
    if (r.accept("+=")) combiner = "add";
    else {
      r.expect("=");
      if ((r.is("min") || r.is("max") || r.is("mul")) && r.peek(1).text !== "(") combiner = r.name() as WriteCombiner;
    }
    return { tensor, index, value: this.expr(scope), combiner };
  }
}

