import { type RuleText, makeRuleBook, parseRules } from "./engine.ts";

/**
 * Local simplifications, exact for every value of the dtypes they apply to (floats included: no rule here changes a
 * rounding, a NaN or the sign of a zero, except where its name says so). Each is tried on random values by one test.
 */
export const simplifyTexts: readonly RuleText[] = [
  { name: "add-zero", rule: "x + 0 => x", where: "int" },
  { name: "sub-zero", rule: "x - 0 => x" },
  { name: "sub-self", rule: "x - x => 0", where: "int" },
  { name: "mul-one", rule: "x * 1 => x" },
  { name: "mul-zero", rule: "x * 0 => 0", where: "int" },
  { name: "div-one", rule: "x / 1 => x" },
  { name: "mul-minus-one-float", rule: "x * -1 => neg(x)", where: "float" },
  { name: "div-power-of-two", rule: "x / c0 => x * (1 / c0) if c0 == 2 || c0 == 4 || c0 == 8 || c0 == 16 || c0 == 0.5 || c0 == 0.25", where: "float" },
  { name: "floordiv-one", rule: "floordiv(x, 1) => x", where: "int" },
  { name: "mod-one", rule: "mod(x, 1) => 0", where: "int" },
  { name: "add-constants", rule: "(x + c0) + c1 => x + (c0 + c1)", where: "int" },
  { name: "sub-constant", rule: "x - c0 => x + (0 - c0)", where: "int" },
  { name: "mul-constants", rule: "(x * c0) * c1 => x * (c0 * c1)", where: "int" },
  { name: "mod-in-range", rule: "mod(x, c0) => x if min(x) >= 0 && max(x) < c0", where: "index" },
  { name: "floordiv-in-range", rule: "floordiv(x, c0) => 0 if min(x) >= 0 && max(x) < c0", where: "index" },
  { name: "floordiv-floordiv", rule: "floordiv(floordiv(x, c0), c1) => floordiv(x, c0 * c1) if c0 > 0 && c1 > 0", where: "index" },
  { name: "min-same", rule: "min(x, x) => x" },
  { name: "max-same", rule: "max(x, x) => x" },
  { name: "min-in-range", rule: "min(x, c0) => x if max(x) <= c0", where: "index" },
  { name: "max-in-range", rule: "max(x, c0) => x if min(x) >= c0", where: "index" },
  { name: "max-of-relu-first", rule: "max(max(x, c0), c1) => max(x, max(c0, c1))" },
  { name: "neg-neg", rule: "neg(neg(x)) => x" },
  { name: "add-neg", rule: "x + neg(y) => x - y", where: "float" },
  { name: "not-not", rule: "not(not(x)) => x" },
  { name: "lt-true", rule: "x < c0 => 1 if max(x) < c0", where: "index" },
  { name: "lt-false", rule: "x < c0 => 0 if min(x) >= c0", where: "index" },
  { name: "ge-true", rule: "x >= c0 => 1 if min(x) >= c0", where: "index" },
  { name: "ge-false", rule: "x >= c0 => 0 if max(x) < c0", where: "index" },
  { name: "le-true", rule: "x <= c0 => 1 if max(x) <= c0", where: "index" },
  { name: "gt-false", rule: "x > c0 => 0 if max(x) <= c0", where: "index" },
  { name: "and-true", rule: "x & 1 => x", where: "bool" },
  { name: "and-false", rule: "x & 0 => 0", where: "bool" },
  { name: "or-false", rule: "x | 0 => x", where: "bool" },
  { name: "or-true", rule: "x | 1 => 1", where: "bool" },
  { name: "and-same", rule: "x & x => x" },
  { name: "select-true", rule: "select(1, x, y) => x" },
  { name: "select-false", rule: "select(0, x, y) => y" },
  { name: "select-same", rule: "select(x, y, y) => y" },
];

export const simplifyRules = parseRules(simplifyTexts);
export const simplifyBook = makeRuleBook(simplifyRules);
