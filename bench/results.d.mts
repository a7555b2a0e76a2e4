import type { LoadedWorkload } from "./workloads.mjs";

type Data = ArrayLike<number | bigint>;
type Tensors = Readonly<Record<string, { readonly dims: readonly number[]; readonly data: Data }>>;
export function isRight(model: LoadedWorkload, outputs: Tensors, share?: number): boolean;
type Outputs = Readonly<Record<string, { readonly data: Data }>>;
export function largestDifference(model: LoadedWorkload, a: Outputs, b: Outputs): number;
