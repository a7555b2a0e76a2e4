import { type Dim, productOf } from "../../../base/dim.ts";
import { type DType, bool, f32, f64, i32 } from "../../../base/dtype.ts";
import type { Num } from "../../../base/numeric.ts";
import type { Value } from "../../../graph/ir.ts";
import type { OpName } from "../../../scalar/ops/table.ts";
import { scalarOps } from "../../../scalar/ops/table.ts";
import type { NodeContext, OpMapping, OpTable } from "../context.ts";
import { castRules, castValue } from "./cast.ts";
import { knownCast, knownOp, maxKnown } from "../known.ts";
import type { Operand } from "../operand.ts";

/** Elements of several known operands, broadcast together; null when one is not known. */
export function knownTogether(dims: readonly Dim[], operands: readonly Operand[]): (readonly Dim[])[] | null {
  const n = productOf(dims);
  if (typeof n !== "number" || n > maxKnown || operands.some((o) => o.known === null)) return null;
  return Array.from({ length: n }, (_, flat) => operands.map((o) => (o.known as readonly Dim[])[sourceIndex(flat, dims, o.dims)] as Dim));
}

/** Where the element at `flat` of the broadcast dims comes from. */
function sourceIndex(flat: number, dims: readonly Dim[], from: readonly Dim[]): number {
  let [rest, index, stride] = [flat, 0, 1];
  for (let d = dims.length - 1; d >= 0; d--) {
    const size = Number(dims[d]);
    const k = d - dims.length + from.length;
    if (k >= 0) {
      const own = Number(from[k]);
      if (own !== 1) index += (rest % size) * stride;
      stride *= own;
    }
    rest = Math.floor(rest / size);
  }
  return index;
}

/** A scalar op on operands broadcast together; followed on known elements, so that shape arithmetic stays symbolic. */
function scalarOp(c: NodeContext, op: OpName, operands: readonly Operand[]): Operand {
  const [first] = operands;
  if (first === undefined) return c.fail("it has no inputs");
  const from = first.dtype;
  const to = scalarOps[op].type(
    operands.map((o) => o.dtype),
    null,
  );
  if ("error" in to) return c.unsupported(`${op}: ${to.error}`);
  const dims = c.broadcastDims(operands.map((o) => o.dims));
  const elements = knownTogether(dims, operands)?.map((args) => knownOp(op, args, from, to));
  if (elements?.every((v) => v !== null)) return c.knownOf(to, dims, elements);
  return c.of(
    c.g.one(
      op,
      operands.map((o) => c.stretch(o.value, dims)),
    ),
  );
}

const unary = (op: OpName, since = 7): OpMapping => ({ since, map: (c) => scalarOp(c, op, [c.input(0)]) });
const binary = (op: OpName, since = 7): OpMapping => ({ since, map: (c) => scalarOp(c, op, [c.input(0), c.input(1)]) });
const variadic = (op: OpName): OpMapping => ({ since: 7, map: (c) => fold(c, op) });
const onFloat = (since: number, f: (c: NodeContext, x: Value) => Value): OpMapping => ({ since, map: (c) => c.of(f(c, c.value(0))) });

function fold(c: NodeContext, op: OpName): Operand {
  const [first, ...rest] = c.all();
  if (first === undefined) return c.fail("it has no inputs");
  return rest.reduce((a, b) => scalarOp(c, op, [a, b]), first);
}

function splat(c: NodeContext, x: Value, n: Num): Value {
  return c.g.splat(x.dtype, x.dims, n);
}

/** max(x, 0) and min(x, 0) */
const above = (c: NodeContext, x: Value): Value => c.withScalar("max", x, 0);
const below = (c: NodeContext, x: Value): Value => c.withScalar("min", x, 0);

/** log(1 + exp(x)) without overflow: max(x, 0) + log(1 + exp(-|x|)) */
function softplus(c: NodeContext, x: Value): Value {
  const tail = c.g.one("log", [c.withScalar("add", c.g.one("exp", [c.g.one("neg", [c.g.one("abs", [x])])]), 1)]);
  return c.g.one("add", [above(c, x), tail]);
}

/** x where it is positive, alpha · (exp(x / scale) - 1) elsewhere */
function elu(c: NodeContext, x: Value, alpha: number, scale = 1): Value {
  const inner = scale === 1 ? below(c, x) : c.withScalar("mul", below(c, x), 1 / scale);
  const negative = c.withScalar("mul", c.withScalar("sub", c.g.one("exp", [inner]), 1), alpha);
  return c.g.one("select", [c.withScalar("gt", x, 0), x, negative]);
}

/** max(0, min(1, alpha · x + beta)) */
function hardSigmoid(c: NodeContext, x: Value, alpha: number, beta: number): Value {
  const line = c.withScalar("add", c.withScalar("mul", x, alpha), beta);
  return c.withScalar("max", c.withScalar("min", line, 1), 0);
}

/** (exp(x) ± exp(-x)) / 2 */
function hyperbolic(c: NodeContext, x: Value, op: "add" | "sub"): Value {
  const e = [x, c.g.one("neg", [x])].map((v) => c.g.one("exp", [v]));
  return c.withScalar("mul", c.g.one(op, e), 0.5);
}

function leaky(c: NodeContext, x: Value, slope: Value): Value {
  return c.g.one("select", [c.withScalar("lt", x, 0), c.g.one("mul", [x, slope]), x]);
}

/** Limits given as attributes before opset 11, as optional scalar inputs from then on. */
function clip(c: NodeContext): Operand {
  const x = c.input(0);
  const limit = (name: string, input: number): Operand | null => {
    if (c.version >= 11) return c.optional(input);
    const a = c.attribute(name);
    return a === null ? null : c.knownOf(x.dtype, [], [a.f]);
  };
  const [low, high] = [limit("min", 1), limit("max", 2)];
  const raised = low === null ? x : scalarOp(c, "max", [x, low]);
  return high === null ? raised : scalarOp(c, "min", [raised, high]);
}

/** Base and exponent may be of different dtypes; the result has the base's. */
function pow(c: NodeContext): Operand {
  const [x, y] = [c.input(0), c.input(1)];
  const exponent = productOf(y.dims) === 1 ? y.numbers?.[0] : undefined;
  if (x.dtype.isFloat || y.dtype.isFloat) {
    const wide = x.dtype.isFloat ? x.dtype : f64;
    const [a, b] = c.together(c.g.convert(x.value, wide), c.g.convert(y.value, wide));
    return c.of(c.g.convert(c.g.one("pow", [a as Value, b as Value]), x.dtype));
  }
  if (exponent === undefined || exponent < 0 || exponent > 64) {
    const [base, power] = c.together(x.value, y.value) as [Value, Value];
    return c.of(wholePower(c, base, power));
  }
  const dims = c.broadcastDims([x.dims, y.dims]);
  const base = c.stretch(x.value, dims);
  let product = splat(c, base, 1);
  for (let n = 0; n < exponent; n++) product = n === 0 ? base : c.g.one("mul", [product, base]);
  return c.of(product);
}

/**
 * A whole power by squaring, wrapped to the dtype. Exponents from 64 on, by which all but 0, 1 and -1 overflow, count by
 * being odd or even; below 0 those three have their power (0 for 1/0), and all others give 0, as rounded towards 0.
 */
function wholePower(c: NodeContext, x: Value, y: Value): Value {
  const one = splat(c, x, 1);
  const bit = (v: Value, k: number): Value => {
    const moved = k === 0 ? v : c.withScalar("shr", v, k);
    return c.withScalar("eq", c.withScalar("and", moved, 1), 1);
  };
  const odd = bit(y, 0);
  const few = c.withScalar("lt", y, 64);
  let [power, square] = [c.g.one("select", [odd, x, one]), x];
  for (let k = 1; k < 6; k++) {
    square = c.g.one("mul", [square, square]);
    // 62 and 63 stand for all exponents beyond.
    const set = c.g.one("or", [bit(y, k), c.g.one("not", [few])]);
    power = c.g.one("select", [set, c.g.one("mul", [power, square]), power]);
  }
  if (y.dtype.kind === "uint") return power;
  const unit = x.dtype.kind === "uint" ? x : c.g.one("abs", [x]);
  const fraction = c.g.one("select", [c.withScalar("eq", unit, 1), c.g.one("select", [odd, x, one]), splat(c, x, 0)]);
  return c.g.one("select", [c.withScalar("lt", y, 0), fraction, power]);
}

/** fmod=1: the dividend's sign; otherwise the divisor's. */
function mod(c: NodeContext): Operand {
  const fmod = c.int("fmod", 0) === 1;
  const [x, y] = [c.input(0), c.input(1)];
  if (fmod) return scalarOp(c, "rem", [x, y]);
  if (!x.dtype.isFloat) return scalarOp(c, "mod", [x, y]);
  const [a, b] = c.together(x.value, y.value) as [Value, Value];
  const rest = c.g.one("rem", [a, b]);
  const apart = c.g.one("ne", [c.withScalar("lt", rest, 0), c.withScalar("lt", b, 0)]);
  const moved = c.g.one("and", [apart, c.withScalar("ne", rest, 0)]);
  // A remainder of 0 has the divisor's sign, too; that of NaN is none.
  const zero = c.g.one("select", [c.withScalar("lt", b, 0), splat(c, b, -0), splat(c, b, 0)]);
  const signed = c.g.one("select", [c.withScalar("eq", rest, 0), zero, rest]);
  return c.of(c.g.one("select", [moved, c.g.one("add", [rest, b]), signed]));
}

function cast(c: NodeContext, x: Operand, to: DType): Operand {
  if (x.dtype === to) return x;
  const elements = to.format === null ? x.known?.map((v) => knownCast(v, x.dtype, to)) : undefined;
  if (elements?.every((v) => v !== null)) return c.knownOf(to, x.dims, elements);
  return c.of(castValue(c, x.value, to, castRules(c)));
}

function where(c: NodeContext): Operand {
  const [condition, a, b] = [c.input(0), c.input(1), c.input(2)];
  const dims = c.broadcastDims([condition.dims, a.dims, b.dims]);
  const elements = knownTogether(dims, [condition, a, b])?.map(([p, x, y]) => (typeof p !== "number" ? null : ((p === 0 ? y : x) as Dim)));
  if (elements?.every((v) => v !== null)) return c.knownOf(a.dtype, dims, elements);
  return c.of(
    c.g.one(
      "select",
      [condition, a, b].map((o) => c.stretch(o.value, dims)),
    ),
  );
}

function mean(c: NodeContext): Operand {
  const sum = fold(c, "add");
  return c.inputs.length === 1 ? sum : c.of(c.withScalar("mul", sum.value, 1 / c.inputs.length));
}

/** A distance that is negative or not below the width shifts everything out: 0 is left, or the sign on the way right. */
function shift(c: NodeContext): Operand {
  const direction = c.text("direction", "");
  if (direction !== "LEFT" && direction !== "RIGHT") return c.fail(`direction '${direction}', expected LEFT or RIGHT`);
  const [x, by] = c.together(c.value(0), c.value(1)) as [Value, Value];
  const op = direction === "LEFT" ? "shl" : "shr";
  const near = c.withScalar("lt", by, x.dtype.bits);
  const inside = x.dtype.kind === "uint" ? near : c.g.one("and", [near, c.withScalar("ge", by, 0)]);
  const gone = op === "shr" && x.dtype.kind === "int" ? c.withScalar("shr", x, x.dtype.bits - 1) : splat(c, x, 0);
  return c.of(c.g.one("select", [inside, c.g.one(op, [x, by]), gone]));
}

function gelu(c: NodeContext): Operand {
  const mode = c.text("approximate", "none");
  if (mode !== "none" && mode !== "tanh") return c.fail(`approximate '${mode}', expected none or tanh`);
  return c.of(c.g.one("gelu", [c.value(0)], { approximate: mode === "tanh" }));
}

function isInfinite(c: NodeContext, x: Value): Value {
  const [up, down] = [c.int("detect_positive", 1), c.int("detect_negative", 1)];
  const is = (n: number) => c.withScalar("eq", x, n);
  if (up === 1 && down === 1) return c.g.one("or", [is(Number.POSITIVE_INFINITY), is(Number.NEGATIVE_INFINITY)]);
  return up === 1 ? is(Number.POSITIVE_INFINITY) : down === 1 ? is(Number.NEGATIVE_INFINITY) : c.g.splat(bool, x.dims, 0);
}

/** x - bias beyond lambda, x + bias below -lambda, 0 between */
function shrink(c: NodeContext, x: Value): Value {
  const [lambda, bias] = [c.float("lambd", 0.5), c.float("bias", 0)];
  const low = c.g.one("select", [c.withScalar("lt", x, -lambda), c.withScalar("add", x, bias), splat(c, x, 0)]);
  return c.g.one("select", [c.withScalar("gt", x, lambda), c.withScalar("sub", x, bias), low]);
}

export const elementwiseOps: OpTable = {
  Add: binary("add"),
  Sub: binary("sub"),
  Mul: binary("mul"),
  Div: binary("div"),
  Max: variadic("max"),
  Min: variadic("min"),
  Sum: variadic("add"),
  Mean: { since: 7, map: mean },
  Pow: { since: 7, map: pow },
  Mod: { since: 10, map: mod },
  And: binary("and"),
  Or: binary("or"),
  Xor: binary("xor"),
  Not: unary("not"),
  BitwiseAnd: binary("and", 18),
  BitwiseOr: binary("or", 18),
  BitwiseXor: binary("xor", 18),
  BitwiseNot: unary("not", 18),
  BitShift: { since: 11, map: shift },
  Equal: binary("eq"),
  Less: binary("lt"),
  Greater: binary("gt"),
  LessOrEqual: binary("le", 12),
  GreaterOrEqual: binary("ge", 12),
  Where: { since: 9, map: where },
  Neg: unary("neg"),
  Abs: unary("abs"),
  Exp: unary("exp"),
  Log: unary("log"),
  Sqrt: unary("sqrt"),
  Floor: unary("floor"),
  Ceil: unary("ceil"),
  Round: unary("round", 11),
  Sign: unary("sign", 9),
  Sin: unary("sin"),
  Cos: unary("cos"),
  Asin: unary("asin"),
  Acos: unary("acos"),
  Atan: unary("atan"),
  Asinh: unary("asinh", 9),
  Acosh: unary("acosh", 9),
  Atanh: unary("atanh", 9),
  Tanh: unary("tanh"),
  Erf: unary("erf", 9),
  Sigmoid: unary("sigmoid"),
  Tan: onFloat(7, (c, x) => c.g.one("div", [c.g.one("sin", [x]), c.g.one("cos", [x])])),
  Sinh: onFloat(9, (c, x) => hyperbolic(c, x, "sub")),
  Cosh: onFloat(9, (c, x) => hyperbolic(c, x, "add")),
  Reciprocal: onFloat(7, (c, x) => c.g.one("div", [splat(c, x, 1), x])),
  Relu: onFloat(7, above),
  LeakyRelu: onFloat(7, (c, x) => leaky(c, x, splat(c, x, c.float("alpha", 0.01)))),
  PRelu: onFloat(7, (c, x) => leaky(c, x, c.stretch(c.value(1), x.dims))),
  ThresholdedRelu: onFloat(10, (c, x) => c.g.one("select", [c.withScalar("gt", x, c.float("alpha", 1)), x, splat(c, x, 0)])),
  Elu: onFloat(7, (c, x) => elu(c, x, c.float("alpha", 1))),
  Celu: onFloat(12, (c, x) => elu(c, x, c.float("alpha", 1), c.float("alpha", 1))),
  Selu: onFloat(7, (c, x) => c.withScalar("mul", elu(c, x, c.float("alpha", 1.6732632423543772)), c.float("gamma", 1.0507009873554805))),
  Softplus: onFloat(7, softplus),
  Softsign: onFloat(7, (c, x) => c.g.one("div", [x, c.withScalar("add", c.g.one("abs", [x]), 1)])),
  HardSigmoid: onFloat(7, (c, x) => hardSigmoid(c, x, c.float("alpha", 0.2), c.float("beta", 0.5))),
  HardSwish: onFloat(14, (c, x) => c.g.one("mul", [x, hardSigmoid(c, x, 1 / 6, 0.5)])),
  Swish: onFloat(24, (c, x) => c.g.one("mul", [x, c.g.one("sigmoid", [c.withScalar("mul", x, c.float("alpha", 1))])])),
  Mish: onFloat(18, (c, x) => c.g.one("mul", [x, c.g.one("tanh", [softplus(c, x)])])),
  Gelu: { since: 20, map: gelu },
  Shrink: onFloat(9, shrink),
  Clip: { since: 7, map: clip },
  IsNaN: onFloat(9, (c, x) => c.g.one("ne", [x, x])),
  IsInf: onFloat(10, isInfinite),
  Cast: { since: 7, map: (c) => cast(c, c.input(0), c.dtype("to", null)) },
  CastLike: { since: 15, map: (c) => cast(c, c.input(0), c.input(1).dtype) },
  Identity: { since: 7, map: (c) => c.binding(0) },
};

/** The dtype in which statistics of narrow floats are computed. */
export function wideFloat(d: DType): DType {
  return d.isFloat && d.bits < 32 ? f32 : d;
}
/** Positions along an axis, as i32. */
export function positions(c: NodeContext, dims: readonly Dim[], axis: number): Value {
  return c.g.one("iota", [], { dtype: i32, dims, axis });
}
