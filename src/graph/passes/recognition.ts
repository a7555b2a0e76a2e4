import { type Dim, productOf } from "../../base/dim.ts";
import type { Op, Value } from "../ir.ts";
import type { GraphPass } from "./pass.ts";
import { type GraphRule, type Matcher, applyGraphRules, ints, ruleTable } from "./rules.ts";

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-4 * Math.abs(b);

/** A product as one number times values. */
interface Product {
  readonly coefficient: number;
  readonly factors: readonly Value[];
}

/** Takes a product apart, through products and quotients by numbers that nothing else uses. */
function productOfValues(v: Value, m: Matcher, root: Op | null = null, depth = 0): Product {
  const op = root ?? (m.isSole(v) ? m.def(v) : undefined);
  const [a, b] = op?.operands ?? [];
  if (op === undefined || a === undefined || b === undefined || depth > 4) return { coefficient: 1, factors: [v] };
  const [l, r] = [m.splat(a), m.splat(b)];
  const times = (x: Value, by: number): Product => {
    const p = productOfValues(x, m, null, depth + 1);
    return { coefficient: p.coefficient * by, factors: p.factors };
  };
  if (op.def.name === "mul") {
    if (r !== null) return times(a, Number(r));
    if (l !== null) return times(b, Number(l));
    const [p, q] = [times(a, 1), times(b, 1)];
    return { coefficient: p.coefficient * q.coefficient, factors: [...p.factors, ...q.factors] };
  }
  return op.def.name === "div" && r !== null ? times(a, 1 / Number(r)) : { coefficient: 1, factors: [v] };
}

/** The other summand when one is that number. */
function besides(op: Op | undefined, n: number, m: Matcher): Value | null {
  const [a, b] = op?.operands ?? [];
  if (op?.def.name !== "add" || a === undefined || b === undefined) return null;
  return m.isSplat(b, n) ? a : m.isSplat(a, n) ? b : null;
}

/** Is `v` coefficient · x^power? */
function isPower(v: Value, x: Value, power: number, coefficient: number, m: Matcher): boolean {
  const p = productOfValues(v, m);
  return near(p.coefficient, coefficient) && p.factors.length === power && p.factors.every((f) => f === x);
}

/** Is `v` √(2/π)·(x + 0.044715·x³), multiplied out or with x in front of the bracket? */
function isTanhArgument(v: Value, x: Value, m: Matcher): boolean {
  const p = productOfValues(v, m);
  if (!near(p.coefficient, Math.sqrt(2 / Math.PI))) return false;
  const bracket = p.factors.find((f) => f !== x);
  const sum = m.sole(bracket, "add");
  const [a, b] = sum?.operands ?? [];
  if (a === undefined || b === undefined) return false;
  if (p.factors.length === 1) return (a === x && isPower(b, x, 3, 0.044715, m)) || (b === x && isPower(a, x, 3, 0.044715, m));
  const rest = p.factors.length === 2 ? besides(sum, 1, m) : null;
  return rest !== null && isPower(rest, x, 2, 0.044715, m);
}

const gelu: GraphRule = {
  name: "recognise-gelu",
  doc: "x · ½ · (1 + erf(x/√2)), and its approximation by tanh, in any order of the factors.",
  roots: ["mul"],
  exactness: { ulp: 64 },
  examples: [
    `input %x: f32[n, 3]
     %a: f32[] = constant() {dtype = f32, dims = [], data = values(1.41421354)} %b: f32[] = constant() {dtype = f32, dims = [], data = values(1.0)} %c: f32[] = constant() {dtype = f32, dims = [], data = values(0.5)}
     %d: f32[n, 3] = broadcast(%a) {dims = [n, 3], map = []} %e: f32[n, 3] = div(%x, %d) %f: f32[n, 3] = erf(%e)
     %g: f32[n, 3] = broadcast(%b) {dims = [n, 3], map = []} %h: f32[n, 3] = add(%f, %g) %i: f32[n, 3] = mul(%x, %h)
     %j: f32[n, 3] = broadcast(%c) {dims = [n, 3], map = []} %k: f32[n, 3] = mul(%i, %j) output %k`,
    `input %x: f32[3]
     %q: f32[3] = constant() {dtype = f32, dims = [3], data = values(0.044715, 0.044715, 0.044715)} %r: f32[3] = constant() {dtype = f32, dims = [3], data = values(0.79788458, 0.79788458, 0.79788458)}
     %s: f32[3] = constant() {dtype = f32, dims = [3], data = values(1.0, 1.0, 1.0)} %t: f32[3] = constant() {dtype = f32, dims = [3], data = values(0.5, 0.5, 0.5)}
     %a: f32[3] = mul(%x, %x) %b: f32[3] = mul(%a, %x) %c: f32[3] = mul(%b, %q) %d: f32[3] = add(%x, %c) %e: f32[3] = mul(%d, %r) %f: f32[3] = tanh(%e)
     %g: f32[3] = add(%f, %s) %h: f32[3] = mul(%x, %t) %i: f32[3] = mul(%h, %g) output %i`,
  ],
  rewrite(op, m) {
    const y = op.results[0] as Value;
    const p = productOfValues(y, m, op);
    const [a, b] = p.factors;
    if (p.factors.length !== 2 || a === undefined || b === undefined || !near(p.coefficient, 0.5)) return null;
    for (const [x, s] of [[a, b] as const, [b, a] as const]) {
      const inner = besides(m.sole(s, "add"), 1, m);
      const [f, h] = [m.sole(inner ?? undefined, "erf"), m.sole(inner ?? undefined, "tanh")];
      const exact = f !== undefined && isPower(f.operands[0] as Value, x, 1, Math.SQRT1_2, m);
      const approximate = !exact && h !== undefined && isTanhArgument(h.operands[0] as Value, x, m);
      if (exact || approximate) return [m.g.one("gelu", [x], { approximate })];
    }
    return null;
  },
};

/** `x` and the axes, when `v` is the mean of x along axes. */
function meanOf(v: Value | undefined, m: Matcher): { x: Value; axes: readonly number[] } | null {
  const op = m.is(v, "mul") ?? m.is(v, "div");
  const [sum, c] = op?.operands ?? [];
  const reduce = m.sole(sum, "reduce");
  const x = reduce?.operands[0];
  const factor = c === undefined ? null : m.splat(c);
  if (op === undefined || reduce === undefined || x === undefined || factor === null || reduce.attrs.monoid !== "add") return null;
  const axes = ints(reduce.attrs, "axes");
  const n = Number(productOf(axes.map((a) => x.dims[a] as Dim)));
  return near(op.def.name === "mul" ? Number(factor) * n : Number(factor) / n, 1) ? { x, axes } : null;
}

/** The operand of a broadcast that repeats along `axes`, the last dimensions; with `inner` one that repeats along all others. */
function spread(v: Value | undefined, axis: number, m: Matcher, inner: boolean): Value | null {
  const b = m.is(v, "broadcast");
  const x = b?.operands[0];
  if (b === undefined || x === undefined || v === undefined) return null;
  const map = ints(b.attrs, "map");
  const wanted = inner ? v.dims.slice(axis).map((_, i) => axis + i) : v.dims.slice(0, axis).map((_, i) => i);
  return map.length === wanted.length &&
    map.every((d, i) => d === wanted[i]) &&
    x.dims.every((d, i) => d === v.dims[map[i] as number] || String(d) === String(v.dims[map[i] as number]))
    ? x
    : null;
}

/** A value divided by the root of its mean square along the last dimensions, from `axis` on. */
interface Normal {
  readonly x: Value;
  readonly axis: number;
  readonly epsilon: number;
}

/** Both orders of the operands of a commutative op. */
function orders(op: Op | undefined): readonly (readonly [Value, Value])[] {
  const [a, b] = op?.operands ?? [];
  return a === undefined || b === undefined
    ? []
    : [
        [a, b],
        [b, a],
      ];
}

/** Takes `x · 1/√(mean(x²) + ε)` apart. */
function normalOf(op: Op | undefined, m: Matcher): Normal | null {
  for (const [x, scale] of op?.def.name === "mul" ? orders(op) : []) {
    const root = m.sole(m.sole(scale, "broadcast")?.operands[0], "rsqrt");
    const [mean, eps] = m.sole(root?.operands[0], "add")?.operands ?? [];
    const epsilon = eps === undefined ? null : m.splat(eps);
    const square = meanOf(mean, m);
    const product = m.sole(square?.x, "mul");
    if (square === null || epsilon === null || product === undefined || product.operands.some((o) => o !== x)) continue;
    const axis = x.dims.length - square.axes.length;
    const last = [...square.axes].sort((p, q) => p - q).every((a, i) => a === axis + i);
    if (last && spread(scale, axis, m, false) !== null) return { x, axis, epsilon: Number(epsilon) };
  }
  return null;
}

/** Takes a normal value times a scale over the last dimensions apart. */
function scaledNormal(op: Op | undefined, m: Matcher): (Normal & { readonly scale: Value }) | null {
  for (const [core, by] of op?.def.name === "mul" ? orders(op) : []) {
    const normal = normalOf(m.sole(core, "mul"), m);
    const scale = normal === null ? null : spread(by, normal.axis, m, true);
    if (normal !== null && scale !== null) return { ...normal, scale };
  }
  return null;
}

/** What was centred, when the value is something less its mean along the last dimensions. */
function centredFrom(n: Normal, m: Matcher): Value | null {
  const [x, mean] = m.is(n.x, "sub")?.operands ?? [];
  const of = x === undefined ? null : meanOf(spread(mean, n.axis, m, false) ?? undefined, m);
  const same = x !== undefined && of?.x === x && of.axes.length === x.dims.length - n.axis && of.axes.every((a) => a >= n.axis);
  return same ? x : null;
}

const layerNorm: GraphRule = {
  name: "recognise-layer-norm",
  doc: "Layer normalisation written out: mean, difference, variance, reciprocal root, scale and bias over the last dimensions.",
  roots: ["add"],
  exactness: { ulp: 64 },
  examples: [
    `input %x: f32[n, 4] input %s: f32[4] input %t: f32[4]
     %q: f32[] = constant() {dtype = f32, dims = [], data = values(0.25)} %e: f32[] = constant() {dtype = f32, dims = [], data = values(0.001)}
     %quarter: f32[n] = broadcast(%q) {dims = [n], map = []} %eps: f32[n] = broadcast(%e) {dims = [n], map = []}
     %a: f32[n] = reduce(%x) {monoid = add, axes = [1]} %b: f32[n] = mul(%a, %quarter) %c: f32[n, 4] = broadcast(%b) {dims = [n, 4], map = [0]} %d: f32[n, 4] = sub(%x, %c)
     %f: f32[n, 4] = mul(%d, %d) %g: f32[n] = reduce(%f) {monoid = add, axes = [1]} %h: f32[n] = mul(%g, %quarter) %i: f32[n] = add(%h, %eps)
     %j: f32[n] = rsqrt(%i) %k: f32[n, 4] = broadcast(%j) {dims = [n, 4], map = [0]} %l: f32[n, 4] = mul(%d, %k)
     %scale: f32[n, 4] = broadcast(%s) {dims = [n, 4], map = [1]} %bias: f32[n, 4] = broadcast(%t) {dims = [n, 4], map = [1]}
     %o: f32[n, 4] = mul(%l, %scale) %p: f32[n, 4] = add(%o, %bias) output %p`,
  ],
  rewrite(op, m) {
    for (const [scaled, shift] of orders(op)) {
      const normal = scaledNormal(m.sole(scaled, "mul"), m);
      const x = normal === null ? null : centredFrom(normal, m);
      const bias = normal === null ? null : spread(shift, normal.axis, m, true);
      // The difference is used by the square and by the quotient, and by nothing else.
      if (normal === null || x === null || bias === null || m.useCount(normal.x) !== 2) continue;
      return [m.g.one("layer_norm", [x, normal.scale, bias], { axis: normal.axis, epsilon: normal.epsilon })];
    }
    return null;
  },
};

const rmsNorm: GraphRule = {
  name: "recognise-rms-norm",
  doc: "RMS normalisation written out: mean of squares, reciprocal root and scale over the last dimensions. (What is centred is left to layer normalisation.)",
  roots: ["mul"],
  exactness: { ulp: 64 },
  examples: [
    `input %x: f32[n, 4] input %s: f32[4]
     %q: f32[] = constant() {dtype = f32, dims = [], data = values(0.25)} %e: f32[] = constant() {dtype = f32, dims = [], data = values(0.001)}
     %quarter: f32[n] = broadcast(%q) {dims = [n], map = []} %eps: f32[n] = broadcast(%e) {dims = [n], map = []}
     %f: f32[n, 4] = mul(%x, %x) %g: f32[n] = reduce(%f) {monoid = add, axes = [1]} %h: f32[n] = mul(%g, %quarter) %i: f32[n] = add(%h, %eps)
     %j: f32[n] = rsqrt(%i) %k: f32[n, 4] = broadcast(%j) {dims = [n, 4], map = [0]} %l: f32[n, 4] = mul(%x, %k)
     %scale: f32[n, 4] = broadcast(%s) {dims = [n, 4], map = [1]} %o: f32[n, 4] = mul(%scale, %l) output %o`,
  ],
  rewrite(op, m) {
    const normal = scaledNormal(op, m);
    if (normal === null || centredFrom(normal, m) !== null) return null;
    return [m.g.one("rms_norm", [normal.x, normal.scale], { axis: normal.axis, epsilon: normal.epsilon })];
  },
};

export const recognitionRules: readonly GraphRule[] = [gelu, layerNorm, rmsNorm];
const table = ruleTable(recognitionRules);

/** Recognition of composites. */
export const recognition: GraphPass = {
  name: "recognise-composites",
  doc: "Composites that an exporter wrote out op by op become whole again.",
  run: (f, rules) => applyGraphRules(f, table, rules),
};
