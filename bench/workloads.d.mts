import type { Layer } from "./layers.mjs";
import type { SuiteInput } from "./suite.mjs";

/** Plain data; what is in it depends on the kind. */
export interface Workload {
  readonly kind: "model" | "matmul" | "conv";
  readonly label: string;
}
export interface ExpectedOutput {
  readonly name: string;
  readonly dims: readonly number[];
  readonly index: readonly number[];
  readonly value: readonly number[];
  readonly deviation: number;
}
export interface LoadedWorkload {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly dir: string | null;
  readonly inputs: readonly SuiteInput[];
  readonly outputs: readonly ExpectedOutput[];
}
export interface ProductSize {
  readonly m: number;
  readonly k: number;
  readonly n: number;
}
export function suiteWorkload(name: string): Workload;
export function matmulWorkload(size: ProductSize, constant: boolean): Workload;
export function layerWorkload(layer: Omit<Layer, "count">): Workload;
export function loadWorkload(w: Workload): LoadedWorkload;
