import type { ScalarOp } from "../op.ts";
import { arith, logic } from "./arith.ts";
import { inverse } from "./inverse.ts";
import { transcendental } from "./transcendental.ts";
import { wordOps } from "./words.ts";

const entries = { ...arith, ...logic, ...wordOps, ...transcendental, ...inverse };

export type OpName = keyof typeof entries;
/** Ops that a target has to render: those without a decomposition. */
export type CoreOpName = Exclude<OpName, keyof typeof transcendental | keyof typeof inverse>;
/** Those of them that it has to render on scalars: not the ones that vectors alone have. */
export type ScalarCoreOpName = Exclude<CoreOpName, keyof typeof wordOps>;

/** Every scalar op by name. */
export const scalarOps: { readonly [K in OpName]: ScalarOp } = entries;

/** The entry of that name, or null. */
export function findScalarOp(name: string): ScalarOp<OpName> | null {
  return Object.hasOwn(entries, name) ? (entries[name as OpName] as ScalarOp<OpName>) : null;
}

export const opNames = Object.keys(entries) as OpName[];
