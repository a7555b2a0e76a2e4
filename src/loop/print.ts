import { Printer, printSymbol } from "../base/text.ts";
import { printExpr } from "../scalar/text.ts";
import type { Variable } from "../scalar/expr.ts";
import { type Buffer, type Kernel, type Program, type Stmt, isBuffer } from "./ir.ts";

/** The text form of a whole program; `parseProgram` reads it back. */
export function printProgram(p: Program): string {
  const out = new Printer();
  out.block(`program @${p.name}`, () => {
    for (const s of p.symbols) out.line(printSymbol(s));
    for (const w of p.weightSlots) out.line(`weight %${w.name} at ${w.offset} bytes ${w.bytes}`);
    for (const a of p.allocations) out.line(`alloc ${a.address.name} bytes ${printExpr(a.bytes)}`);
    for (const x of p.inputs) out.line(`input %${x.name}: ${x.dtype}[${x.dims.join(", ")}] at ${printExpr(x.address)}`);
    for (const x of p.outputs) out.line(`output %${x.name}: ${x.dtype}[${x.dims.join(", ")}] at ${printExpr(x.address)}`);
    out.line(`arena ${printExpr(p.arenaBytes)}`);
    for (const k of p.kernels) printKernel(out, k);
    out.block("main", () => {
      for (const s of p.main) printStmt(out, s);
    });
  });
  return out.toString();
}

/** One kernel alone. */
export function kernelText(k: Kernel): string {
  const out = new Printer();
  printKernel(out, k);
  return out.toString();
}

function variable(v: Variable): string {
  const lanes = v.lanes === 1 ? "" : `x${v.lanes}`;
  const facts = `${Number.isFinite(v.min) && v.extent === null ? ` min ${v.min}` : ""}${v.multiple === 1 ? "" : ` multiple ${v.multiple}`}`;
  return `${v.name}: ${v.dtype}${lanes}${facts}`;
}
function buffer(b: Buffer): string {
  return `${b.space} %${b.name}: ${b.dtype}${b.size === null ? "" : `[${printExpr(b.size)}]`}`;
}

function printKernel(out: Printer, k: Kernel): void {
  const params = k.params.map((p) => (isBuffer(p) ? `${k.writes.has(p) ? "out " : ""}${buffer(p)}` : variable(p)));
  out.block(`kernel @${k.name}(${params.join(", ")}) over [${k.begin.name}, ${k.end.name})`, () => {
    for (const s of k.body) printStmt(out, s);
  });
}

function printStmt(out: Printer, s: Stmt): void {
  switch (s.kind) {
    case "for":
      out.block(`for ${s.variable.name} in [${printExpr(s.begin)}, ${printExpr(s.end)})${s.loop === "serial" ? "" : ` ${s.loop}`}`, () => {
        for (const x of s.body) printStmt(out, x);
      });
      return;
    case "store":
      out.line(`%${s.buffer.name}[${printExpr(s.index)}] = ${printExpr(s.value)}`);
      return;
    case "storeat":
      out.line(`%${s.buffer.name}{${printExpr(s.address)}, ${s.offset}} = ${printExpr(s.value)}`);
      return;
    case "let":
      out.line(`let ${s.variable.name}: ${s.variable.dtype}${s.variable.lanes === 1 ? "" : `x${s.variable.lanes}`} = ${printExpr(s.value)}`);
      return;
    case "assign":
      out.line(`${s.variable.name} = ${printExpr(s.value)}`);
      return;
    case "if":
      out.block(`if ${printExpr(s.condition)}`, () => {
        for (const x of s.then) printStmt(out, x);
      });
      if (s.otherwise.length > 0) {
        out.block("else", () => {
          for (const x of s.otherwise) printStmt(out, x);
        });
      }
      return;
    case "alloc":
      out.line(`alloc ${buffer(s.buffer)}`);
      return;
    case "launch":
      out.line(`launch @${s.kernel.name}(${s.args.map((a) => printExpr(a)).join(", ")}) over [0, ${printExpr(s.count)}) grain ${printExpr(s.grain)}${s.origin.length === 0 ? "" : ` from ${s.origin.map((o) => JSON.stringify(o)).join(" ")}`}`);
      return;
    default:
      throw s satisfies never;
  }
}
