import { type DType, dtypes, f32 } from "../../src/base/dtype.ts";
import { type Num, roundTo } from "../../src/base/numeric.ts";
import type { Expr } from "../../src/scalar/expr.ts";
import { isCore } from "../../src/scalar/op.ts";
import { type OpName, opNames, scalarOps } from "../../src/scalar/ops/table.ts";
import type { Scalars } from "../../src/scalar/scalars.ts";
import { randomSource, valuesOf } from "./values.ts";

/** What every target's rendering of scalar ops is tried on: operand values of all dtypes, and what must come of them. */

/** Dtypes whose elements a kernel loads and stores as they are. */
export const machineTypes = dtypes.filter((d) => d.format === null && d.bits >= 8);
export const text = (v: Num | undefined): string => (Object.is(v, -0) ? "-0" : String(v));
const random = randomSource(3);

/** Columns of operand values: every combination, or a sample; a multiple of four rows. */
export function operands(...choices: readonly (readonly Num[])[]): Num[][] {
  const total = choices.reduce((n, c) => n * c.length, 1);
  const rows = Math.ceil(Math.min(total, 1200) / 4) * 4;
  const pick = (k: number): number => (total <= 1200 ? k % total : Math.floor(random() * total));
  const columns: Num[][] = choices.map(() => []);
  for (let k = 0; k < rows; k++) {
    let rest = pick(k);
    choices.forEach((c, i) => {
      columns[i]?.push(c[rest % c.length] as Num);
      rest = Math.floor(rest / c.length);
    });
  }
  return columns;
}

export interface ScalarCase {
  readonly name: string;
  readonly types: readonly DType[];
  readonly out: DType;
  readonly columns: readonly (readonly Num[])[];
  readonly make: (sc: Scalars, ...args: Expr[]) => Expr;
  readonly expected: (values: readonly Num[]) => readonly Num[];
}

export const evaluate = (name: OpName, values: readonly Num[], types: readonly DType[], out: DType): Num =>
  roundTo(out, scalarOps[name].evaluate(values, out, types));

/** What a machine may give: a multiply-add has one rounding or two. */
export function expectedOf(name: OpName, values: readonly Num[], types: readonly DType[], out: DType): Num[] {
  const once = evaluate(name, values, types, out);
  if (name !== "fma") return [once];
  if (out === f32)
    return [
      multiplyAdd(...(values as [number, number, number])),
      evaluate("add", [evaluate("mul", values.slice(0, 2), types, out), values[2] as Num], types, out),
    ];
  const product = evaluate("mul", values.slice(0, 2), types, out);
  return [once, evaluate("add", [product, values[2] as Num], types, out)];
}

/** a·b + c on f32 with one rounding: f64 holds the product exactly, and its sum is rounded to odd, so that a tie is seen as none. */
function multiplyAdd(a: number, b: number, c: number): number {
  const p = a * b;
  const s = p + c;
  const t = s - p;
  const rest = p - (s - t) + (c - t);
  if (!Number.isFinite(s) || rest === 0) return Math.fround(s);
  const word = new DataView(new ArrayBuffer(8));
  word.setFloat64(0, s);
  const bits = word.getBigInt64(0);
  if ((bits & 1n) === 0n) word.setBigInt64(0, bits + (rest > 0 === s > 0 ? 1n : -1n));
  return Math.fround(word.getFloat64(0));
}

export const choicesFor = (types: readonly DType[]): readonly (readonly Num[])[] => types.map(valuesOf);

/** The constants that are tried: every one is a kernel of its own. */
export const constantsOf = (values: readonly Num[]): readonly Num[] =>
  values.filter((v, i) => i === 0 || [0, 1, 2, 7, -1, -7, 2.5].includes(Number(v)) || !Number.isFinite(Number(v)) || values.every((o) => o <= v));

export const core = opNames.filter((n) => isCore(scalarOps[n]) && n !== "cast" && n !== "bitcast");
export function operandTypes(name: OpName, d: DType): DType[] | null {
  const types = Array.from({ length: scalarOps[name].arity }, (_, i) =>
    name === "select" && i === 0 ? (dtypes.find((x) => x.kind === "bool") as DType) : d,
  );
  return "error" in scalarOps[name].type(types, null) ? null : types;
}
export function resultType(name: OpName, types: readonly DType[]): DType {
  const r = scalarOps[name].type(types, null);
  if ("error" in r) throw new Error(r.error);
  return r;
}
