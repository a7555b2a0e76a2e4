import type { LoadedWorkload } from "./workloads.mjs";

type Data = ArrayLike<number | bigint>;
export function isRight(model: LoadedWorkload, outputs: Readonly<Record<string, { readonly dims: readonly number[]; readonly data: Data }>>): boolean;
type Outputs = Readonly<Record<string, { readonly data: Data }>>;
export function largestDifference(model: LoadedWorkload, a: Outputs, b: Outputs): number;
