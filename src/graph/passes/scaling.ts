import { type Dim, dimEquals } from "../../base/dim.ts";
import type { Op, Value } from "../ir.ts";
import { type GraphRule, type Matcher, ints, isFixed } from "./rules.ts";

/** A constant that stands for a larger tensor: its dimension i is dimension map[i] there, and it is repeated along the others. */
interface Spread {
  readonly value: Value;
  readonly map: readonly number[];
}

/** A constant as a spread; dimensions of size 1 are left out of it. */
function spreadOf(v: Value, m: Matcher): Spread | null {
  if (!m.isConstant(v)) return null;
  const s = m.splat(v);
  if (s !== null) return { value: m.g.scalar(v.dtype, s), map: [] };
  const b = m.is(v, "broadcast");
  const [value, map] = b === undefined ? [v, v.dims.map((_, i) => i)] : [b.operands[0] as Value, ints(b.attrs, "map")];
  const real = map.map((_, i) => i).filter((i) => value.dims[i] !== 1);
  return {
    value: m.g.reshape(
      value,
      real.map((i) => value.dims[i] as Dim),
    ),
    map: real.map((i) => map[i] as number),
  };
}

/** The spread over other dims: `at` tells where each dimension went; null when one is gone or they change their order. */
function moved(f: Spread, at: (d: number) => number | null): Spread | null {
  const map: number[] = [];
  for (const d of f.map) {
    const to = at(d);
    if (to === null || to < 0 || (map.length > 0 && to <= (map[map.length - 1] as number))) return null;
    map.push(to);
  }
  return { value: f.value, map };
}

/** `a op b` of two spreads over the same dims, computed without repeats where one varies along all dimensions of the other; else null. */
function combined(m: Matcher, name: "add" | "mul", a: Spread, b: Spread, dims: readonly Dim[]): Value | null {
  const [wide, narrow] = a.map.length >= b.map.length ? [a, b] : [b, a];
  const within = narrow.map.map((d) => wide.map.indexOf(d));
  if (within.some((i, k) => i < 0 || !dimEquals(wide.value.dims[i] as Dim, narrow.value.dims[k] as Dim))) return null;
  return m.g.broadcast(m.g.one(name, [wide.value, m.g.broadcast(narrow.value, wide.value.dims, within)]), dims, wide.map);
}

/** A constant times a factor, as a plan; null when it could only be computed at run time. */
function scaledConstant(v: Value, f: Spread, m: Matcher): Plan | null {
  const own = m.is(v, "broadcast") !== undefined || m.splat(v) !== null ? spreadOf(v, m) : null;
  const product = own === null ? null : combined(m, "mul", own, f, v.dims);
  if (product !== null) return () => product;
  return isFixed(v.dims) ? () => m.g.one("mul", [v, m.g.broadcast(f.value, v.dims, f.map)]) : null;
}

type Plan = () => Value;
const depthLimit = 8;

/**
 * How to get `v` times a constant factor by changing nothing but constants: the factor goes down through sums, transposes
 * and the like into the weights of a dot or convolution. Null when there is no such way.
 */
function scaled(v: Value, f: Spread, m: Matcher, depth = 0): Plan | null {
  if (m.isConstant(v)) return scaledConstant(v, f, m);
  const op = m.def(v);
  if (op === undefined || !m.isSole(v) || depth > depthLimit) return null;
  const part = (o: Value, g: Spread | null) => (g === null ? null : scaled(o, g, m, depth + 1));
  const remake = (plans: readonly (Plan | null)[]): Plan | null => {
    if (plans.some((p) => p === null)) return null;
    return () => {
      const operands = plans.map((p) => (p as Plan)());
      const { origin } = m.g;
      m.absorb(op);
      const made = m.g.one(op.def.name, operands, op.attrs);
      m.g.origin = origin;
      return made;
    };
  };
  const keep =
    (o: Value): Plan =>
    () =>
      o;
  const [a, b] = op.operands as [Value, Value];
  switch (op.def.name) {
    case "add":
    case "sub":
      return remake([part(a, f), part(b, f)]);
    case "neg":
      return remake([part(a, f)]);
    case "mul": {
      const right = part(b, f);
      return right === null ? remake([part(a, f), keep(b)]) : remake([keep(a), right]);
    }
    case "transpose":
      return remake([
        part(
          a,
          moved(f, (d) => ints(op.attrs, "perm")[d] as number),
        ),
      ]);
    case "reshape":
      return f.map.length === 0 ? remake([part(a, f)]) : null;
    case "dot": {
      const right = part(
        b,
        moved(f, (d) => dotDim(op, d, 1)),
      );
      return right === null
        ? remake([
            part(
              a,
              moved(f, (d) => dotDim(op, d, 0)),
            ),
            keep(b),
          ])
        : remake([keep(a), right]);
    }
    case "convolution":
      // The factor may only vary by output feature; the weights' first dimension is that.
      return remake([
        keep(a),
        part(
          b,
          moved(f, (d) => (d === ints(op.attrs, "resultDims")[1] ? (ints(op.attrs, "wDims")[0] as number) : null)),
        ),
      ]);
    default:
      return null;
  }
}

/** The dimension of an operand of a dot that is dimension `d` of the result. */
function dotDim(op: Op, d: number, side: 0 | 1): number | null {
  const [a, b] = op.operands as [Value, Value];
  const [batchA, batchB] = [ints(op.attrs, "batchA"), ints(op.attrs, "batchB")];
  if (d < batchA.length) return (side === 0 ? batchA : batchB)[d] as number;
  const free = (x: Value, batch: readonly number[], contract: readonly number[]) =>
    x.dims.map((_, i) => i).filter((i) => !batch.includes(i) && !contract.includes(i));
  const rows = free(a, batchA, ints(op.attrs, "contractA"));
  const at = d - batchA.length;
  if (at < rows.length) return side === 0 ? (rows[at] as number) : null;
  return side === 1 ? (free(b, batchB, ints(op.attrs, "contractB"))[at - rows.length] ?? null) : null;
}

const scaleIntoWeights: GraphRule = {
  name: "scale-into-weights",
  doc: "A product with (or quotient by) a constant goes into the constant weights of the contraction it scales, and into the constants added on the way.",
  roots: ["mul", "div"],
  exactness: { ulp: 16 },
  examples: [
    `input %x: f32[n, 3] %w: f32[3, 2] = constant() {dtype = f32, dims = [3, 2], data = values(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)} %f: f32[2] = constant() {dtype = f32, dims = [2], data = values(0.3, 0.7)}
     %y: f32[n, 2] = dot(%x, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]}
     %b: f32[n, 2] = broadcast(%f) {dims = [n, 2], map = [1]} %z: f32[n, 2] = mul(%y, %b) output %z`,
    `input %x: f32[1, 1, 4, n] %w: f32[2, 1, 1, 2] = constant() {dtype = f32, dims = [2, 1, 1, 2], data = values(1.0, 2.0, 3.0, 4.0)} %f: f32[2] = constant() {dtype = f32, dims = [2], data = values(0.3, 0.7)}
     %y: f32[1, 2, 4, n - 1] = convolution(%x, %w) {strides = [1, 1], pads = [(0, 0), (0, 0)], dilation = [1, 1], inputDilation = [1, 1], groups = 1, xDims = [0, 1, 2, 3], wDims = [0, 1, 2, 3], resultDims = [0, 1, 2, 3]}
     %b: f32[1, 2, 4, n - 1] = broadcast(%f) {dims = [1, 2, 4, n - 1], map = [1]} %s: f32[1, 2, 4, n - 1] = add(%y, %b) %z: f32[1, 2, 4, n - 1] = mul(%s, %b) output %z`,
    `input %h: f32[n, 4] input %k: f32[n, 2, 2] %w: f32[4, 4] = constant() {dtype = f32, dims = [4, 4], data = values(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)}
     %c: f32[] = constant() {dtype = f32, dims = [], data = values(3.0)}
     %y: f32[n, 4] = dot(%h, %w) {batchA = [], batchB = [], contractA = [1], contractB = [0]} %q: f32[n, 2, 2] = reshape(%y) {dims = [n, 2, 2]}
     %s: f32[2, n, n] = dot(%q, %k) {batchA = [1], batchB = [1], contractA = [2], contractB = [2]} %t: f32[2, n, n] = broadcast(%c) {dims = [2, n, n], map = []}
     %z: f32[2, n, n] = div(%s, %t) output %z`,
  ],
  rewrite(op, m) {
    const [x, c] = op.operands as [Value, Value];
    if (!x.dtype.isFloat || m.isConstant(x) || !m.isConstant(c)) return null;
    const f = spreadOf(c, m);
    if (f === null) return null;
    const inverse = (): Spread => ({ value: m.g.one("div", [m.g.splat(f.value.dtype, f.value.dims, 1), f.value]), map: f.map });
    const plan = scaled(x, op.def.name === "mul" ? f : inverse(), m);
    return plan === null ? null : [plan()];
  },
};

const addConstants: GraphRule = {
  name: "add-constant-tensors",
  doc: "Constants added one after the other are added beforehand.",
  roots: ["add"],
  exactness: { ulp: 4 },
  examples: [
    `input %x: f32[n, 2] %b: f32[2] = constant() {dtype = f32, dims = [2], data = values(0.3, 0.7)} %c: f32[2] = constant() {dtype = f32, dims = [2], data = values(1.5, 2.5)}
     %p: f32[n, 2] = broadcast(%b) {dims = [n, 2], map = [1]} %q: f32[n, 2] = broadcast(%c) {dims = [n, 2], map = [1]} %y: f32[n, 2] = add(%x, %p) %z: f32[n, 2] = add(%y, %q) output %z`,
  ],
  rewrite(op, m) {
    const [sum, c] = op.operands as [Value, Value];
    if (!m.isConstant(c) || m.isConstant(sum)) return null;
    const inner = m.sole(sum, "add");
    const [x, b] = inner?.operands ?? [];
    if (inner === undefined || x === undefined || b === undefined || !m.isConstant(b)) return null;
    const [f, g] = [spreadOf(b, m), spreadOf(c, m)];
    if (f === null || g === null) return null;
    m.absorb(inner);
    const total = combined(m, "add", f, g, x.dims);
    return total === null ? null : [m.g.one("add", [x, total])];
  },
};

const batchNorm: GraphRule = {
  name: "batch-norm-statistics",
  doc: "Batch normalisation by constant statistics is one product and one sum with constants (which then go into the contraction before, if there is one).",
  roots: ["batch_norm"],
  exactness: { ulp: 16 },
  examples: [
    `input %x: f32[n, 2, 3] %s: f32[2] = constant() {dtype = f32, dims = [2], data = values(0.3, 0.7)} %v: f32[2] = constant() {dtype = f32, dims = [2], data = values(1.5, 2.5)}
     %y: f32[n, 2, 3] = batch_norm(%x, %s, %v, %s, %v) {epsilon = 0.001} output %y`,
  ],
  rewrite(op, m) {
    const [x, scale, bias, mean, variance] = op.operands as [Value, Value, Value, Value, Value];
    if (![scale, bias, mean, variance].every((v) => m.isConstant(v))) return null;
    const { g } = m;
    const inverse = g.one("rsqrt", [g.one("add", [variance, g.splat(variance.dtype, variance.dims, op.attrs.epsilon as number)])]);
    const factor = g.one("mul", [scale, inverse]);
    const shift = g.one("sub", [bias, g.one("mul", [mean, factor])]);
    return [g.one("add", [g.one("mul", [x, g.broadcast(factor, x.dims, [1])]), g.broadcast(shift, x.dims, [1])])];
  },
};

/** Batch-norm folding, and what it is made of: constant factors and summands meet in the constants of contractions. */
export const scalingRules: readonly GraphRule[] = [batchNorm, scaleIntoWeights, addConstants];
