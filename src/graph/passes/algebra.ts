import { opNames, scalarOps } from "../../scalar/ops/table.ts";
import { simplifyTexts } from "../../scalar/rules/simplify.ts";
import type { Value } from "../ir.ts";
import { type PatternText, patternRules } from "./patterns.ts";
import type { GraphRule } from "./rules.ts";

const ulp = (n: number) => ({ ulp: n });

/** The scalar rules that hold for data as for indices: all of them are exact. */
const shared: readonly PatternText[] = simplifyTexts.filter((t) => t.where !== "index").map((t) => ({ ...t, exactness: "exact" }));

/**
 * Algebraic simplification of elementwise ops. What changes roundings says how much. Rules of floats treat the zeros of
 * both signs alike (`x + 0 => x`), as all compilers of this kind do.
 */
const algebraTexts: readonly PatternText[] = [
  ...shared,
  { name: "add-zero-float", rule: "x + 0 => x", where: "float", exactness: "exact" },
  { name: "zero-minus", rule: "0 - x => neg(x)", where: "float", exactness: "exact" },
  { name: "sub-constant-float", rule: "x - c0 => x + neg(c0)", where: "float", exactness: "exact" },
  { name: "neg-sub", rule: "neg(x - y) => y - x", where: "float", exactness: "exact" },
  { name: "add-constants-float", rule: "(x + c0) + c1 => x + (c0 + c1)", where: "float", exactness: ulp(4) },
  { name: "mul-constants-float", rule: "(x * c0) * c1 => x * (c0 * c1) if normal(c0 * c1)", where: "float", exactness: ulp(2) },
  { name: "mul-div-constants", rule: "(x * c0) / c1 => x * (c0 / c1) if normal(c0 / c1)", where: "float", exactness: ulp(2) },
  { name: "div-mul-constants", rule: "(x / c0) * c1 => x * (c1 / c0) if normal(c1 / c0)", where: "float", exactness: ulp(2) },
  { name: "div-div-constants", rule: "(x / c0) / c1 => x / (c0 * c1) if normal(c0 * c1)", where: "float", exactness: ulp(2) },
  { name: "reciprocal-twice", rule: "1 / (1 / x) => x", where: "float", exactness: ulp(2) },
  { name: "div-by-reciprocal", rule: "x / (1 / y) => x * y", where: "float", exactness: ulp(2) },
  { name: "reciprocal-of-sqrt", rule: "1 / sqrt(x) => rsqrt(x)", where: "float", exactness: ulp(2) },
  { name: "sqrt-of-reciprocal", rule: "sqrt(1 / x) => rsqrt(x)", where: "float", exactness: ulp(2) },
  { name: "reciprocal-of-rsqrt", rule: "1 / rsqrt(x) => sqrt(x)", where: "float", exactness: ulp(2) },
  { name: "sigmoid", rule: "1 / (exp(neg(x)) + 1) => sigmoid(x)", where: "float", exactness: ulp(8) },
  { name: "swish", rule: "x / (exp(neg(x)) + 1) => x * sigmoid(x)", where: "float", exactness: ulp(8) },
  { name: "pow-zero", rule: "pow(x, 0) => 1", where: "float", exactness: "exact" },
  { name: "pow-one", rule: "pow(x, 1) => x", where: "float", exactness: "exact" },
  { name: "pow-two", rule: "pow(x, 2) => x * x", where: "float", exactness: ulp(2) },
  { name: "pow-three", rule: "pow(x, 3) => (x * x) * x", where: "float", exactness: ulp(4) },
  { name: "pow-half", rule: "pow(x, 0.5) => sqrt(x)", where: "float", exactness: ulp(2) },
  { name: "pow-minus-half", rule: "pow(x, -0.5) => rsqrt(x)", where: "float", exactness: ulp(2) },
  { name: "pow-minus-one", rule: "pow(x, -1) => 1 / x", where: "float", exactness: ulp(2) },
  { name: "log-exp", rule: "log(exp(x)) => x", where: "float", exactness: ulp(8) },
  { name: "abs-square", rule: "abs(x * x) => x * x", where: "float", exactness: "exact" },
  { name: "max-lowest", rule: "max(x, -inf) => x", where: "float", exactness: "exact" },
  { name: "min-highest", rule: "min(x, inf) => x", where: "float", exactness: "exact" },
];

const constantRight: GraphRule = {
  name: "constant-right",
  doc: "Constants come second in commutative ops, where all other rules look for them.",
  roots: opNames.filter((n) => scalarOps[n].commutative === true),
  exactness: "exact",
  examples: [
    `
    input %x: f32[3]
    %c: f32[] = constant() {dtype = f32, dims = [], data = values(3.0)}
    %s: f32[3] = broadcast(%c) {dims = [3], map = []}
    %y: f32[3] = mul(%s, %x)
    output %y`,
  ],
  rewrite(op, m) {
    const [a, b] = op.operands as [Value, Value];
    return m.isConstant(a) && !m.isConstant(b) ? [m.g.one(op.def.name, [b, a])] : null;
  },
};

export const elementwisePatterns = patternRules(algebraTexts);
export const algebraRules: readonly GraphRule[] = [constantRight, ...elementwisePatterns];
