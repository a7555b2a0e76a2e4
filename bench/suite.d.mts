export interface SuiteTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly dtype: string;
}
export type SuiteData = Float32Array | BigInt64Array | Int32Array | Uint8Array | Int8Array;
export interface SuiteInput extends SuiteTensor {
  readonly data: SuiteData;
}
export interface SuiteOutput extends SuiteTensor {
  readonly mean: number;
  readonly deviation: number;
  /** Places of the sampled values, and the values. */
  readonly index: readonly number[];
  readonly value: readonly number[];
}
export interface SuiteModel {
  readonly name: string;
  readonly dir: string;
  readonly file: string;
  readonly inputs: readonly SuiteInput[];
  readonly outputs: readonly SuiteOutput[];
}
export interface Worst {
  /** The difference divided by what is allowed. */
  readonly ratio: number;
  readonly index: number;
  readonly expected: number;
  readonly got: number;
  readonly allowed: number;
}
export function suiteFolder(): string | null;
export function suiteNames(): readonly string[];
export function modelFolder(name: string): string;
export function dtypeOf(array: SuiteData): string;
export function readRaw(file: string, dtype: string): SuiteData;
export function readModel(name: string, dir?: string): SuiteModel;
export const allowedShare: { readonly usual: number; readonly winograd4: number };
export function worstOf(
  count: number,
  at: (i: number) => number,
  expected: ArrayLike<number | bigint>,
  got: ArrayLike<number | bigint>,
  deviation: number,
  share?: number,
): Worst;
export function compareSampled(
  expected: SuiteOutput,
  got: { readonly dims: readonly number[]; readonly data: ArrayLike<number | bigint> },
  share?: number,
): Worst;
