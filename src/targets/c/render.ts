import type { CoreOpName, ScalarCoreOpName } from "../../scalar/ops/table.ts";

/** A piece of C with the precedence of its outermost operator. */
export interface Code {
  readonly text: string;
  readonly precedence: number;
}

/** Precedences of C's operators. */
export const precedence = { postfix: 16, unary: 15, product: 14, sum: 13, shift: 12, relation: 11, equality: 10, bits: 7, choice: 4 } as const;

/** A name, a literal or a call. */
export const atom = (text: string): Code => ({ text, precedence: text.startsWith("-") ? precedence.unary : precedence.postfix });
export const call = (name: string, args: readonly Code[]): Code => atom(`${name}(${args.map((a) => a.text).join(", ")})`);
/** The code as an operand that binds at least so tightly. */
export const operand = (c: Code, least: number): string => (c.precedence >= least ? c.text : `(${c.text})`);
/** A conversion to a type. */
export const castTo = (type: string, c: Code): Code => ({ text: `(${type})${operand(c, precedence.unary)}`, precedence: precedence.unary });

/** `a symbol b`; operators whose precedence against others compilers warn about get parentheses. */
export function infix(symbol: string, level: number, a: Code, b: Code): Code {
  const least = level >= precedence.sum ? level : level >= precedence.equality ? precedence.sum : precedence.unary;
  return { text: `${operand(a, least)} ${symbol} ${operand(b, level >= precedence.sum ? level + 1 : least)}`, precedence: level };
}

/** `a + b`, or a difference where b is a negative number. */
export function plus(a: Code, b: Code): Code {
  return /^-[\d.]+f?$/.test(b.text) ? infix("-", precedence.sum, a, atom(b.text.slice(1))) : infix("+", precedence.sum, a, b);
}

/** `-a`, which must not become `--a`. */
export function negated(c: Code): Code {
  const inner = c.text.startsWith("-") ? `(${c.text})` : operand(c, precedence.unary);
  return { text: `-${inner}`, precedence: precedence.unary };
}

/** How a core scalar op is rendered. */
type Rendering =
  /** An operator; signed integers and narrow ones go through functions that wrap. */
  | { readonly kind: "arithmetic"; readonly symbol: string; readonly precedence: number }
  | { readonly kind: "comparison"; readonly symbol: string; readonly precedence: number; readonly name: "lt" | "le" | "gt" | "ge" | "eq" | "ne" }
  /** Bits of integers, truth values. */
  | { readonly kind: "bits"; readonly symbol: string }
  /** A function of the mathematical library (`sqrtf`, `sqrt`) and one of the prelude for vectors. */
  | { readonly kind: "function"; readonly name: string; readonly vector: string }
  /** Written out in emission. */
  | { readonly kind: "special" };

const arithmetic = (symbol: string, level: number): Rendering => ({ kind: "arithmetic", symbol, precedence: level });
const comparison = (symbol: string, name: "lt" | "le" | "gt" | "ge" | "eq" | "ne"): Rendering => ({
  kind: "comparison",
  symbol,
  name,
  precedence: name === "eq" || name === "ne" ? precedence.equality : precedence.relation,
});
const bits = (symbol: string): Rendering => ({ kind: "bits", symbol });
const special: Rendering = { kind: "special" };

/** Ops that vectors alone have: functions of the prelude. */
export const vectorFunctions: { readonly [K in Exclude<CoreOpName, ScalarCoreOpName>]: string } = {
  dot16: "tw_dot16_i32",
  dot8: "tw_dot8_i32",
  add16: "tw_add16_i32",
};

export const rendering: { readonly [K in ScalarCoreOpName]: Rendering } = {
  add: arithmetic("+", precedence.sum),
  sub: arithmetic("-", precedence.sum),
  mul: arithmetic("*", precedence.product),
  div: special,
  rem: special,
  floordiv: special,
  mod: special,
  min: special,
  max: special,
  fma: special,
  neg: special,
  abs: special,
  sqrt: { kind: "function", name: "sqrt", vector: "tw_sqrt_f32" },
  floor: { kind: "function", name: "floor", vector: "tw_floor_f32" },
  ceil: { kind: "function", name: "ceil", vector: "tw_ceil_f32" },
  trunc: { kind: "function", name: "trunc", vector: "tw_trunc_f32" },
  // To nearest, ties to even: as the rounding mode is, unless the program around has changed it.
  round: { kind: "function", name: "rint", vector: "tw_round_f32" },
  eq: comparison("==", "eq"),
  ne: comparison("!=", "ne"),
  lt: comparison("<", "lt"),
  le: comparison("<=", "le"),
  gt: comparison(">", "gt"),
  ge: comparison(">=", "ge"),
  and: bits("&"),
  or: bits("|"),
  xor: bits("^"),
  not: special,
  shl: special,
  shr: special,
  select: special,
  cast: special,
  bitcast: special,
};
