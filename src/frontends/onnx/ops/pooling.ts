import { type Dim, addDim, productOf } from "../../../base/dim.ts";
import { i32, i64 } from "../../../base/dtype.ts";
import type { Value } from "../../../graph/ir.ts";
import { identityOf } from "../../../scalar/scalars.ts";
import type { NodeContext, OpTable } from "../context.ts";
import { type Operand, dimValue } from "../operand.ts";
import { shapeHint, mustHavePlaces } from "../symbols.ts";
import { Formula } from "./formula.ts";
import { type Window, padded, spatialRank, window } from "./window.ts";

/** A window over all dimensions of x, padded by what a monoid ignores. */
interface Sliding {
  readonly x: Value;
  readonly attrs: {
    readonly window: readonly number[];
    readonly strides: readonly number[];
    readonly dilation: readonly number[];
    readonly pads: readonly (readonly [number, number])[];
  };
}

function sliding(c: NodeContext, x: Value, win: Window, monoid: "add" | "max"): Sliding {
  const [one, none] = [[1, 1], [0, 0] as const];
  const pads = win.pads.map(([low, high], s) => [low, addDim(high, win.extra[s] as Dim)] as const);
  const around = padded(c, x, pads, identityOf(monoid, x.dtype));
  return {
    x: around.x,
    attrs: {
      window: [...one, ...win.size],
      strides: [...one, ...win.strides],
      dilation: [...one, ...win.dilations],
      pads: [none, none, ...around.pads],
    },
  };
}

/** Combines what lies in each window. */
function pooled(c: NodeContext, x: Value, win: Window, monoid: "add" | "max"): Value {
  const s = sliding(c, x, win, monoid);
  return mustHavePlaces(c.g.one("reduce_window", [s.x], { monoid, ...s.attrs }));
}

function poolWindow(c: NodeContext, x: Operand): Window {
  const rank = spatialRank(c, x);
  const size = c.ints("kernel_shape") ?? c.fail("'kernel_shape' is missing");
  if (size.length !== rank) c.fail(`kernel [${size.join(", ")}] for ${rank} spatial dimensions`);
  return window(c, x.dims.slice(2), size);
}

export function maxPool(c: NodeContext): readonly (Operand | null)[] {
  const x = c.input(0);
  const win = poolWindow(c, x);
  if (!c.wants(1)) return [c.of(pooled(c, x.value, win, "max")), null];
  const s = sliding(c, x.value, win, "max");
  // Padding that is part of the operand must not be found: after the elements it never comes first among equals.
  if (win.pads.some(([low]) => typeof low !== "number"))
    return c.unsupported(`indices of windows whose padding at the start depends on symbolic sizes${shapeHint(...x.dims)}`);
  const [largest, place] = c.g.op("arg_window", [s.x], s.attrs, { resultNames: ["pooled", "place"] }) as [Value, Value];
  return [c.of(mustHavePlaces(largest)), c.of(flatIndices(c, x, win, place))];
}

/** Positions in the whole flat input, from the numbers of places within windows. */
function flatIndices(c: NodeContext, x: Operand, win: Window, place: Value): Value {
  const f = new Formula(c.g);
  const spatial = x.dims.slice(2);
  const columnMajor = c.int("storage_order", 0) === 1;
  const along = (axis: number): Value => c.g.one("iota", [], { dtype: i64, dims: place.dims, axis });
  const size = (d: Dim): Value => c.g.convert(dimValue(c.g, d), i64);
  const number = c.g.convert(place, i64);
  const plane = f.add(f.mul(along(0), size(x.dims[1] as Dim)), along(1));
  return win.size.reduce(
    (sum, _, s) => {
      const inner = win.size.slice(s + 1).reduce((a, b) => a * b, 1);
      const within = f.op("rem", f.div(number, inner), win.size[s] as number);
      const start = f.sub(f.mul(along(s + 2), win.strides[s] as number), win.pads[s]?.[0] as number);
      const at = f.add(start, f.mul(within, win.dilations[s] as number));
      const stride = productOf(columnMajor ? spatial.slice(0, s) : spatial.slice(s + 1));
      return f.add(sum, f.mul(at, size(stride)));
    },
    f.mul(plane, size(productOf(spatial))),
  );
}

export function averagePool(c: NodeContext): Operand {
  const x = c.input(0);
  const win = poolWindow(c, x);
  const sum = pooled(c, x.value, win, "add");
  const around = win.pads.some(([low, high], s) => low !== 0 || high !== 0 || win.extra[s] !== 0);
  const whole = c.int("count_include_pad", 0) === 1 && win.extra.every((e) => e === 0);
  if (!around || whole) return c.of(c.withScalar("mul", sum, 1 / win.size.reduce((a, b) => a * b, 1)));
  return c.of(c.g.one("div", [sum, windowCounts(c, x, win, sum)]));
}

/** How many elements lie in each window, stretched to the result's dims. Padding counts if the node says so, ceil_mode's never does. */
function windowCounts(c: NodeContext, x: Operand, win: Window, result: Value): Value {
  const f = new Formula(c.g);
  const withPads = c.int("count_include_pad", 0) === 1;
  const counts = win.size.map((k, s) => {
    const [low, high] = win.pads[s] as readonly [Dim, Dim];
    const end = addDim(x.dims[s + 2] as Dim, low);
    const [first, last] = withPads ? [0, addDim(end, high)] : [low, end];
    const step = win.dilations[s] as number;
    const start = f.mul(c.g.one("iota", [], { dtype: i32, dims: [result.dims[s + 2] as Dim], axis: 0 }), win.strides[s] as number);
    /** The number of the window's first element that lies at `edge` or beyond. */
    const from = (edge: Dim): Value => f.clamp(f.op("floordiv", f.add(f.sub(dimValue(c.g, edge), start), step - 1), step), 0, k);
    const count = f.max(f.sub(from(last), from(first)), 1);
    return c.g.broadcast(c.g.convert(count, x.dtype), result.dims, [s + 2]);
  });
  return counts.reduce((a, b) => f.mul(a, b));
}

/** |x|^p, and what takes a sum of them back. */
function powers(c: NodeContext): { readonly raise: (x: Value) => Value; readonly root: (sum: Value) => Value } {
  const p = c.int("p", 2);
  if (p === 2) return { raise: (x) => c.g.one("mul", [x, x]), root: (sum) => c.g.one("sqrt", [sum]) };
  const magnitude = (x: Value): Value => c.g.one("abs", [x]);
  if (p === 1) return { raise: magnitude, root: (sum) => sum };
  return { raise: (x) => c.withScalar("pow", magnitude(x), p), root: (sum) => c.withScalar("pow", sum, 1 / p) };
}

/** (Σ|x|^p)^(1/p) over each window */
function lpPool(c: NodeContext): Operand {
  const x = c.input(0);
  const { raise, root } = powers(c);
  return c.of(root(pooled(c, raise(x.value), poolWindow(c, x), "add")));
}

/** (Σ|x|^p)^(1/p) over all spatial positions */
function globalLpPool(c: NodeContext): Operand {
  const x = c.input(0);
  const rank = spatialRank(c, x);
  const { raise, root } = powers(c);
  const axes = Array.from({ length: rank }, (_, s) => s + 2);
  const norm = root(c.g.one("reduce", [raise(x.value)], { monoid: "add", axes }));
  const dims = x.dims.map((d, i) => (i < 2 ? d : 1));
  return c.of(c.g.reshape(norm, dims));
}

export const poolingOps: OpTable = {
  MaxPool: { since: 7, map: maxPool },
  AveragePool: { since: 7, map: averagePool },
  LpPool: { since: 7, map: lpPool },
  GlobalLpPool: { since: 7, map: globalLpPool },
};
