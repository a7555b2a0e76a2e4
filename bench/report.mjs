// Tables for a terminal.

/** Columns are as wide as their widest cell; the first is aligned to the left, all others to the right. */
export function table(head, rows) {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => r[i].length)));
  const line = (cells) => `  ${cells.map((c, i) => (i === 0 ? c.padEnd(widths[i]) : c.padStart(widths[i]))).join("  ")}`.trimEnd();
  return [line(head), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)].join("\n");
}

const ms = (t) => (t < 1 ? t.toFixed(3) : t < 100 ? t.toFixed(2) : t.toFixed(1));
const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** One line of either table. */
export function row(r) {
  const { tilewright: a, ort: b, ratio } = r;
  const flops = r.gflops === null ? ["–", "–"] : [r.gflops.toFixed(1), percent(r.share)];
  const spread = `${ratio.p10.toFixed(2)}–${ratio.p90.toFixed(2)}`;
  return [
    r.model,
    ms(a.median_ms),
    ms(a.min_ms),
    ms(b.median_ms),
    ms(b.min_ms),
    `${ratio.median.toFixed(2)}×`,
    spread,
    ...flops,
    r.difference.toExponential(1),
    r.settled ? "" : "not settled",
  ];
}
export const head = ["model", "tilewright ms", "min", "ort-web ms", "min", "ratio", "10–90 %", "GFLOP/s", "of ceiling", "difference", ""];
