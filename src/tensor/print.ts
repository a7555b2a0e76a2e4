import { printData } from "../base/data-text.ts";
import { Printer, printSymbol, safeName } from "../base/text.ts";
import type { Expr } from "../scalar/expr.ts";
import { NameTable, printExpr } from "../scalar/text.ts";
import { type Axis, type Body, type Control, type Kernel, type Layout, type Stage, Tensor, type TensorFunction } from "./ir.ts";
import { printStatements } from "./opaque-text.ts";

/** The text form of a tensor function; `parseTensor` reads it back. */
export function printTensor(f: TensorFunction): string {
  return layOutTensor(f).toString();
}

/** The text, line by line, with the places of kernels, stages, accumulators and writes. */
export function layOutTensor(f: TensorFunction): Printer {
  const p = new Printer();
  const inputs = new Set(f.inputs);
  p.block(`tensor @${safeName(f.name)}`, () => {
    for (const s of f.symbols) p.line(printSymbol(s));
    for (const t of f.inputs) p.line(`input ${declaration(t, f.layouts.get(t), t.origin.length === 1 && t.origin[0] === t.name)}`);
    for (const t of f.tensors) {
      if (t.data !== null) p.line(`constant ${declaration(t, f.layouts.get(t))} = ${printData(t.data, t.dtype, t.dims)}`);
      else if (!inputs.has(t)) p.line(`temp ${declaration(t, f.layouts.get(t))}`);
    }
    for (const k of f.kernels) printKernel(p, k, f);
    p.line(`output ${f.outputs.map((t) => `%${t.name}`).join(", ")}`);
  });
  return p;
}

function printOrigin(origin: readonly string[]): string {
  return origin.length === 0 ? "" : ` from ${origin.map((o) => JSON.stringify(o)).join(" ")}`;
}

function declaration(t: Tensor, layout: Layout | undefined, hideOrigin = false): string {
  const base = `%${t.name}: ${t.dtype}[${t.dims.join(", ")}]${hideOrigin ? "" : printOrigin(t.origin)}`;
  if (layout === undefined) return base;
  const pad = layout.pad.every(([a, b]) => a === 0 && b === 0) ? "" : ` pad(${layout.pad.map(([a, b]) => `${a} ${b}`).join(", ")})`;
  const view =
    layout.view === null
      ? ""
      : ` view %${layout.view.of.name}(${layout.view.offset.join(", ")})${layout.view.axes === undefined ? "" : ` axes(${layout.view.axes.join(", ")})`}`;
  const capacity = layout.capacity === undefined ? "" : ` capacity(${layout.capacity.dim}, ${layout.capacity.rows})`;
  return `${base} order(${layout.order.join(", ")})${pad}${capacity}${view}`;
}

/** `f` tells the symbols, whose names axes must not take. */
function printKernel(p: Printer, k: Kernel, f: TensorFunction): void {
  if (k.control !== undefined) {
    printControl(p, k, k.control, f);
    return;
  }
  const names = new NameTable();
  for (const s of f.symbols) names.reserve(s.name);
  const axes = k.axes.length > 0 ? ` ${printAxes(k.axes, names)}` : "";
  const identity = k.identity === undefined ? "" : ` identity %${k.identity.from.name} -> %${k.identity.to.name}`;
  p.block(
    `kernel @${k.name}${axes}${identity}`,
    () => {
      for (const t of k.locals) p.line(`local ${declaration(t, undefined)}`);
      for (const s of k.stages) printStage(p, s, names.child());
    },
    k,
  );
}

const names = (tensors: readonly Tensor[]): string => tensors.map((t) => ` %${t.name}`).join(",");

function printControl(p: Printer, k: Kernel, c: Control, f: TensorFunction): void {
  const body = (head: string, b: Body): void =>
    p.block(
      head,
      () => {
        for (const x of b.kernels) printKernel(p, x, f);
        p.line(`yield${names(b.outputs)}`);
      },
      k,
    );
  switch (c.kind) {
    case "bind":
      p.line(`bind @${k.name} ${c.symbol.name} = %${c.value.name}`, k);
      return;
    case "require":
      p.line(`require @${k.name} ${c.dims[0]} == ${c.dims[1]}`, k);
      return;
    case "opaque": {
      const table = new NameTable();
      for (const s of f.symbols) table.reserve(s.name);
      const axes = printAxes(c.axes, table);
      p.block(
        `opaque @${k.name} ${axes} reads${names(c.reads)} writes${names(c.writes)} work ${c.work}${printOrigin(c.origin)}`,
        () => {
          for (const t of c.locals) p.line(`local ${declaration(t, undefined)}`);
          printStatements(p, c.body, table);
        },
        k,
      );
      return;
    }
    case "if":
      body(
        `if @${k.name} ${c.condition instanceof Tensor ? `%${c.condition.name}` : `${c.condition.size} >= ${c.condition.least}`} ->${names(c.results)}`,
        c.bodies[0],
      );
      body("else", c.bodies[1]);
      return;
    case "loop": {
      const more = c.condition === null ? "" : ` while %${c.condition.name}`;
      body(
        `loop @${k.name} ${c.index.name} < ${c.length}${more} turns %${c.turns.name} states${names(c.states)} stacked${names(c.stacked)}`,
        c.bodies[0],
      );
      return;
    }
    default:
      throw c satisfies never;
  }
}

function printAxes(axes: readonly Axis[], names: NameTable): string {
  const word = { parallel: "", reduction: "red ", scan: "scan " } as const;
  return `[${axes.map((a) => `${word[a.kind]}${names.declare(a.variable)}: ${a.extent}`).join(", ")}]`;
}

function printStage(p: Printer, s: Stage, table: NameTable): void {
  const head = `stage @${s.name} ${printAxes(s.axes, table)}${printOrigin(s.origin)}`;
  const names = { variable: table.variable, storage: (t: { readonly name: string }) => t.name };
  const text = (e: Expr) => printExpr(e, names);
  p.block(
    head,
    () => {
      const { inner } = s;
      if (inner !== null) {
        p.block(`at ${table.variable(inner.axis)}`, () => {
          for (const t of inner.locals) p.line(`local ${declaration(t, undefined)}`);
          for (const t of inner.stages) printStage(p, t, table.child());
        });
      }
      for (const a of s.accumulators) table.declarePair(a.left, a.right);
      for (const a of s.accumulators) {
        p.line(
          `acc ${table.variable(a.left)}[${a.axes.map((v) => table.variable(v)).join(", ")}]: ${a.left.dtype} init ${text(a.identity)} lift ${text(a.lift)} combine ${text(a.combine)}`,
          a,
        );
      }
      for (const w of s.writes) {
        const sign = w.combiner === null ? "=" : w.combiner === "add" ? "+=" : `${w.combiner}=`;
        p.line(`%${w.tensor.name}[${w.index.map(text).join(", ")}] ${sign} ${text(w.value)}${w.guard === null ? "" : ` if ${text(w.guard)}`}`, w);
      }
    },
    s,
  );
}
