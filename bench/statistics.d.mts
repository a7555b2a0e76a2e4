export interface Times {
  readonly median_ms: number;
  readonly min_ms: number;
  readonly p10_ms: number;
  readonly p90_ms: number;
}
export interface Ratio {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}
export function quantile(sorted: readonly number[], q: number): number;
export function ascending(values: readonly number[]): number[];
export function median(values: readonly number[]): number;
export function geometricMean(values: readonly number[]): number | null;
export function timesOf(times: readonly number[]): Times;
export function ratioOf(first: readonly number[], second: readonly number[]): Ratio;
