import type { ConstantData } from "../base/constant.ts";
import type { Dim } from "../base/dim.ts";
import type { DType } from "../base/dtype.ts";
import type { Expr } from "../scalar/expr.ts";
import type { Scalars } from "../scalar/scalars.ts";
import type { TensorBuilder } from "../tensor/builder.ts";
import type { Tensor } from "../tensor/ir.ts";
import type { GraphBuilder } from "./builder.ts";
import type { HostTensor } from "./host.ts";
import type { Region, Value } from "./ir.ts";

/** dtype and dims of a value, printed `f32[batch, 128]`. */
export interface TensorType {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
}

/** The kinds of attribute an op may declare, and what each holds. */
export interface AttrKinds {
  readonly int: number;
  readonly float: number;
  readonly bool: boolean;
  readonly word: string;
  readonly dtype: DType;
  readonly ints: readonly number[];
  readonly dims: readonly Dim[];
  readonly pairs: readonly (readonly [number, number])[];
  readonly data: ConstantData;
}
export type AttrSchema = Readonly<Record<string, keyof AttrKinds>>;
export type Attrs<S extends AttrSchema> = { readonly [K in keyof S]: AttrKinds[S[K]] };
export type AnyAttrs = Readonly<Record<string, AttrKinds[keyof AttrKinds]>>;

/** Reports a violated constraint (C1, C2, …) of an op. */
export type Fail = (constraint: string, message: string) => never;

export interface InferContext<A> {
  readonly operands: readonly TensorType[];
  readonly attrs: A;
  readonly regions: readonly Region[];
  readonly fail: Fail;
}

/** What an op's lowering works with: its operands as tensors, results to be written. */
export interface LowerContext<A> {
  readonly b: TensorBuilder;
  readonly sc: Scalars;
  readonly operands: readonly Tensor[];
  readonly results: readonly Tensor[];
  readonly attrs: A;
  readonly regions: readonly Region[];
  /** Reads an operand at an index. */
  readonly read: (operand: number, index: readonly Expr[]) => Expr;
  /** Lowers a region's ops with its parameters bound; gives its results. */
  readonly inline: (region: Region, params: readonly Tensor[]) => Tensor[];
}

export interface EvaluateContext<A> {
  readonly operands: readonly HostTensor[];
  readonly attrs: A;
  readonly types: readonly { readonly dtype: DType; readonly dims: readonly number[] }[];
  readonly regions: readonly Region[];
  /** Runs a region of the op on host values. */
  readonly run: (region: Region, params: readonly HostTensor[]) => HostTensor[];
  /** Gives a symbol its value from here on. */
  readonly bind: (symbol: Dim, value: number) => void;
  /** The value of a dimension here. */
  readonly size: (d: Dim) => number;
}

/** One generated test: operand types with the range their random values are drawn from, and attributes. */
export interface Example<A> {
  readonly operands: readonly { readonly type: string; readonly range?: readonly [number, number] }[];
  readonly attrs: A;
}

/**
 * A graph op: everything about it in one object. A core op has `lower`; a composite has `decompose` into core ops (its
 * reference semantics is its decomposition).
 */
export interface OpDef<S extends AttrSchema = AttrSchema> {
  readonly name: string;
  readonly doc: string;
  /** Names of the operands; a last one that ends in `...` takes any number. */
  readonly operands: readonly string[];
  readonly attrs: S;
  /** Numbered constraints, C1 first; `infer` fails with their number. */
  readonly constraints: readonly string[];
  /** It is kept even if it has no result that somebody uses: it binds a symbol, or checks something. */
  readonly effect?: true;
  /** Its attributes name symbols that it binds; `evaluate` gets them as they stand, and asks `size` for the values of others. */
  readonly binds?: true;
  infer(c: InferContext<Attrs<S>>): readonly TensorType[];
  evaluate?(c: EvaluateContext<Attrs<S>>): readonly HostTensor[];
  lower?(c: LowerContext<Attrs<S>>): void;
  decompose?(g: GraphBuilder, operands: readonly Value[], attrs: Attrs<S>): readonly Value[];
  readonly examples: readonly Example<Attrs<S>>[];
  /** Multiply-adds count two. */
  flops?(operands: readonly TensorType[], results: readonly TensorType[], attrs: Attrs<S>): number;
}

/** Gives an op definition its types. */
export function defineOp<const S extends AttrSchema>(def: OpDef<S>): OpDef<S> {
  return def;
}
