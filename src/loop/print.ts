import { Printer, printSymbol, safeName } from "../base/text.ts";
import { type Expr, type Variable, postorder, variablesOf } from "../scalar/expr.ts";
import { NameTable, printExpr } from "../scalar/text.ts";
import { type Buffer, type Kernel, type Program, type Stmt, type StmtOf, bodiesOf, exprsOf, isBuffer } from "./ir.ts";

/** The text form of a whole program; `parseProgram` reads it back. What is called alike gets names of its own. */
export function printProgram(p: Program): string {
  return layOutProgram(p).toString();
}

/** The text, line by line, with the places of kernels and statements. */
export function layOutProgram(p: Program): Printer {
  const out = new Printer();
  const names = new NameTable();
  p.symbolVariables.forEach((v) => {
    names.declare(v);
  });
  const main = names.child();
  for (const d of p.dataSymbols) main.declare(d.variable);
  const host = new StmtPrinter(out, main, new Set(p.dataSymbols.map((d) => d.variable)));
  out.block(`program @${safeName(p.name)}`, () => {
    for (const s of [...p.symbols, ...p.dataSymbols.map((d) => d.symbol)]) out.line(printSymbol(s));
    for (const f of p.faults) out.line(`fault${f.room === true ? " room" : ""} ${JSON.stringify(f.text)}`);
    for (const w of p.weightSlots) out.line(`weight %${w.name} at ${w.offset} bytes ${w.bytes}`);
    out.line(`memory ${main.declare(p.weights)}, ${main.declare(p.arena)} bytes ${host.expr(p.arenaBytes)}`);
    if (p.room !== null) out.line(`room ${main.declare(p.room)}`);
    for (const a of p.allocations) {
      const address = main.declare(a.address);
      out.line(`alloc %${safeName(a.name)} as ${address} bytes ${host.expr(a.bytes)}${a.dynamic === true ? " dynamic" : ""}`);
    }
    if (p.report !== null) out.line(`report ${host.expr(p.report)}`);
    for (const x of p.inputs) out.line(`input %${x.name}: ${x.dtype}[${x.dims.join(", ")}] at ${host.expr(x.address)}`);
    for (const x of p.outputs) out.line(`output %${x.name}: ${x.dtype}[${x.dims.join(", ")}] at ${host.expr(x.address)}`);
    for (const k of p.kernels) printKernel(out, k, names.child());
    out.block("main", () => {
      for (const b of addressedBuffers(p.main)) out.line(`uses ${printBuffer(b, main, false)}`);
      host.block(p.main);
    });
  });
  return out;
}

/** One kernel alone: what the golden-kernel tool (scripts/kernels) compares. */
export function kernelText(k: Kernel): string {
  const out = new Printer();
  printKernel(out, k, new NameTable());
  return out.toString();
}

/** dtype and lanes, and what is known of the values: `i32 min 8 multiple 4`, `f32x4`. An axis's extent is told by its loop. */
function printFacts(v: Variable): string {
  const range = v.extent === null ? `${Number.isFinite(v.min) ? ` min ${v.min}` : ""}${Number.isFinite(v.max) ? ` max ${v.max}` : ""}` : "";
  return `${range}${v.multiple === 1 ? "" : ` multiple ${v.multiple}`}`;
}
function printType(v: Variable): string {
  return `${v.dtype}${v.lanes === 1 ? "" : `x${v.lanes}`}`;
}

function printBuffer(b: Buffer, names: NameTable, written: boolean): string {
  const size = b.size === null ? "" : `[${printExpr(b.size, names)}]`;
  return `${written ? "out " : ""}${b.space} %${names.declare(b)}: ${b.dtype}${size}`;
}

function printKernel(out: Printer, k: Kernel, names: NameTable): void {
  const params = k.params.map((p) => (isBuffer(p) ? printBuffer(p, names, k.writes.has(p)) : `${names.declare(p)}: ${printType(p)}${printFacts(p)}`));
  const [begin, end] = [names.declare(k.begin), names.declare(k.end)];
  out.block(
    `kernel @${k.name}(${params.join(", ")}) over [${begin}, ${end})`,
    () => {
      for (const b of addressedBuffers(k.body, k)) out.line(`uses ${printBuffer(b, names, k.writes.has(b))}`);
      new StmtPrinter(out, names).block(k.body);
    },
    k,
  );
}

/** Buffers that are neither parameters nor allocated: their addresses are parameters since address lowering. */
function addressedBuffers(body: readonly Stmt[], k: Kernel | null = null): Buffer[] {
  const known = new Set<unknown>(k?.params);
  const out = new Set<Buffer>();
  const use = (b: Buffer) => {
    if (!known.has(b)) out.add(b);
  };
  const visit = (b: readonly Stmt[]): void => {
    for (const s of b) {
      if (s.kind === "alloc") known.add(s.buffer);
      if (s.kind === "store" || s.kind === "storeat") use(s.buffer);
      for (const e of postorder(exprsOf(s))) if (e.storage !== null) use(e.storage as Buffer);
      bodiesOf(s).forEach(visit);
    }
  };
  visit(body);
  for (const b of k?.writes ?? []) use(b);
  return [...out];
}

class StmtPrinter {
  private readonly out: Printer;
  private readonly names: NameTable;
  /** What has its name before a `let` binds it. */
  private readonly declared: ReadonlySet<Variable>;
  constructor(out: Printer, names: NameTable, declared: ReadonlySet<Variable> = new Set()) {
    this.out = out;
    this.names = names;
    this.declared = declared;
  }

  expr(e: Expr): string {
    return printExpr(e, this.names);
  }

  block(b: readonly Stmt[]): void {
    for (const s of b) this.stmt(s);
  }

  private stmt(s: Stmt): void {
    const { out, names } = this;
    switch (s.kind) {
      case "for":
        out.block(this.loopHead(s), () => this.block(s.body), s);
        return;
      case "store":
        out.line(`%${names.storage(s.buffer)}[${this.expr(s.index)}] = ${this.expr(s.value)}`, s);
        return;
      case "storeat":
        out.line(`%${names.storage(s.buffer)}{${this.expr(s.address)}, ${s.offset}} = ${this.expr(s.value)}`, s);
        return;
      case "let": {
        const value = this.expr(s.value);
        const name = this.declared.has(s.variable) ? names.variable(s.variable) : names.declare(s.variable);
        out.line(`let ${name}: ${printType(s.variable)}${printFacts(s.variable)} = ${value}`, s);
        return;
      }
      case "assign":
        out.line(`${names.variable(s.variable)} = ${this.expr(s.value)}`, s);
        return;
      case "if":
        out.block(`if ${this.expr(s.condition)}`, () => this.block(s.then), s);
        if (s.otherwise.length > 0) out.block("else", () => this.block(s.otherwise));
        return;
      case "while":
        out.block(`while ${this.expr(s.condition)}`, () => this.block(s.body), s);
        return;
      case "require":
        out.line(`require ${this.expr(s.condition)} fault ${s.fault} got ${this.expr(s.value)}`, s);
        return;
      case "alloc":
        out.line(`alloc ${printBuffer(s.buffer, names, false)}`, s);
        return;
      case "launch":
        out.line(this.launch(s), s);
        return;
      default:
        throw s satisfies never;
    }
  }

  /** The extent is that of the loop, if it starts at 0; what differs from that is written out. */
  private loopHead(s: StmtOf<"for">): string {
    const { names } = this;
    const [begin, end] = [this.expr(s.begin), this.expr(s.end)];
    const expected = s.begin.isConst(0) ? s.end : null;
    const { extent } = s.variable;
    // What names something that is out of scope by now is of no use to a reader.
    const known = extent !== null && [...variablesOf(extent)].every((v) => names.has(v)) ? extent : null;
    const note = known === expected ? "" : ` extent ${known === null ? "none" : this.expr(known)}`;
    return `for ${names.declare(s.variable)}${printFacts(s.variable)} in [${begin}, ${end})${note}${s.loop === "serial" ? "" : ` ${s.loop}`}`;
  }

  private launch(s: StmtOf<"launch">): string {
    const { names } = this;
    // Once memory is planned the addresses that may have been shared are gone.
    const pairs = s.inPlace.filter((p) => p.every((v) => names.has(v))).map(([a, b]) => ` (${names.variable(a)}, ${names.variable(b)})`);
    const origin = s.origin.length === 0 ? "" : ` from ${s.origin.map((o) => JSON.stringify(o)).join(" ")}`;
    const rows = s.row === undefined ? "" : ` in rows of ${this.expr(s.row)}`;
    const threads = s.threadsFrom === null ? "" : ` threads from ${s.threadsFrom}`;
    const scratch = s.scratch.length === 0 ? "" : ` scratch${s.scratch.map((x) => ` (${x.arg}, ${this.expr(x.bytes)})`).join("")}`;
    const inPlace = pairs.length === 0 ? "" : ` inplace${pairs.join("")}`;
    const args = s.args.map((a) => this.expr(a)).join(", ");
    return `launch @${s.kernel.name}(${args}) over [0, ${this.expr(s.count)})${rows} grain ${this.expr(s.grain)}${threads}${scratch}${inPlace}${origin}`;
  }
}
