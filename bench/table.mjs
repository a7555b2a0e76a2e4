// Tables and numbers for a terminal.

/** Columns are as wide as their widest cell; those of which `left` is true (the first, by default) are aligned to the left. */
export function table(head, rows, left = (i) => i === 0) {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells) => `  ${cells.map((c, i) => (left(i) ? c.padEnd(widths[i]) : c.padStart(widths[i]))).join("  ")}`.trimEnd();
  return [line(head), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)].join("\n");
}

export const ms = (t) => (t < 1 ? t.toFixed(3) : t < 100 ? t.toFixed(2) : t.toFixed(1));
export const percent = (share) => (share === null ? "–" : `${(share * 100).toFixed(1)} %`);
export const times = (ratio) => `${ratio.toFixed(2)}×`;
export const range = ({ p10, p90 }) => `${p10.toFixed(2)}–${p90.toFixed(2)}`;
export const megabytes = (n) => `${(n / 1e6).toFixed(1)}`;
export const kilobytes = (n) => `${(n / 1e3).toFixed(1)}`;
export const gflops = (n) => (n === null ? "–" : n.toFixed(1));
/** A difference relative to a deviation; null is what JSON makes of an infinite one. */
export const difference = (d) => (d === null || !Number.isFinite(d) ? "∞" : d.toExponential(1));
