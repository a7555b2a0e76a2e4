// What is made of lists of times.

/** Between two values the quantile is interpolated. */
export function quantile(sorted, q) {
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}
export const ascending = (values) => [...values].sort((a, b) => a - b);
export const median = (values) => quantile(ascending(values), 0.5);
/** Null of no values. */
export const geometricMean = (values) => (values.length === 0 ? null : Math.exp(values.reduce((s, v) => s + Math.log(v), 0) / values.length));

/** An engine's times, in milliseconds of one run. */
export function timesOf(times) {
  const sorted = ascending(times);
  return { median_ms: quantile(sorted, 0.5), min_ms: sorted[0], p10_ms: quantile(sorted, 0.1), p90_ms: quantile(sorted, 0.9) };
}

/** How many times as fast the first is as the second, from their times round by round. */
export function ratioOf(first, second) {
  const ratios = ascending(first.map((t, r) => second[r] / t));
  return { median: quantile(ratios, 0.5), p10: quantile(ratios, 0.1), p90: quantile(ratios, 0.9) };
}
