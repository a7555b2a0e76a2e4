import type { DType } from "../../base/dtype.ts";
import { bool } from "../../base/dtype.ts";
import { type Num, floatFromBits, floatToBits } from "../../base/numeric.ts";
import type { ScalarOp } from "../op.ts";

type Typed = DType | { readonly error: string };

/** All operands and the result of one dtype. */
function same(args: readonly DType[]): Typed {
  const [first] = args;
  if (first === undefined) return { error: "needs operands" };
  return args.every((a) => a === first) ? first : { error: `operands must have one dtype, got ${args.join(", ")}` };
}
export function sameNumber(args: readonly DType[]): Typed {
  const t = same(args);
  return "error" in t || t.kind !== "bool" ? t : { error: "bool has no arithmetic; cast it" };
}
export function sameFloat(args: readonly DType[]): Typed {
  const t = same(args);
  return "error" in t || t.isFloat ? t : { error: `needs a float dtype, got ${t}` };
}
function sameDiscrete(args: readonly DType[]): Typed {
  const t = same(args);
  return "error" in t || !t.isFloat ? t : { error: `needs an integer or bool dtype, got ${t}` };
}
function sameInteger(args: readonly DType[]): Typed {
  const t = same(args);
  return "error" in t || t.isInteger ? t : { error: `needs an integer dtype, got ${t}` };
}
function compare(args: readonly DType[]): Typed {
  const t = same(args);
  return "error" in t ? t : bool;
}

/** Evaluates with one function on numbers and one on bigints. */
function both(onNumber: (a: number, b: number) => number, onBig: (a: bigint, b: bigint) => bigint) {
  return ([a, b]: readonly Num[]): Num =>
    typeof a === "bigint" || typeof b === "bigint" ? onBig(BigInt(a as Num), BigInt(b as Num)) : onNumber(a as number, b as number);
}
function comparing(test: (a: Num, b: Num) => boolean) {
  return ([a, b]: readonly Num[]): Num => (test(a as Num, b as Num) ? 1 : 0);
}
const bigFloorDiv = (a: bigint, b: bigint) => (b === 0n ? 0n : a / b - (a % b !== 0n && a < 0n !== b < 0n ? 1n : 0n));
const bigMod = (a: bigint, b: bigint) => (b === 0n ? 0n : a - b * bigFloorDiv(a, b));
const number =
  (f: (x: number) => number) =>
  ([x]: readonly Num[]): Num =>
    f(Number(x));

function roundEven(x: number): number {
  const f = Math.floor(x);
  const d = x - f;
  const r = d < 0.5 ? f : d > 0.5 ? f + 1 : f % 2 === 0 ? f : f + 1;
  // What a negative number rounds to keeps its sign, zero too.
  return r === 0 && x < 0 ? -0 : r;
}

export const arith = {
  add: {
    name: "add",
    doc: "Sum; integers wrap.",
    arity: 2,
    infix: { symbol: "+", precedence: 7 },
    type: sameNumber,
    evaluate: both(
      (a, b) => a + b,
      (a, b) => a + b,
    ),
    cost: 1,
    commutative: true,
  },
  sub: {
    name: "sub",
    doc: "Difference; integers wrap.",
    arity: 2,
    infix: { symbol: "-", precedence: 7 },
    type: sameNumber,
    evaluate: both(
      (a, b) => a - b,
      (a, b) => a - b,
    ),
    cost: 1,
  },
  mul: {
    name: "mul",
    doc: "Product; integers wrap.",
    arity: 2,
    infix: { symbol: "*", precedence: 8 },
    type: sameNumber,
    evaluate: ([a, b], out) =>
      typeof a === "bigint" ? a * (b as bigint) : !out.isFloat ? Math.imul(a as number, b as number) : (a as number) * (b as number),
    cost: 1,
    commutative: true,
    bilinear: true,
  },
  div: {
    name: "div",
    doc: "Quotient; integers truncate towards zero, and a division by zero gives 0.",
    arity: 2,
    infix: { symbol: "/", precedence: 8 },
    type: sameNumber,
    evaluate: ([a, b], out) =>
      typeof a === "bigint"
        ? b === 0n
          ? 0n
          : a / (b as bigint)
        : out.isFloat
          ? (a as number) / (b as number)
          : b === 0
            ? 0
            : Math.trunc((a as number) / (b as number)),
    cost: 4,
  },
  rem: {
    name: "rem",
    doc: "Remainder with the sign of the dividend (C's %, fmod); integer remainder by zero is 0.",
    arity: 2,
    type: sameNumber,
    evaluate: ([a, b], out) =>
      typeof a === "bigint" ? (b === 0n ? 0n : a % (b as bigint)) : !out.isFloat && b === 0 ? 0 : (a as number) % (b as number),
    cost: 6,
  },
  floordiv: {
    name: "floordiv",
    doc: "Quotient rounded down; integers only, division by zero gives 0.",
    arity: 2,
    type: sameInteger,
    evaluate: both((a, b) => (b === 0 ? 0 : Math.floor(a / b)), bigFloorDiv),
    cost: 6,
  },
  mod: {
    name: "mod",
    doc: "Remainder with the sign of the divisor; integers only.",
    arity: 2,
    type: sameInteger,
    evaluate: both((a, b) => (b === 0 ? 0 : a - b * Math.floor(a / b)), bigMod),
    cost: 6,
  },
  min: {
    name: "min",
    doc: "Smaller operand; NaN if one is NaN.",
    arity: 2,
    type: same,
    evaluate: both(Math.min, (a, b) => (a < b ? a : b)),
    cost: 1,
    commutative: true,
  },
  max: {
    name: "max",
    doc: "Larger operand; NaN if one is NaN.",
    arity: 2,
    type: same,
    evaluate: both(Math.max, (a, b) => (a > b ? a : b)),
    cost: 1,
    commutative: true,
  },
  fma: {
    name: "fma",
    doc: "a * b + c with one rounding or two, as the machine has it.",
    arity: 3,
    type: sameFloat,
    evaluate: ([a, b, c]) => Number(a) * Number(b) + Number(c),
    cost: 1,
  },
  neg: { name: "neg", doc: "Negation.", arity: 1, type: sameNumber, evaluate: ([a]) => -(a as number), cost: 1 },
  abs: {
    name: "abs",
    doc: "Absolute value.",
    arity: 1,
    type: sameNumber,
    evaluate: ([a]) => ((a as Num) < 0 ? -(a as number) : Object.is(a, -0) ? 0 : (a as Num)),
    cost: 1,
  },
  sqrt: { name: "sqrt", doc: "Square root.", arity: 1, type: sameFloat, evaluate: number(Math.sqrt), cost: 6 },
  floor: { name: "floor", doc: "Largest integer not above.", arity: 1, type: sameFloat, evaluate: number(Math.floor), cost: 1 },
  ceil: { name: "ceil", doc: "Smallest integer not below.", arity: 1, type: sameFloat, evaluate: number(Math.ceil), cost: 1 },
  trunc: { name: "trunc", doc: "Towards zero.", arity: 1, type: sameFloat, evaluate: number(Math.trunc), cost: 1 },
  round: { name: "round", doc: "To nearest, ties to even.", arity: 1, type: sameFloat, evaluate: number(roundEven), cost: 1 },
} as const satisfies Record<string, ScalarOp>;

export const logic = {
  eq: {
    name: "eq",
    doc: "Equal.",
    arity: 2,
    infix: { symbol: "==", precedence: 5 },
    type: compare,
    evaluate: comparing((a, b) => a === b),
    cost: 1,
    commutative: true,
  },
  ne: {
    name: "ne",
    doc: "Not equal.",
    arity: 2,
    infix: { symbol: "!=", precedence: 5 },
    type: compare,
    evaluate: comparing((a, b) => a !== b),
    cost: 1,
    commutative: true,
  },
  lt: { name: "lt", doc: "Less.", arity: 2, infix: { symbol: "<", precedence: 5 }, type: compare, evaluate: comparing((a, b) => a < b), cost: 1 },
  le: {
    name: "le",
    doc: "Less or equal.",
    arity: 2,
    infix: { symbol: "<=", precedence: 5 },
    type: compare,
    evaluate: comparing((a, b) => a <= b),
    cost: 1,
  },
  gt: { name: "gt", doc: "Greater.", arity: 2, infix: { symbol: ">", precedence: 5 }, type: compare, evaluate: comparing((a, b) => a > b), cost: 1 },
  ge: {
    name: "ge",
    doc: "Greater or equal.",
    arity: 2,
    infix: { symbol: ">=", precedence: 5 },
    type: compare,
    evaluate: comparing((a, b) => a >= b),
    cost: 1,
  },
  and: {
    name: "and",
    doc: "Bitwise and; logical on bool.",
    arity: 2,
    infix: { symbol: "&", precedence: 4 },
    type: sameDiscrete,
    evaluate: both(
      (a, b) => a & b,
      (a, b) => a & b,
    ),
    cost: 1,
    commutative: true,
  },
  or: {
    name: "or",
    doc: "Bitwise or; logical on bool.",
    arity: 2,
    infix: { symbol: "|", precedence: 2 },
    type: sameDiscrete,
    evaluate: both(
      (a, b) => a | b,
      (a, b) => a | b,
    ),
    cost: 1,
    commutative: true,
  },
  xor: {
    name: "xor",
    doc: "Bitwise exclusive or.",
    arity: 2,
    infix: { symbol: "^", precedence: 3 },
    type: sameDiscrete,
    evaluate: both(
      (a, b) => a ^ b,
      (a, b) => a ^ b,
    ),
    cost: 1,
    commutative: true,
  },
  not: {
    name: "not",
    doc: "Bitwise complement; logical on bool.",
    arity: 1,
    type: sameDiscrete,
    evaluate: ([a], out) => (out.kind === "bool" ? 1 - Number(a) : ~(a as number)),
    cost: 1,
  },
  shl: {
    name: "shl",
    doc: "Shift left. Amounts count modulo 64 for 64-bit dtypes, modulo 32 for all others, as machines take them.",
    arity: 2,
    infix: { symbol: "<<", precedence: 6 },
    type: sameInteger,
    evaluate: both(
      (a, b) => a << b,
      (a, b) => a << BigInt.asUintN(6, b),
    ),
    cost: 1,
  },
  shr: {
    name: "shr",
    doc: "Shift right, arithmetic for signed dtypes. Amounts count as those of shl do.",
    arity: 2,
    infix: { symbol: ">>", precedence: 6 },
    type: sameInteger,
    evaluate: ([a, b], out) =>
      typeof a === "bigint" ? a >> BigInt.asUintN(6, b as bigint) : out.kind === "uint" ? Number(a) >>> Number(b) : Number(a) >> Number(b),
    cost: 1,
  },
  select: {
    name: "select",
    doc: "Second operand where the first is true, else the third.",
    arity: 3,
    type: ([c, a, b]) =>
      c?.kind !== "bool"
        ? { error: `the condition must be bool, got ${c}` }
        : a === b && a !== undefined
          ? a
          : { error: `both cases must have one dtype, got ${a} and ${b}` },
    evaluate: ([c, a, b]) => (c === 0 ? (b as Num) : (a as Num)),
    cost: 1,
  },
  cast: {
    name: "cast",
    doc: "Conversion, written `dtype(x)`. Float to integer truncates and saturates; NaN gives 0; anything but 0 is true.",
    arity: 1,
    type: (_, cast) => cast ?? { error: "needs a dtype" },
    evaluate: ([a], out, [from]) => convert(a as Num, out, from as DType),
    cost: 1,
  },
  bitcast: {
    name: "bitcast",
    doc: "The same bits as another dtype of equal width (not bool), written `bitcast.dtype(x)`.",
    arity: 1,
    type: ([a], cast) =>
      cast === null || a?.bits !== cast.bits || a.kind === "bool" || cast.kind === "bool"
        ? { error: `needs dtypes of equal width other than bool, got ${a} and ${cast}` }
        : cast,
    evaluate: ([a], out, [from]) => reinterpret(a as Num, from as DType, out),
    cost: 0,
  },
} as const satisfies Record<string, ScalarOp>;

function convert(a: Num, out: DType, from: DType): Num {
  if (out.kind === "bool") return Number(a) === 0 && !Number.isNaN(a) ? 0 : 1;
  if (!from.isFloat || out.isFloat) return out.isFloat ? Number(a) : a;
  const x = Number(a);
  if (Number.isNaN(x)) return 0;
  // Through the compute type, as machines do: saturate there, wrap to the narrower storage afterwards.
  const wide = out.compute === "i64" ? 64 : 32;
  const signed = out.kind === "int" || out.bits < 32;
  const lo = signed ? -(2 ** (wide - 1)) : 0;
  const hi = signed ? 2 ** (wide - 1) : 2 ** wide;
  if (x <= lo) return wide === 64 ? BigInt(lo) : lo;
  if (x >= hi) return wide === 64 ? BigInt(hi) - 1n : hi - 1;
  return wide === 64 ? BigInt(Math.trunc(x)) : Math.trunc(x);
}

const bits = new DataView(new ArrayBuffer(8));
function reinterpret(a: Num, from: DType, to: DType): Num {
  if (from.name === "f32") bits.setFloat32(0, Number(a));
  else if (from.name === "f64") bits.setFloat64(0, Number(a));
  else if (from.bits === 64) bits.setBigInt64(0, BigInt.asIntN(64, BigInt(a)));
  else if (from.format !== null) bits.setInt32(0, floatToBits(from, from.format, Number(a)));
  else bits.setInt32(0, Number(a));
  if (to.name === "f32") return bits.getFloat32(0);
  if (to.name === "f64") return bits.getFloat64(0);
  if (to.bits === 64) return to.kind === "uint" ? bits.getBigUint64(0) : bits.getBigInt64(0);
  if (to.format !== null) return floatFromBits(to, to.format, bits.getUint32(0) & (2 ** to.bits - 1));
  return to.kind === "uint" ? bits.getUint32(0) : bits.getInt32(0);
}
