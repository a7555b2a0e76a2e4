import type { ConstantData } from "../base/constant.ts";
import { SymDim } from "../base/dim.ts";
import { DType } from "../base/dtype.ts";
import { bytesToHex } from "../base/hex.ts";
import { Printer, printSymbol } from "../base/text.ts";
import type { GraphFunction, Op, Region } from "./ir.ts";
import type { AttrKinds, TensorType } from "./op.ts";

/** Constants up to this many bytes are printed in the text; larger ones only by their size, and cannot be read back. */
const inlineLimit = 256;

/** The text form of a graph; `parseGraph` reads it back. */
export function printGraph(f: GraphFunction): string {
  const p = new Printer();
  p.block(`graph @${f.name}`, () => {
    for (const s of f.symbols) p.line(printSymbol(s));
    for (const v of f.params) p.line(`input %${v.name}: ${printType(v)}`);
    for (const op of f.ops) printOp(p, op);
    p.line(`output ${f.results.map((r, i) => `%${r.name}${f.resultNames[i] === r.name ? "" : ` as ${JSON.stringify(f.resultNames[i])}`}`).join(", ")}`);
  });
  return p.toString();
}

export function printType(t: TensorType): string {
  return `${t.dtype}[${t.dims.join(", ")}]`;
}

function printOp(p: Printer, op: Op): void {
  const results = op.results.map((r) => `%${r.name}: ${printType(r)}`).join(", ");
  const attrs = Object.entries(op.def.attrs).map(([k]) => `${k} = ${printAttr(op.attrs[k] as AttrKinds[keyof AttrKinds])}`);
  const origin = op.results[0]?.origin ?? [];
  const head = `${results} = ${op.def.name}(${op.operands.map((o) => `%${o.name}`).join(", ")})${attrs.length === 0 ? "" : ` {${attrs.join(", ")}}`}${origin.length === 0 ? "" : ` from ${origin.map((o) => JSON.stringify(o)).join(" ")}`}`;
  if (op.regions.length === 0) {
    p.line(head);
    return;
  }
  p.line(head);
  for (const r of op.regions) printRegion(p, r);
}

function printRegion(p: Printer, r: Region): void {
  p.block(`region (${r.params.map((v) => `%${v.name}: ${printType(v)}`).join(", ")})`, () => {
    for (const op of r.ops) printOp(p, op);
    p.line(`yield ${r.results.map((v) => `%${v.name}`).join(", ")}`);
  });
}

function printAttr(v: AttrKinds[keyof AttrKinds]): string {
  if (v instanceof DType || v instanceof SymDim) return v.toString();
  if (typeof v === "number") return Number.isFinite(v) ? String(v) : Number.isNaN(v) ? "nan" : v > 0 ? "inf" : "-inf";
  if (typeof v === "boolean") return String(v);
  if (typeof v === "string") return v;
  if (Array.isArray(v)) return `[${v.map((x) => (Array.isArray(x) ? `(${x.join(", ")})` : String(x))).join(", ")}]`;
  const data = v as ConstantData;
  return data.byteLength > inlineLimit ? `elided(${data.byteLength})` : `hex("${bytesToHex(data.read(0, data.byteLength))}")`;
}
