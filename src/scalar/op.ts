import type { DType } from "../base/dtype.ts";
import type { Num } from "../base/numeric.ts";
import type { Expr } from "./expr.ts";
import type { Scalars } from "./scalars.ts";

/**
 * A scalar op is one such object. A core op is rendered by every target; an op with a `decompose` is derived, and no
 * target needs to know it.
 */
export interface ScalarOp<Name extends string = string> {
  readonly name: Name;
  readonly doc: string;
  readonly arity: number;
  /** How it is written; absent means `name(args)`. */
  readonly infix?: { readonly symbol: string; readonly precedence: number };
  /** Result dtype, or why the operand dtypes do not fit. `cast` is the dtype asked for, for conversions. */
  readonly type: (args: readonly DType[], cast: DType | null) => DType | { readonly error: string };
  /** Value of the op on values of the operand dtypes, before rounding to the result dtype `out`. */
  readonly evaluate: (args: readonly Num[], out: DType, types: readonly DType[]) => Num;
  /** Relative cost of one evaluation, in units of a multiply-add. */
  readonly cost: number;
  readonly commutative?: boolean;
  /** Linear in each of its two operands: sums of it are contractions. */
  readonly bilinear?: boolean;
  /** The same value in terms of other ops. */
  readonly decompose?: (sc: Scalars, args: readonly Expr[]) => Expr;
  /** The same value in terms of other ops where it is no vector: machines have such a core op on vectors alone. */
  readonly expand?: (sc: Scalars, args: readonly Expr[]) => Expr;
  /** Largest error of `decompose` against the exact value on normal f32 inputs, in units in the last place. */
  readonly ulp?: number;
}

export function isCore(op: ScalarOp): boolean {
  return op.decompose === undefined;
}
