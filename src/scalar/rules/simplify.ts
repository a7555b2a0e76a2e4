import { type RuleText, makeRuleBook, parseRules } from "./engine.ts";

/**
 * Local simplifications, exact for every value of the dtypes they apply to: none changes a rounding, a NaN (other than its
 * payload) or the sign of a zero. Rules of `index` assume, as index arithmetic does, that nothing overflows. Each is tried
 * on random values by one test.
 */
const arithmetic: readonly RuleText[] = [
  { name: "add-zero", rule: "x + 0 => x", where: "int" },
  { name: "add-minus-zero", rule: "x + -0 => x", where: "float" },
  { name: "sub-zero", rule: "x - 0 => x" },
  { name: "sub-self", rule: "x - x => 0", where: "int" },
  { name: "mul-one", rule: "x * 1 => x" },
  { name: "mul-zero", rule: "x * 0 => 0", where: "int" },
  { name: "mul-minus-one", rule: "x * -1 => neg(x)", where: "float" },
  { name: "mul-neg-constant", rule: "neg(x) * c0 => x * neg(c0)" },
  { name: "mul-neg-neg", rule: "neg(x) * neg(y) => x * y" },
  { name: "neg-of-mul", rule: "neg(x * c0) => x * neg(c0)" },
  { name: "neg-neg", rule: "neg(neg(x)) => x" },
  { name: "neg-of-sub", rule: "neg(x - y) => y - x", where: "int" },
  { name: "add-neg", rule: "x + neg(y) => x - y" },
  { name: "add-neg-first", rule: "neg(x) + y => y - x" },
  { name: "sub-of-neg", rule: "x - neg(y) => x + y" },
  { name: "div-one", rule: "x / 1 => x" },
  { name: "div-power-of-two", rule: "x / c0 => x * (1 / c0) if invertible(c0)", where: "float" },
  { name: "rem-one", rule: "rem(x, 1) => 0", where: "int" },
  { name: "floordiv-one", rule: "floordiv(x, 1) => x", where: "int" },
  { name: "mod-one", rule: "mod(x, 1) => 0", where: "int" },
  { name: "add-constants", rule: "(x + c0) + c1 => x + (c0 + c1)", where: "int" },
  { name: "sub-constant", rule: "x - c0 => x + (0 - c0)", where: "int" },
  { name: "sub-from-constant", rule: "c0 - (x + c1) => (c0 - c1) - x", where: "int" },
  { name: "mul-constants", rule: "(x * c0) * c1 => x * (c0 * c1)", where: "int" },
  { name: "abs-of-abs", rule: "abs(abs(x)) => abs(x)" },
  { name: "abs-of-neg", rule: "abs(neg(x)) => abs(x)", where: "float" },
  { name: "floor-of-floor", rule: "floor(floor(x)) => floor(x)" },
  { name: "ceil-of-ceil", rule: "ceil(ceil(x)) => ceil(x)" },
  { name: "trunc-of-trunc", rule: "trunc(trunc(x)) => trunc(x)" },
  { name: "round-of-round", rule: "round(round(x)) => round(x)" },
];

const extrema: readonly RuleText[] = [
  { name: "min-same", rule: "min(x, x) => x" },
  { name: "max-same", rule: "max(x, x) => x" },
  { name: "min-merge", rule: "min(min(x, c0), c1) => min(x, min(c0, c1))" },
  { name: "max-merge", rule: "max(max(x, c0), c1) => max(x, max(c0, c1))" },
  { name: "clamp-twice-low", rule: "max(min(max(x, c0), c1), c2) => min(max(x, c0), c1) if c2 < c0 && c2 < c1" },
  { name: "clamp-twice-high", rule: "min(max(min(x, c0), c1), c2) => max(min(x, c0), c1) if c2 > c0 && c2 > c1" },
  { name: "clamp-same-low", rule: "max(min(max(x, c0), c1), c0) => min(max(x, c0), c1) if c0 < c1" },
  { name: "clamp-same-high", rule: "min(max(min(x, c0), c1), c0) => max(min(x, c0), c1) if c0 > c1" },
];

const logic: readonly RuleText[] = [
  { name: "lt-same", rule: "x < x => 0" },
  { name: "gt-same", rule: "x > x => 0" },
  { name: "eq-same", rule: "x == x => 1", where: "int" },
  { name: "ne-same", rule: "x != x => 0", where: "int" },
  { name: "le-same", rule: "x <= x => 1", where: "int" },
  { name: "ge-same", rule: "x >= x => 1", where: "int" },
  { name: "not-not", rule: "not(not(x)) => x" },
  { name: "not-of-eq", rule: "not(x == y) => x != y" },
  { name: "not-of-ne", rule: "not(x != y) => x == y" },
  { name: "and-true", rule: "x & 1 => x", where: "bool" },
  { name: "and-false", rule: "x & 0 => 0" },
  { name: "or-false", rule: "x | 0 => x" },
  { name: "or-true", rule: "x | 1 => 1", where: "bool" },
  { name: "and-same", rule: "x & x => x" },
  { name: "or-of-same", rule: "x | x => x" },
  { name: "xor-same", rule: "x ^ x => 0" },
  { name: "xor-false", rule: "x ^ 0 => x" },
  { name: "shl-zero", rule: "x << 0 => x" },
  { name: "shr-zero", rule: "x >> 0 => x" },
  { name: "select-true", rule: "select(1, x, y) => x" },
  { name: "select-false", rule: "select(0, x, y) => y" },
  { name: "select-same", rule: "select(x, y, y) => y" },
  { name: "select-of-bools", rule: "select(x, 1, 0) => x", where: "bool" },
  { name: "select-of-bools-not", rule: "select(x, 0, 1) => not(x)", where: "bool" },
  { name: "select-of-not", rule: "select(not(x), y, z) => select(x, z, y)" },
  { name: "select-select-first", rule: "select(x, select(x, y, z), w) => select(x, y, w)" },
  { name: "select-select-second", rule: "select(x, y, select(x, z, w)) => select(x, y, w)" },
];

const index: readonly RuleText[] = [
  { name: "mul-sum-constant", rule: "(x + c0) * c1 => x * c1 + c0 * c1" },
  { name: "mod-in-range", rule: "mod(x, y) => x if min(x) >= 0 && max(x) < min(y)" },
  { name: "floordiv-in-range", rule: "floordiv(x, y) => 0 if min(x) >= 0 && max(x) < min(y)" },
  { name: "mod-of-multiple", rule: "mod(x * c0, c1) => 0 if c1 > 0 && mod(c0, c1) == 0" },
  { name: "floordiv-of-multiple", rule: "floordiv(x * c0, c1) => x * (c0 / c1) if c1 > 0 && mod(c0, c1) == 0" },
  { name: "mod-common-factor", rule: "mod(x * c0, c1) => mod(x, c1 / c0) * c0 if c0 > 0 && c1 > 0 && mod(c1, c0) == 0" },
  { name: "floordiv-common-factor", rule: "floordiv(x * c0, c1) => floordiv(x, c1 / c0) if c0 > 0 && c1 > 0 && mod(c1, c0) == 0" },
  { name: "mod-of-sum", rule: "mod(x + c0, c1) => mod(x, c1) if c0 != 0 && c1 > 0 && mod(c0, c1) == 0" },
  { name: "floordiv-of-sum", rule: "floordiv(x + c0, c1) => floordiv(x, c1) + c0 / c1 if c0 != 0 && c1 > 0 && mod(c0, c1) == 0" },
  { name: "mod-mod", rule: "mod(mod(x, c0), c1) => mod(x, c1) if c0 > 0 && c1 > 0 && mod(c0, c1) == 0" },
  { name: "floordiv-floordiv", rule: "floordiv(floordiv(x, c0), c1) => floordiv(x, c0 * c1) if c0 > 0 && c1 > 0 && c0 * c1 < 2147483648" },
  { name: "min-in-range", rule: "min(x, y) => x if max(x) <= min(y)" },
  { name: "min-in-range-second", rule: "min(x, y) => y if max(y) <= min(x)" },
  { name: "max-in-range", rule: "max(x, y) => x if min(x) >= max(y)" },
  { name: "max-in-range-second", rule: "max(x, y) => y if min(y) >= max(x)" },
  { name: "lt-true", rule: "x < y => 1 if max(x) < min(y)" },
  { name: "lt-false", rule: "x < y => 0 if min(x) >= max(y)" },
  { name: "le-true", rule: "x <= y => 1 if max(x) <= min(y)" },
  { name: "le-false", rule: "x <= y => 0 if min(x) > max(y)" },
  { name: "gt-true", rule: "x > y => 1 if min(x) > max(y)" },
  { name: "gt-false", rule: "x > y => 0 if max(x) <= min(y)" },
  { name: "ge-true", rule: "x >= y => 1 if min(x) >= max(y)" },
  { name: "ge-false", rule: "x >= y => 0 if max(x) < min(y)" },
  { name: "eq-false", rule: "x == y => 0 if max(x) < min(y) || min(x) > max(y)" },
  { name: "ne-true", rule: "x != y => 1 if max(x) < min(y) || min(x) > max(y)" },
];

export const simplifyTexts: readonly RuleText[] = [...arithmetic, ...extrema, ...logic, ...index.map((r): RuleText => ({ ...r, where: "index" }))];

export const simplifyRules = parseRules(simplifyTexts);
export const simplifyBook = makeRuleBook(simplifyRules);
