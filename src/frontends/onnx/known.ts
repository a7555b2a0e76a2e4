import {
  type Dim,
  addDim,
  ceilDivDim,
  dimEquals,
  dimMax,
  dimMin,
  divideExactly,
  floorDivDim,
  maxDim,
  minDim,
  modDim,
  mulDim,
  subDim,
} from "../../base/dim.ts";
import type { DType } from "../../base/dtype.ts";
import { type Num, roundTo } from "../../base/numeric.ts";
import { type OpName, scalarOps } from "../../scalar/ops/table.ts";

/**
 * Arithmetic on element values that are known while a model is imported: numbers, or expressions of symbolic sizes. Models
 * compute the shapes they want with ordinary tensors; following those computations here is what keeps shapes symbolic.
 */

/** More elements than this are not followed. */
export const maxKnown = 1024;

type Rule = (a: Dim, b: Dim) => Dim | null;

/** What is certain of `a < b` for all values of the symbols: true, false, or null when it depends. */
function less(a: Dim, b: Dim): boolean | null {
  const d = subDim(a, b);
  return dimMax(d) < 0 ? true : dimMin(d) >= 0 ? false : null;
}
const truth = (v: boolean | null): Dim | null => (v === null ? null : Number(v));
const negate = (v: boolean | null): boolean | null => (v === null ? null : !v);
function equal(a: Dim, b: Dim): boolean | null {
  return dimEquals(a, b) ? true : less(a, b) === true || less(b, a) === true ? false : null;
}
const nonNegative = (...d: Dim[]): boolean => d.every((x) => dimMin(x) >= 0);

/** Integer rules for symbolic operands; null where the answer is not a dimension. */
const symbolic: Partial<Record<OpName, Rule>> = {
  add: addDim,
  sub: subDim,
  mul: mulDim,
  div: (a, b) => (nonNegative(a) && dimMin(b) > 0 ? floorDivDim(a, b) : divideExactly(a, b)),
  mod: (a, b) => (dimMin(b) > 0 ? modDim(a, b) : null),
  rem: (a, b) => (nonNegative(a) && dimMin(b) > 0 ? modDim(a, b) : null),
  max: maxDim,
  min: minDim,
  neg: (a) => mulDim(a, -1),
  abs: (a) => (nonNegative(a) ? a : null),
  lt: (a, b) => truth(less(a, b)),
  gt: (a, b) => truth(less(b, a)),
  le: (a, b) => truth(negate(less(b, a))),
  ge: (a, b) => truth(negate(less(a, b))),
  eq: (a, b) => truth(equal(a, b)),
  ne: (a, b) => truth(negate(equal(a, b))),
  floor: (a) => a,
  ceil: (a) => a,
  round: (a) => a,
  trunc: (a) => a,
};

/** Value of a scalar op on known operands of one dtype, or null when it is not known. */
export function knownOp(op: OpName, args: readonly Dim[], from: DType, to: DType): Dim | null {
  const [a, b] = args;
  if (a === undefined) return null;
  if (args.every((v) => typeof v === "number")) return knownNumber(op, args, from, to);
  if (from.isFloat && op === "div") return divideExactly(a, b ?? 1);
  return symbolic[op]?.(a, b ?? 0) ?? null;
}

/** Exactly the scalar op's own evaluation, as long as integers are exact in doubles. */
function knownNumber(op: OpName, args: readonly number[], from: DType, to: DType): number | null {
  const big = from.bits === 64 && from.isInteger;
  if (big && args.some((v) => !Number.isSafeInteger(v))) return null;
  const v = roundTo(
    to,
    scalarOps[op].evaluate(
      big ? args.map(BigInt) : args,
      to,
      args.map(() => from),
    ),
  );
  const n = Number(v);
  return typeof v === "bigint" && !Number.isSafeInteger(n) ? null : n;
}

/** Value of a conversion, or null. */
export function knownCast(v: Dim, from: DType, to: DType): Dim | null {
  if (typeof v === "number") return knownNumber("cast", [v], from, to);
  if (to.kind === "bool") return dimMin(v) > 0 || dimMax(v) < 0 ? 1 : null;
  // A size fits into 32 bits; narrower types may wrap.
  return to.bits >= 32 ? v : null;
}

/** An integer element as a dimension, or null when a double does not hold it; values near the ends of int64 mean "no limit". */
export function knownInteger(v: Num): number | null {
  const n = Number(v);
  return typeof v === "number" || Number.isSafeInteger(n) || Math.abs(n) >= 2 ** 62 ? n : null;
}

/** Number of steps from `start` to `limit` by `step`: at least 0. */
export function stepsBetween(start: Dim, limit: Dim, step: number): Dim {
  const span = step > 0 ? subDim(limit, start) : subDim(start, limit);
  return maxDim(ceilDivDim(span, Math.abs(step)), 0);
}
