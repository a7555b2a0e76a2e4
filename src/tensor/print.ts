import { Printer, printSymbol } from "../base/text.ts";
import { printExpr } from "../scalar/text.ts";
import { bytesToHex } from "../base/hex.ts";
import type { Axis, Kernel, Layout, Stage, Tensor, TensorFunction } from "./ir.ts";

/** Constants up to this many bytes are printed in the text; larger ones only by their size, and cannot be read back. */
const inlineLimit = 256;

/** The text form of a tensor function; `parse` reads it back. */
export function printTensor(f: TensorFunction): string {
  const p = new Printer();
  const inputs = new Set(f.inputs);
  p.block(`tensor @${f.name}`, () => {
    for (const s of f.symbols) p.line(printSymbol(s));
    for (const t of f.inputs) p.line(`input ${declaration(t, f.layouts.get(t))}`);
    for (const t of f.tensors) {
      if (t.data !== null) p.line(`constant ${declaration(t, f.layouts.get(t))} = ${printData(t)}`);
      else if (!inputs.has(t)) p.line(`temp ${declaration(t, f.layouts.get(t))}`);
    }
    for (const k of f.kernels) printKernel(p, k);
    p.line(`output ${f.outputs.map((t) => `%${t.name}`).join(", ")}`);
  });
  return p.toString();
}

function printData(t: Tensor): string {
  const data = t.data;
  if (data === null || data.byteLength > inlineLimit) return `elided(${data?.byteLength ?? 0})`;
  return `hex("${bytesToHex(data.read(0, data.byteLength))}")`;
}

function declaration(t: Tensor, layout: Layout | undefined): string {
  const base = `%${t.name}: ${t.dtype}[${t.dims.join(", ")}]`;
  if (layout === undefined) return base;
  const pad = layout.pad.every(([a, b]) => a === 0 && b === 0) ? "" : ` pad(${layout.pad.map(([a, b]) => `${a} ${b}`).join(", ")})`;
  const view = layout.view === null ? "" : ` view %${layout.view.of.name}(${layout.view.offset.join(", ")})`;
  return `${base} order(${layout.order.join(", ")})${pad}${view}`;
}

/** One kernel alone, as it stands in the function's text. */
export function printKernel(p: Printer, k: Kernel): void {
  p.block(`kernel @${k.name}${k.axes.length > 0 ? ` ${printAxes(k.axes)}` : ""}`, () => {
    for (const t of k.locals) p.line(`local ${declaration(t, undefined)}`);
    for (const s of k.stages) printStage(p, s);
  });
}

function printAxes(axes: readonly Axis[]): string {
  const word = { parallel: "", reduction: "red ", scan: "scan " } as const;
  return `[${axes.map((a) => `${word[a.kind]}${a.variable.name}: ${a.extent}`).join(", ")}]`;
}

function printStage(p: Printer, s: Stage): void {
  const from = s.origin.length === 0 ? "" : ` from ${s.origin.map((o) => JSON.stringify(o)).join(" ")}`;
  p.block(`stage @${s.name} ${printAxes(s.axes)}${from}`, () => {
    const inner = s.inner;
    if (inner !== null) {
      p.block(`at ${inner.axis.name}`, () => {
        for (const t of inner.locals) p.line(`local ${declaration(t, undefined)}`);
        for (const t of inner.stages) printStage(p, t);
      });
    }
    for (const a of s.accumulators) {
      p.line(`acc ${a.left.name}[${a.axes.map((v) => v.name).join(", ")}]: ${a.left.dtype} init ${printExpr(a.identity)} lift ${printExpr(a.lift)} combine ${printExpr(a.combine)}`);
    }
    for (const w of s.writes) {
      const sign = w.combiner === null ? "=" : w.combiner === "add" ? "+=" : `=${w.combiner}`;
      p.line(`%${w.tensor.name}[${w.index.map((e) => printExpr(e)).join(", ")}] ${sign} ${printExpr(w.value)}`);
    }
  });
}
