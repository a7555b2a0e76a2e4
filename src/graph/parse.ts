import { readData } from "../base/data-text.ts";
import { dimsEqual } from "../base/dim.ts";
import { type DType, u8 } from "../base/dtype.ts";
import { TilewrightError } from "../base/errors.ts";
import { Names, type Reader, type Token } from "../base/text.ts";
import { GraphBuilder } from "./builder.ts";
import type { GraphFunction, Region, Value } from "./ir.ts";
import type { AnyAttrs, AttrKinds, TensorType } from "./op.ts";
import { printType } from "./print.ts";
import { findOp, hasOp } from "./registry.ts";

/**
 * Reads one `graph @name { … }`, as `printGraph` prints it. Attributes are read by the kinds that the op declares; the
 * types written for results must be those that the op infers.
 * @throws UserError `syntax`, with the place
 */
export function parseGraph(r: Reader): GraphFunction {
  return new GraphParser(r).function();
}

/** Values by name; those of a region end with it. */
type Scope = Map<string, Value>;

class GraphParser {
  private readonly r: Reader;
  /** Every name given so far: names are unique in the whole function. */
  private readonly taken = new Set<string>();
  private readonly names = new Names();

  constructor(r: Reader) {
    this.r = r;
  }

  function(): GraphFunction {
    const { r } = this;
    r.symbols.clear();
    r.expect("graph");
    const name = r.symbol();
    const b = new GraphBuilder(this.names);
    const scope: Scope = new Map();
    const params: Value[] = [];
    const results: Value[] = [];
    const resultNames: string[] = [];
    r.expect("{");
    while (!r.accept("}")) {
      if (r.accept("symbol")) r.symbolDeclaration();
      else if (r.accept("input")) {
        const { name: n, type } = this.declaration();
        params.push(this.bind(scope, b.value(n, type, r.is("from") ? this.origin() : [n])));
      } else if (r.accept("output")) {
        if (r.is("}")) continue;
        do {
          const v = this.use(scope);
          results.push(v);
          resultNames.push(r.accept("as") ? r.string() : v.name);
        } while (r.accept(","));
      } else this.op(b, scope);
    }
    return { ...b.finish(name, [...r.symbols.values()], results, resultNames), params };
  }

  private type(): TensorType {
    const dtype = this.r.dtype();
    return { dtype, dims: this.r.list("[", "]", () => this.r.dim()) };
  }
  /** `%name: f32[2, n]` of a value that is new. */
  private declaration(): { name: string; type: TensorType } {
    const { r } = this;
    const at = r.peek();
    const name = r.value();
    if (this.taken.has(name)) r.fail(`'%${name}' is defined twice`, at);
    this.taken.add(name);
    r.expect(":");
    return { name, type: this.type() };
  }
  private bind(scope: Scope, v: Value): Value {
    scope.set(v.name, v);
    return v;
  }
  private use(scope: Scope): Value {
    const at = this.r.peek();
    return scope.get(this.r.value()) ?? this.r.fail(`'${at.text}' is not defined here`, at);
  }
  private origin(): string[] {
    const { r } = this;
    const out: string[] = [];
    if (r.accept("from")) while (r.peek().kind === "string") out.push(r.string());
    return out;
  }

  private op(b: GraphBuilder, scope: Scope): void {
    const { r } = this;
    const declared: { name: string; type: TensorType; at: Token }[] = [];
    // An op without results, which binds a symbol or checks something, begins with its name.
    if (r.peek().kind !== "name") {
      if (r.peek().kind !== "value") r.fail(`expected 'symbol', 'input', 'output' or the result of an op, got '${r.peek().text}'`);
      do {
        const at = r.peek();
        declared.push({ ...this.declaration(), at });
      } while (r.accept(","));
      r.expect("=");
    }
    const at = r.peek();
    const name = r.name();
    if (!hasOp(name)) r.fail(`there is no op '${name}'`, at);
    const operands = r.list("(", ")", () => this.use(scope));
    const attrs = this.attrs(name);
    b.origin = this.origin();
    const regions: Region[] = [];
    while (r.accept("region")) regions.push(r.nested(() => this.region(b.nested(), scope)));
    const results = this.infer(at, () => b.op(name, operands, attrs, { regions, resultNames: declared.map((d) => d.name) }), name);
    if (results.length !== declared.length) r.fail(`'${name}' has ${results.length} results, ${declared.length} are written`, at);
    results.forEach((v, i) => {
      const d = declared[i] as (typeof declared)[0];
      if (v.dtype !== d.type.dtype || !dimsEqual(v.dims, d.type.dims))
        r.fail(`'%${v.name}' is written as ${printType(d.type)}, but '${name}' gives ${printType(v)}`, d.at);
      this.bind(scope, v);
    });
    b.origin = [];
  }

  /** What type inference finds fault with is an error at the op's place. */
  private infer<T>(at: Token, build: () => T, name: string): T {
    try {
      return build();
    } catch (e) {
      if (e instanceof TilewrightError) return this.r.fail(e.message, at);
      // An op's inference may trip over attributes that name dimensions its operands do not have.
      if (e instanceof TypeError || e instanceof RangeError) return this.r.fail(`the operands and attributes do not fit '${name}': ${e.message}`, at);
      throw e;
    }
  }

  private region(b: GraphBuilder, outer: Scope): Region {
    const { r } = this;
    b.origin = [];
    const scope: Scope = new Map(outer);
    const params = r.list("(", ")", () => {
      const { name, type } = this.declaration();
      return this.bind(scope, b.value(name, type));
    });
    r.expect("{");
    while (!r.is("yield")) this.op(b, scope);
    r.expect("yield");
    const results: Value[] = [];
    if (!r.is("}")) {
      do results.push(this.use(scope));
      while (r.accept(","));
    }
    r.expect("}");
    return b.region(params, results);
  }

  private attrs(op: string): AnyAttrs {
    const { r } = this;
    const schema = findOp(op).attrs;
    const out: Record<string, AttrKinds[keyof AttrKinds]> = {};
    if (!r.is("{")) return out;
    r.list("{", "}", () => {
      const at = r.peek();
      const key = r.name();
      const kind = Object.hasOwn(schema, key) ? schema[key] : undefined;
      if (kind === undefined) return r.fail(`'${op}' has no attribute '${key}'; it has: ${Object.keys(schema).join(", ") || "none"}`, at);
      if (Object.hasOwn(out, key)) r.fail(`attribute '${key}' is given twice`, at);
      r.expect("=");
      out[key] = this.attr(kind, out);
    });
    return out;
  }

  private int(): number {
    const at = this.r.peek();
    const v = this.r.number();
    return Number.isSafeInteger(v) ? v : this.r.fail(`expected a whole number, got ${v}`, at);
  }

  private attr(kind: keyof AttrKinds, before: AnyAttrs): AttrKinds[keyof AttrKinds] {
    const { r } = this;
    switch (kind) {
      case "int":
        return this.int();
      case "float":
        return r.number();
      case "bool": {
        const at = r.peek();
        const text = r.name();
        return text === "true" || text === "false" ? text === "true" : r.fail(`expected true or false, got '${text}'`, at);
      }
      case "word":
        return r.peek().kind === "string" ? r.string() : r.name();
      case "dtype":
        return r.dtype();
      case "ints":
        return r.list("[", "]", () => this.int());
      case "dims":
        return r.list("[", "]", () => r.dim());
      case "pairs":
        return r.list("[", "]", () => {
          const at = r.peek();
          const [a, b, more] = r.list("(", ")", () => this.int());
          return a === undefined || b === undefined || more !== undefined ? r.fail("expected a pair (a, b)", at) : ([a, b] as const);
        });
      case "data": {
        const { dtype, dims } = before as { dtype?: DType; dims?: readonly number[] };
        return readData(r, dtype ?? u8, dims ?? []);
      }
      default:
        throw kind satisfies never;
    }
  }
}
