import { InternalError } from "../../base/errors.ts";
import { i32 } from "../../base/dtype.ts";
import type { Names, Printer } from "../../base/text.ts";
import type { Kernel, Launch, Stmt } from "../../loop/ir.ts";
import { isBuffer } from "../../loop/ir.ts";
import type { Expr, Variable } from "../../scalar/expr.ts";
import { type Facts, factsOf } from "./addresses.ts";
import { ExpressionWriter, type Purpose } from "./expressions.ts";
import type { Level } from "./levels.ts";
import type { Prelude } from "./prelude.ts";
import { castTo } from "./render.ts";
import { cNames, scalarType } from "./types.ts";

/** Zero, and not the one with a sign. */
function isPlainZero(e: Expr): boolean {
  return e.isConst(0) && !Object.is(e.constant, -0);
}

/** A statement of one line: its declaration's type, if it is one, and the rest. */
interface Short {
  readonly type: string | null;
  readonly text: string;
}

/** Characters on a line, indentation apart, that short statements are put together on. */
const lineLength = 136;

/** Writes the statements of one function. */
export class FunctionWriter {
  readonly facts: Facts;
  readonly expressions: ExpressionWriter;
  private readonly out: Printer;
  private readonly wide: boolean;
  private readonly names: Names;
  private readonly nameOf = new Map<Variable, string>();
  /** Statements that are not written yet: short ones share a line. */
  private pending: Short[] = [];
  /** Variables that are declared where the writer is now. */
  private readonly declared = new Set<Variable>();
  /** How `launch` is written; only main has launches. */
  launch: (s: Launch) => void = () => {
    throw new InternalError("c", "a kernel cannot launch kernels");
  };

  /** Address of the report that `require` writes to; only main has one. */
  report: Expr | null = null;

  /** `roots`: addresses that the function is given. `wide`: i32 is computed in int64_t, as main does with sizes. */
  constructor(
    out: Printer,
    level: Level,
    prelude: Prelude,
    body: readonly Stmt[],
    roots: Iterable<Variable>,
    options: { wide: boolean; names?: Names },
  ) {
    this.out = out;
    this.wide = options.wide;
    this.names = options.names ?? cNames();
    this.facts = factsOf(body, roots);
    this.expressions = new ExpressionWriter(level, prelude, this.facts, (v) => this.name(v));
  }

  /** The C name of a variable. */
  name(v: Variable): string {
    let n = this.nameOf.get(v);
    if (n === undefined) {
      n = this.names.fresh(v.name);
      this.nameOf.set(v, n);
    }
    return n;
  }
  /** Declares a variable that the function is given. */
  given(v: Variable): string {
    this.declared.add(v);
    return this.name(v);
  }

  /** A variable's declaration: `const tw_byte *p`, `int32_t i`. */
  declaration(v: Variable, isAddress: boolean): string {
    if (isAddress) return `${this.facts.written.has(v) ? "" : "const "}tw_byte *${this.name(v)}`;
    if (v.lanes > 1) return `${this.expressions.vectorType(v.dtype, v.lanes)} ${this.name(v)}`;
    const type = scalarType(v.dtype);
    return `${this.wide && type === "int32_t" ? "int64_t" : type} ${this.name(v)}`;
  }

  text(e: Expr, purpose: Purpose = this.wide ? "wide" : "index"): string {
    return this.expressions.expr(e, purpose).text;
  }

  block(b: readonly Stmt[]): void {
    const bound: Variable[] = [];
    for (const s of b) {
      if (s.kind !== "let" && s.kind !== "assign" && s.kind !== "storeat") this.flush();
      this.stmt(s, bound);
    }
    this.flush();
    // Names end with their block.
    for (const v of bound) this.declared.delete(v);
  }

  private stmt(s: Stmt, bound: Variable[]): void {
    switch (s.kind) {
      case "let":
      case "assign":
        this.bind(s.variable, s.value, bound);
        return;
      case "storeat":
        this.store(s);
        return;
      case "for":
        this.loop(s);
        return;
      case "if": {
        this.out.block(`if (${this.condition(s.condition)})`, () => this.block(s.then));
        if (s.otherwise.length > 0) this.out.block("else", () => this.block(s.otherwise));
        return;
      }
      case "while":
        this.out.block(`while (${this.condition(s.condition)})`, () => this.block(s.body));
        return;
      case "require":
        this.require(s);
        return;
      case "launch":
        this.launch(s);
        return;
      case "store":
      case "alloc":
        throw new InternalError("c", `'${s.kind}' should have been lowered`);
      default:
        throw s satisfies never;
    }
  }

  private condition(e: Expr): string {
    return this.text(e, !this.wide && this.facts.isRead(e) ? "data" : undefined);
  }

  /** Where the condition does not hold, the function reports that and ends. */
  private require(s: Extract<Stmt, { kind: "require" }>): void {
    const { report } = this;
    if (report === null) throw new InternalError("c", "a function without a report requires something");
    const store = this.expressions.storeFunction(i32, 1);
    const place = (offset: number): string => this.expressions.pointer(report, offset, "wide").text;
    this.out.block(`if (!(${this.condition(s.condition)}))`, () => {
      this.out.line(`${store}(${place(0)}, ${1 + s.fault});`);
      this.out.line(`${store}(${place(4)}, ${castTo("int32_t", this.expressions.expr(s.value, "wide")).text});`);
      this.out.line("return;");
    });
  }

  private bind(v: Variable, value: Expr, bound: Variable[]): void {
    if (!this.facts.live.has(v)) return;
    const isAddress = this.facts.isAddress(value);
    const purpose = this.wide ? "wide" : this.facts.data.has(v) && !isAddress ? "data" : "index";
    const isZero =
      !this.declared.has(v) && value.lanes > 1 && value.op === "broadcast" && value.dtype.kind !== "bool" && isPlainZero(value.args[0] as Expr);
    // A vector of zeros needs no function.
    const text = isZero ? "{0}" : this.text(value, purpose);
    if (this.declared.has(v)) {
      const step = `${this.name(v)} + `;
      const stepped = text.startsWith(step) && !/[?<>=&|^]/.test(text);
      this.pending.push({ type: null, text: stepped ? `${this.name(v)} += ${text.slice(step.length)}` : `${this.name(v)} = ${text}` });
      return;
    }
    bound.push(v);
    this.declared.add(v);
    const declaration = this.declaration(v, isAddress);
    const at = declaration.length - this.name(v).length - (isAddress ? 1 : 0);
    this.pending.push({ type: declaration.slice(0, at), text: `${declaration.slice(at)} = ${text}` });
  }

  /** Writes what is pending: as many statements on a line as it holds, neighbours of one type in one declaration. */
  private flush(): void {
    let line = "";
    let type: string | null = null;
    for (const s of this.pending) {
      const joined: string = s.type !== null && s.type === type ? `, ${s.text}` : `${line === "" ? "" : "; "}${s.type ?? ""}${s.text}`;
      if (line !== "" && (this.wide || line.length + joined.length > lineLength)) {
        this.out.line(`${line};`);
        line = `${s.type ?? ""}${s.text}`;
      } else line += joined;
      type = s.type;
    }
    if (line !== "") this.out.line(`${line};`);
    this.pending = [];
  }

  private store(s: Extract<Stmt, { kind: "storeat" }>): void {
    const place = this.expressions.pointer(s.address, s.offset, this.wide ? "wide" : "index").text;
    const value = this.wide ? castTo(scalarType(s.buffer.dtype), this.expressions.expr(s.value, "wide")).text : this.text(s.value, "data");
    this.pending.push({ type: null, text: `${this.expressions.storeFunction(s.buffer.dtype, s.value.lanes)}(${place}, ${value})` });
  }

  private loop(s: Extract<Stmt, { kind: "for" }>): void {
    if (s.loop !== "serial") throw new InternalError("c", `a ${s.loop} loop should have been lowered`);
    const type = this.wide ? "int64_t" : "int32_t";
    const isSimple = s.end.constant !== null || s.end.op === "var";
    let end = this.text(s.end);
    const begin = this.text(s.begin);
    const i = this.name(s.variable);
    if (!isSimple) {
      const name = this.names.fresh(`${i}_end`);
      this.out.line(`const ${type} ${name} = ${end};`);
      end = name;
    }
    this.declared.add(s.variable);
    this.out.block(`for (${type} ${i} = ${begin}; ${i} < ${end}; ++${i})`, () => this.block(s.body));
    this.declared.delete(s.variable);
  }
}

/** How a kernel is declared and called. */
export interface KernelSignature {
  /** What each parameter of the kernel is; one that its code does not use is none of the function's. */
  readonly params: readonly ("address" | "written" | "size" | "unused")[];
}

/** Writes a kernel as a static function called `name`; its parameters are followed by `begin` and `end`. */
export function writeKernel(
  out: Printer,
  k: Kernel,
  name: string,
  level: Level,
  prelude: Prelude,
  addresses: ReadonlySet<Variable>,
): KernelSignature {
  const variables = k.params.map((p) => {
    if (isBuffer(p)) throw new InternalError("c", `parameter '${p.name}' should have been lowered to an address`);
    return p;
  });
  const w = new FunctionWriter(out, level, prelude, k.body, addresses, { wide: false });
  const used = variables.filter((v) => w.facts.live.has(v));
  const all = [...used, k.begin, k.end];
  for (const v of all) w.given(v);
  const head = all.map((v) => w.declaration(v, addresses.has(v))).join(", ");
  out.block(`TW_KERNEL${level.target === null ? "" : `_${level.name.toUpperCase()}`} void ${name}(${head})`, () => {
    for (const v of [k.begin, k.end]) if (!w.facts.live.has(v)) out.line(`(void)${w.name(v)};`);
    w.block(k.body);
  });
  const kind = (v: Variable): KernelSignature["params"][0] =>
    !w.facts.live.has(v) ? "unused" : !addresses.has(v) ? "size" : w.facts.written.has(v) ? "written" : "address";
  return { params: variables.map(kind) };
}
