/** Numbers and types in words that fit a column. */

const grouped = new Intl.NumberFormat("en-US");
export const count = (n: number): string => grouped.format(n);

/** Decimal units, as the command line prints them. */
export function bytes(n: number): string {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["kB", 1e3],
  ] as const)
    if (n >= size) return `${significant(n / size)} ${unit}`;
  return `${count(n)} B`;
}

/** A time in milliseconds, in the unit that reads best. */
export function duration(ms: number): string {
  if (ms >= 1000) return `${significant(ms / 1000)} s`;
  if (ms >= 1) return `${significant(ms)} ms`;
  if (ms >= 0.001) return `${significant(ms * 1000)} µs`;
  return ms === 0 ? "0" : `${significant(ms * 1e6)} ns`;
}

/** How many additions and multiplications. */
export function arithmetic(flops: number): string {
  for (const [unit, size] of [
    ["TFLOP", 1e12],
    ["GFLOP", 1e9],
    ["MFLOP", 1e6],
    ["kFLOP", 1e3],
  ] as const)
    if (flops >= size) return `${significant(flops / size)} ${unit}`;
  return `${count(flops)} FLOP`;
}

/** Three significant digits without an exponent. */
export function significant(n: number): string {
  if (n >= 100) return count(Math.round(n));
  return String(Number(n.toPrecision(3)));
}

export const percent = (share: number): string => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;

/** `f32 1 × 3 × 224 × 224`; of a scalar the dtype alone. */
export function typeText(dtype: string, dims: readonly (number | string)[] | null): string {
  if (dims === null) return `${dtype}, rank not known`;
  return dims.length === 0 ? dtype : `${dtype} ${dims.join(" × ")}`;
}

export const plural = (n: number, word: string, many = `${word}s`): string => `${count(n)} ${n === 1 ? word : many}`;
