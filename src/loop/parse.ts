import type { DimSymbol } from "../base/dim.ts";
import { type DType, findDType, i32 } from "../base/dtype.ts";
import type { Reader } from "../base/text.ts";
import type { Expr, Variable } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import { type Scope, parseExpr } from "../scalar/text.ts";
import {
  type Allocation,
  Buffer,
  type DataSymbol,
  type Fault,
  type Kernel,
  type LoopKind,
  type MemorySpace,
  type Param,
  type Port,
  type Program,
  type Scratch,
  type Stmt,
  type WeightSlot,
} from "./ir.ts";

/** Reads one `program @name { … }`, as `printProgram` prints it. @throws UserError `syntax`, with the place */
export function parseProgram(r: Reader, sc: Scalars): Program {
  return new ProgramParser(r, sc).program();
}

const spaces: readonly string[] = ["param", "register", "scratch"] satisfies MemorySpace[];

/** What names mean in one block; a nested block starts from its parent's. */
class Block {
  readonly variables: Map<string, Variable>;
  readonly buffers: Map<string, Buffer>;
  /** Names that `let` does not declare but binds: sizes that main computes. */
  readonly data: Map<string, Variable>;
  constructor(parent: Block | null = null) {
    this.data = parent?.data ?? new Map();
    this.variables = new Map(parent?.variables);
    this.buffers = new Map(parent?.buffers);
  }
}

class ProgramParser {
  private readonly r: Reader;
  private readonly sc: Scalars;
  private readonly kernels = new Map<string, Kernel>();

  constructor(r: Reader, sc: Scalars) {
    this.r = r;
    this.sc = sc;
  }

  program(): Program {
    const { r, sc } = this;
    r.symbols.clear();
    r.expect("program");
    const name = r.symbol();
    const symbols: DimSymbol[] = [];
    const weightSlots: WeightSlot[] = [];
    const allocations: Allocation[] = [];
    const [inputs, outputs]: [Port[], Port[]] = [[], []];
    const main = new Block();
    const dataSymbols: DataSymbol[] = [];
    const faults: Fault[] = [];
    let [room, report]: [Variable | null, Expr | null] = [null, null];
    let memory: { weights: Variable; arena: Variable; bytes: Expr } | null = null;
    r.expect("{");
    for (;;) {
      if (r.accept("symbol")) {
        const symbol = r.symbolDeclaration();
        const variable = sc.symbol(symbol);
        main.variables.set(symbol.name, variable);
        if (symbol.source === "input") symbols.push(symbol);
        else {
          dataSymbols.push({ symbol, variable });
          main.data.set(symbol.name, variable);
        }
      } else if (r.accept("weight")) weightSlots.push(this.weight());
      else if (r.accept("memory")) {
        const weights = this.declare(main, r.name(), { min: 0 });
        r.expect(",");
        const arena = this.declare(main, r.name(), { min: 0 });
        r.expect("bytes");
        memory = { weights, arena, bytes: this.expr(main) };
      } else if (r.accept("fault")) {
        const isRoom = r.accept("room");
        faults.push({ text: r.string(), ...(isRoom ? { room: true } : {}) });
      } else if (r.accept("room")) room = this.declare(main, r.name(), { min: 0 });
      else if (r.accept("report")) report = this.index(main);
      else if (r.accept("alloc")) allocations.push(this.allocation(main));
      else if (r.accept("input")) inputs.push(this.port(main));
      else if (r.accept("output")) outputs.push(this.port(main));
      else if (r.accept("kernel")) this.kernel(symbols);
      else break;
    }
    const at = r.peek();
    if (memory === null) return r.fail("expected 'memory weights, arena bytes N' before 'main'", at);
    r.expect("main");
    const body = this.block(main, () => this.buffer(main).buffer);
    r.expect("}");
    return {
      name,
      symbols,
      symbolVariables: symbols.map((s) => sc.symbol(s)),
      kernels: [...this.kernels.values()],
      arena: memory.arena,
      weights: memory.weights,
      main: body,
      allocations,
      arenaBytes: memory.bytes,
      weightSlots,
      inputs,
      outputs,
      dataSymbols,
      report,
      faults,
      room,
    };
  }

  private allocation(main: Block): Allocation {
    const { r } = this;
    const name = r.value();
    r.expect("as");
    const address = this.declare(main, r.name(), { min: 0 });
    r.expect("bytes");
    const bytes = this.expr(main);
    return { name, address, bytes, ...(r.accept("dynamic") ? { dynamic: true } : {}) };
  }
  private weight(): WeightSlot {
    const { r } = this;
    const name = r.value();
    r.expect("at");
    const offset = r.number();
    r.expect("bytes");
    return { name, offset, bytes: r.number() };
  }
  private port(main: Block): Port {
    const { r } = this;
    const name = r.value();
    r.expect(":");
    const dtype = r.dtype();
    const dims = r.list("[", "]", () => r.dim());
    r.expect("at");
    return { name, dtype, dims, address: this.expr(main) };
  }

  private expr(b: Block): Expr {
    const scope: Scope = { variable: (n) => b.variables.get(n) ?? null, storage: (n) => b.buffers.get(n) ?? null };
    return parseExpr(this.r, this.sc, scope);
  }
  /** A scalar i32 expression. */
  private index(b: Block): Expr {
    const at = this.r.peek();
    const e = this.expr(b);
    return e.dtype === i32 && e.lanes === 1 ? e : this.r.fail(`expected an i32, got ${e.dtype}${e.lanes === 1 ? "" : `x${e.lanes}`}`, at);
  }

  private declare(
    b: Block,
    name: string,
    facts: { min?: number; max?: number; multiple?: number; extent?: Expr; lanes?: number },
    dtype: DType = i32,
  ): Variable {
    const v = this.sc.variable(name, dtype, facts);
    b.variables.set(name, v);
    return v;
  }
  private facts(): { min?: number; max?: number; multiple?: number } {
    const { r } = this;
    const out: { min?: number; max?: number; multiple?: number } = {};
    if (r.accept("min")) out.min = r.number();
    if (r.accept("max")) out.max = r.number();
    if (r.accept("multiple")) out.multiple = r.number();
    return out;
  }
  /** `i32`, or `f32x4` for a vector. */
  private type(): { dtype: DType; lanes: number } {
    const { r } = this;
    const at = r.peek();
    const text = r.name();
    const scalar = findDType(text);
    if (scalar !== null) return { dtype: scalar, lanes: 1 };
    const m = /^(.+)x(\d+)$/.exec(text);
    const dtype = findDType(m?.[1] ?? "");
    const lanes = Number(m?.[2]);
    if (dtype === null || !(lanes > 1 && lanes <= 64)) return r.fail(`expected a dtype or a vector of one, such as f32x4, got '${text}'`, at);
    return { dtype, lanes };
  }
  private buffer(b: Block): { buffer: Buffer; written: boolean } {
    const { r } = this;
    const written = r.accept("out");
    const at = r.peek();
    const space = r.name();
    if (!spaces.includes(space)) r.fail(`expected a memory space (${spaces.join(", ")}), got '${space}'`, at);
    const name = r.value();
    r.expect(":");
    const dtype = r.dtype();
    let size: Expr | null = null;
    if (r.accept("[")) {
      size = this.index(b);
      r.expect("]");
    }
    const buffer = new Buffer(this.sc.freshId(), name, dtype, space as MemorySpace, size);
    b.buffers.set(name, buffer);
    return { buffer, written };
  }

  private kernel(symbols: readonly DimSymbol[]): void {
    const { r } = this;
    const at = r.peek();
    const name = r.symbol();
    if (this.kernels.has(name)) r.fail(`kernel '@${name}' is defined twice`, at);
    const b = new Block();
    for (const s of symbols) b.variables.set(s.name, this.sc.symbol(s));
    const writes = new Set<Buffer>();
    const buffer = (): Buffer => {
      const x = this.buffer(b);
      if (x.written) writes.add(x.buffer);
      return x.buffer;
    };
    const params = r.list("(", ")", (): Param => {
      if (r.peek(1).kind === "value" || r.is("out")) return buffer();
      const v = r.name();
      r.expect(":");
      const { dtype, lanes } = this.type();
      return this.declare(b, v, { ...this.facts(), lanes }, dtype);
    });
    r.expect("over");
    r.expect("[");
    const begin = this.declare(b, r.name(), { min: 0 });
    r.expect(",");
    const end = this.declare(b, r.name(), { min: 0 });
    r.expect(")");
    const body = this.block(b, buffer);
    this.kernels.set(name, { name, params, begin, end, body, writes });
  }

  /** `{ statements }`; names bound inside end with it. `uses` reads the declarations that open a kernel. */
  private block(outer: Block, uses: (() => Buffer) | null = null): Stmt[] {
    const { r } = this;
    return r.nested(() => {
      r.expect("{");
      while (uses !== null && r.accept("uses")) uses();
      const b = new Block(outer);
      const out: Stmt[] = [];
      while (!r.accept("}")) out.push(this.stmt(b));
      return out;
    });
  }

  private stmt(b: Block): Stmt {
    const { r } = this;
    if (r.peek().kind === "value") return this.store(b);
    if (r.accept("for")) return this.loop(b);
    if (r.accept("let")) {
      const name = r.name();
      r.expect(":");
      const { dtype, lanes } = this.type();
      const facts = this.facts();
      r.expect("=");
      const value = this.expr(b);
      return { kind: "let", variable: b.data.get(name) ?? this.declare(b, name, { ...facts, lanes }, dtype), value };
    }
    if (r.accept("if")) {
      const condition = this.expr(b);
      const then = this.block(b);
      return { kind: "if", condition, then, otherwise: r.accept("else") ? this.block(b) : [] };
    }
    if (r.accept("while")) return { kind: "while", condition: this.expr(b), body: this.block(b) };
    if (r.accept("require")) return this.require(b);
    if (r.accept("alloc")) return { kind: "alloc", buffer: this.buffer(b).buffer };
    if (r.accept("launch")) return this.launch(b);
    const at = r.peek();
    if (at.kind !== "name") return r.fail(`expected a statement, got '${at.text}'`);
    const variable = b.variables.get(r.name()) ?? r.fail(`unknown name '${at.text}'`, at);
    r.expect("=");
    return { kind: "assign", variable, value: this.expr(b) };
  }

  private require(b: Block): Stmt {
    const { r } = this;
    const condition = this.expr(b);
    r.expect("fault");
    const fault = r.number();
    r.expect("got");
    return { kind: "require", condition, fault, value: this.index(b) };
  }

  private store(b: Block): Stmt {
    const { r } = this;
    const at = r.peek();
    const buffer = b.buffers.get(r.value()) ?? r.fail(`unknown buffer '${at.text}'`, at);
    if (r.accept("{")) {
      const address = this.index(b);
      r.expect(",");
      const offset = r.number();
      r.expect("}");
      r.expect("=");
      return { kind: "storeat", buffer, address, offset, value: this.expr(b) };
    }
    r.expect("[");
    const index = this.expr(b);
    r.expect("]");
    r.expect("=");
    return { kind: "store", buffer, index, value: this.expr(b) };
  }

  private loop(b: Block): Stmt {
    const { r } = this;
    const name = r.name();
    const facts = this.facts();
    r.expect("in");
    r.expect("[");
    const begin = this.index(b);
    r.expect(",");
    const end = this.index(b);
    r.expect(")");
    let extent = begin.isConst(0) ? end : null;
    if (r.accept("extent")) extent = r.accept("none") ? null : this.index(b);
    const loop: LoopKind = r.accept("vector") ? "vector" : r.accept("unrolled") ? "unrolled" : "serial";
    const inner = new Block(b);
    const variable = this.declare(inner, name, extent === null ? facts : { ...facts, extent });
    return { kind: "for", variable, begin, end, loop, body: this.block(inner) };
  }

  private launch(b: Block): Stmt {
    const { r } = this;
    const at = r.peek();
    const kernel = this.kernels.get(r.symbol()) ?? r.fail(`unknown kernel '${at.text}'`, at);
    const args = r.list("(", ")", () => this.expr(b));
    r.expect("over");
    r.expect("[");
    r.expect("0");
    r.expect(",");
    const count = this.index(b);
    r.expect(")");
    const rows = r.accept("in");
    if (rows) {
      r.expect("rows");
      r.expect("of");
    }
    const row = rows ? { row: this.index(b) } : {};
    r.expect("grain");
    const grain = this.index(b);
    let threadsFrom: number | null = null;
    if (r.accept("threads")) {
      r.expect("from");
      threadsFrom = r.number();
    }
    const scratch: Scratch[] = [];
    if (r.accept("scratch")) {
      while (r.accept("(")) {
        const arg = r.number();
        r.expect(",");
        scratch.push({ arg, bytes: this.index(b) });
        r.expect(")");
      }
    }
    const inPlace: (readonly [Variable, Variable])[] = [];
    const address = (): Variable => {
      const t = r.peek();
      return b.variables.get(r.name()) ?? r.fail(`unknown name '${t.text}'`, t);
    };
    if (r.accept("inplace")) {
      while (r.accept("(")) {
        const result = address();
        r.expect(",");
        inPlace.push([result, address()]);
        r.expect(")");
      }
    }
    const origin: string[] = [];
    if (r.accept("from")) while (r.peek().kind === "string") origin.push(r.string());
    return { kind: "launch", kernel, args, count, ...row, grain, threadsFrom, scratch, origin, inPlace };
  }
}
