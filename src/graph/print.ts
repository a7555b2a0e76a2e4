import type { ConstantData } from "../base/constant.ts";
import { printData } from "../base/data-text.ts";
import type { Dim } from "../base/dim.ts";
import { type DType, u8 } from "../base/dtype.ts";
import { Printer, printNumber, printSymbol, safeName } from "../base/text.ts";
import type { GraphFunction, Op, Region, Value } from "./ir.ts";
import type { AttrKinds, AttrSchema, TensorType } from "./op.ts";

/** The text form of a graph; `parseGraph` reads it back. */
export function printGraph(f: GraphFunction): string {
  return layOutGraph(f).toString();
}

/** The text, line by line, with the ops' places. */
export function layOutGraph(f: GraphFunction): Printer {
  const p = new Printer();
  p.block(`graph @${safeName(f.name)}`, () => {
    for (const s of f.symbols) p.line(printSymbol(s));
    for (const v of f.params) p.line(`input %${v.name}: ${printType(v)}${v.origin.length === 1 && v.origin[0] === v.name ? "" : printOrigin(v)}`);
    for (const op of f.ops) printOp(p, op);
    p.line(
      `output ${f.results.map((r, i) => `%${r.name}${f.resultNames[i] === r.name ? "" : ` as ${JSON.stringify(f.resultNames[i])}`}`).join(", ")}`,
    );
  });
  return p;
}

export function printType(t: TensorType): string {
  return `${t.dtype}[${t.dims.join(", ")}]`;
}

function printOrigin(v: Value): string {
  return ` from ${v.origin.map((o) => JSON.stringify(o)).join(" ")}`;
}

function printOp(p: Printer, op: Op): void {
  const results = op.results.map((r) => `%${r.name}: ${printType(r)}`).join(", ");
  const attrs = Object.entries(attributeTexts(op)).map(([k, text]) => `${k} = ${text}`);
  const [first] = op.results;
  p.line(
    `${results === "" ? "" : `${results} = `}${op.def.name}(${op.operands.map((o) => `%${o.name}`).join(", ")})${attrs.length === 0 ? "" : ` {${attrs.join(", ")}}`}${first === undefined || first.origin.length === 0 ? "" : printOrigin(first)}`,
    op,
  );
  for (const r of op.regions) printRegion(p, r);
}

function printRegion(p: Printer, r: Region): void {
  p.block(`region (${r.params.map((v) => `%${v.name}: ${printType(v)}`).join(", ")})`, () => {
    for (const op of r.ops) printOp(p, op);
    p.line(`yield ${r.results.map((v) => `%${v.name}`).join(", ")}`);
  });
}

/** An op's attributes by name, each as the text has it. */
export function attributeTexts(op: Op): Record<string, string> {
  return Object.fromEntries(Object.entries(op.def.attrs).map(([k, kind]) => [k, printAttr(kind, op.attrs[k], op)]));
}

/** An attribute by the kind that its op declares. What is of another kind is printed as it is: the verifier tells. */
function printAttr(kind: AttrSchema[string], v: AttrKinds[keyof AttrKinds] | undefined, op: Op): string {
  switch (kind) {
    case "int":
      return String(v);
    case "float":
      return typeof v === "number" ? printNumber(v, !Number.isInteger(v) || Object.is(v, -0)) : String(v);
    case "bool":
    case "dtype":
      return String(v);
    case "word":
      return /^[A-Za-z_][A-Za-z0-9_.]*$/.test(String(v)) ? String(v) : JSON.stringify(v);
    case "ints":
    case "dims":
      return Array.isArray(v) ? `[${v.join(", ")}]` : String(v);
    case "pairs":
      return Array.isArray(v) ? `[${v.map((x) => `(${String(x).replace(",", ", ")})`).join(", ")}]` : String(v);
    case "data": {
      const { dtype, dims } = op.attrs as { dtype?: DType; dims?: readonly Dim[] };
      return printData(v as ConstantData, dtype ?? u8, dims ?? []);
    }
    default:
      throw kind satisfies undefined;
  }
}
